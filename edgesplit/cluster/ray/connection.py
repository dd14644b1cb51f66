"""This process's connection to Ray: many use it, one ends it, when all have let go.

Ray has one connection per process, and so has this module. A call on an actor or a reference of an
ended one may end the process, and a call without a connection would start a cluster: so every call
of Ray's is made within used(), which refuses once the connection is over.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from typing import Any

import ray
from ray._private import worker

from edgesplit.cluster.ray.environment import Before
from edgesplit.cluster.ray.fork import FORKS
from edgesplit.cluster.ray.shared_value import SharedValue
from edgesplit.errors import ClusterError


class CutOffError(ClusterError):
    """The cluster's head is lost, or another one; nothing can be asked until it is joined again."""


class RayHere:
    """Ray as this process has it: all that connections see of it. Tests have another one."""

    def node(self) -> Any:
        """Another one for each connection; None where there is none."""
        return worker.global_worker.node if ray.is_initialized() else None

    def address(self) -> str:
        """Of the cluster that is joined."""
        return str(ray.get_runtime_context().gcs_address)

    def node_id(self) -> str:
        """Of the node that the connection goes through."""
        return str(ray.get_runtime_context().get_node_id())

    def put(self, value: Any) -> Any:
        """A reference to the value."""
        return ray.put(value)


class RayConnection:
    """To one cluster, from joining it to its end.

    is_ours: whether EdgeSplit made it, and not the program around it. is_own_cluster: whether
    this process started the cluster. variables: of Ray, as they were before it was joined.
    """

    def __init__(
        self, is_ours: bool, is_own_cluster: bool, variables: Before, here: RayHere
    ) -> None:
        self.is_ours, self.is_own_cluster = is_ours, is_own_cluster
        self.variables = variables
        self._here, self._node = here, here.node()
        self.address, self.node_id = here.address(), here.node_id()
        self.cluster_id = str(self._node.cluster_id.hex())
        self._changed = threading.Condition()
        self._users = 0
        self._is_over = False
        self._senders = 0
        self._refs: dict[SharedValue, Any] = {}
        self.sessions = 0  # that are open on it

    @property
    def is_current(self) -> bool:
        """Whether Ray has this connection, and not none or a later one."""
        return self._here.node() is self._node

    @property
    def is_closed(self) -> bool:
        """Whether nothing may be called through it any more."""
        return self._is_over or not self.is_current

    def check(self) -> None:
        """Raise CutOffError if it is over: for those who wait within used()."""
        if self.is_closed:
            raise CutOffError(
                f"the head of the Ray cluster at {self.address} was lost. The cluster is joined "
                "again, without a restart of this program, once a head and a node of this host "
                "are back: see docs/reliability.md"
            )

    @contextlib.contextmanager
    def used(self) -> Iterator[None]:
        """While Ray is called. Raises CutOffError."""
        with self._changed:
            self.check()
            self._users += 1
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """While values are sent, within used(), until they have come: then nothing is left here.

        Tiers that are sent the same one share its reference.
        """
        with self._changed:
            self._senders += 1
        try:
            yield
        finally:
            with self._changed:
                self._senders -= 1
                if not self._senders:
                    self._refs.clear()

    def ref(self, shared: SharedValue) -> Any:
        """The value's reference; made at the first call within sending()."""
        assert self._senders, "a shared value is sent within sending()"
        with self._changed:
            ref = self._refs.get(shared)
        if ref is None:
            made = self._here.put(shared.value)
            with self._changed:
                ref = self._refs.setdefault(shared, made)
        return ref

    def end(self, timeout_s: float) -> None:
        """Let nobody in any more; returns when all are out. Raises ClusterError after the time."""
        until_s = time.monotonic() + timeout_s
        with self._changed:
            self._is_over = True
            while self._users:
                if not self._changed.wait(max(0.0, until_s - time.monotonic())):
                    raise ClusterError(f"a call of Ray's has not come back for {timeout_s:g} s")
            # In Ray the next cluster's references may have the same numbers as these.
            self._refs.clear()


class RayConnections:
    """Who connects, and to what. lock: held by the thread that joins or leaves a cluster."""

    def __init__(self, here: RayHere) -> None:
        self._here = here
        self.lock = threading.RLock()
        self.current: RayConnection | None = None  # the last one; it may be over

    def acquire(self, is_ours: bool, is_own_cluster: bool, variables: Before) -> RayConnection:
        """The connection that Ray has now, with one session more. Called with the lock."""
        FORKS.joined()
        if self.current is None or self.current.is_closed:
            self.current = RayConnection(is_ours, is_own_cluster, variables, self._here)
        self.current.sessions += 1
        return self.current

    def release(self, connection: RayConnection) -> bool:
        """One session less; whether it was the last of Ray's connection. Called with the lock."""
        connection.sessions -= 1
        return not connection.sessions and connection.is_current


RAY_CONNECTIONS = RayConnections(RayHere())  # the process's, as Ray's connection is
