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

from edgesplit.cluster.parcel import Parcel
from edgesplit.errors import ClusterError


class CutOffError(ClusterError):
    """The cluster's head is lost, or another one; nothing can be asked until it is joined again."""


class Connection:
    """To one cluster, from joining it to its end.

    is_ours: whether EdgeSplit made it, and not the program around it. is_own_cluster: whether
    this process started the cluster.
    """

    def __init__(self, is_ours: bool, is_own_cluster: bool) -> None:
        self.is_ours, self.is_own_cluster = is_ours, is_own_cluster
        self.address = str(ray.get_runtime_context().gcs_address)
        self._node = worker.global_worker.node  # another one for each connection
        self.cluster_id = str(self._node.cluster_id.hex())
        self.node_id = str(ray.get_runtime_context().get_node_id())  # of the node it goes through
        self._changed = threading.Condition()
        self._users = 0
        self._is_over = False
        self._senders = 0
        self._refs: dict[Parcel, Any] = {}
        self.sessions = 0  # that are open on it

    @property
    def is_rays(self) -> bool:
        """Whether Ray has this connection, and not none or a later one."""
        return ray.is_initialized() and worker.global_worker.node is self._node

    @property
    def is_over(self) -> bool:
        """Whether nothing may be called through it any more."""
        return self._is_over or not self.is_rays

    def check(self) -> None:
        """Raise CutOffError if it is over: for those who wait within used()."""
        if self.is_over:
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
        """While parcels are sent, within used(), until they have come: then nothing is left here.

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

    def ref(self, parcel: Parcel) -> Any:
        """The reference of a parcel; made at the first call within sending()."""
        assert self._senders, "a parcel is sent within sending()"
        with self._changed:
            ref = self._refs.get(parcel)
        if ref is None:
            made = ray.put(parcel.value)
            with self._changed:
                ref = self._refs.setdefault(parcel, made)
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


class Connecting:
    """Who connects, and to what. lock: held by the thread that joins or leaves a cluster."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._connection: Connection | None = None

    def entered(self, is_ours: bool, is_own_cluster: bool = False) -> Connection:
        """The connection that Ray has now, with one session more. Called with the lock."""
        if self._connection is None or self._connection.is_over:
            self._connection = Connection(is_ours, is_own_cluster)
        self._connection.sessions += 1
        return self._connection

    def left(self, connection: Connection) -> bool:
        """One session less; whether it was the last of Ray's connection. Called with the lock."""
        connection.sessions -= 1
        return not connection.sessions and connection.is_rays


CONNECTING = Connecting()  # the process's, as Ray's connection is
