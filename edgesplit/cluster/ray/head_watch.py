"""Whether a cluster's head is still the one that was joined, and knows the node of this process.

A head that was started anew without its storage knows nothing of those who had joined; one with
storage, or one that lives on, has given up this host's node where that had died. A look that finds
it away costs a TCP connection; who it is, is asked by a process of its own (head_probe.py).
"""

import threading
import time
from collections.abc import Callable

import ray

from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.cluster.ray.head_probe import cluster_here
from edgesplit.cluster.ray.named import reach
from edgesplit.errors import ClusterError

_ASK_TIMEOUT_S = 20.0
_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 60.0  # between two questions, each of which costs a process


class HeadWatch:
    """Of one session, for its keeper's thread. stop() may be called by another one."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.is_in_doubt = False  # whether the head that was joined is still there
        self._asked_s = -_LONGEST_PAUSE_S
        self._pause_s = _PAUSE_S
        self._stopped = threading.Event()

    def stop(self) -> None:
        """Ask nothing more; a question under way ends soon."""
        self._stopped.set()

    def is_another(self, connection: RayConnection, has_silent: bool) -> bool:
        """Whether there is a cluster to be joined in place of the one of this connection.

        has_silent: whether actors do not answer, which may come from a head that was away between
        two looks, or from a dead node of this host. Raises ClusterError with what is missing where
        the head is away, or has no node on this host yet.
        """
        if connection.is_closed:  # another session has found out, or the program has joined anew
            is_there = connection.is_own_cluster or ray.is_initialized()
            return is_there or self._is_joinable(connection)
        try:
            reach(connection.address)
        except ClusterError:
            self.is_in_doubt, self._pause_s = True, _PAUSE_S
            if connection.is_own_cluster:
                return True  # nobody but this process will start it again
            raise
        if not (self.is_in_doubt or has_silent):
            self._pause_s = _PAUSE_S
            return False
        return self._is_joinable(connection)

    def _is_joinable(self, connection: RayConnection) -> bool:
        if self._clock() - self._asked_s < self._pause_s:
            return False
        self._asked_s = self._clock()
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)
        found = cluster_here(connection.address, _ASK_TIMEOUT_S, self._stopped)
        is_same = found.cluster_id == connection.cluster_id and connection.node_id in found.nodes
        if is_same and not connection.is_closed:
            self.is_in_doubt = False
            return False
        self.is_in_doubt, self._pause_s = True, _PAUSE_S
        if not found.has_node_here:
            raise ClusterError(
                f"the head at {connection.address} does not know this host's node (any more), and "
                f"has those of the tiers {', '.join(found.tiers) or 'none'}: no node of this host "
                "has joined it yet"
            )
        return True
