"""Nodes that join the cluster while a session runs: brought up to date, then used by its plans."""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from edgesplit.cluster.actors.workload import TierKnown
from edgesplit.cluster.ray.considered import considered
from edgesplit.cluster.ray.nodes import Node
from edgesplit.cluster.session.session import Session
from edgesplit.core.profile import Link
from edgesplit.core.tier import Tier
from edgesplit.errors import ClosedError, EdgeSplitError
from edgesplit.node.process.threads import begin

PERIOD_S = 3.0  # between two looks at the cluster's nodes
_AGAIN_S = 60.0  # before a node that could not be used is tried again
_STOP_TIMEOUT_S = 10.0
Joined = Callable[[Tier, Sequence[Link], str], None]  # with its address
_log = logging.getLogger(__name__)


class Joining:
    """Looks which nodes there are; a thread of its own brings one of them in at a time."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._told: dict[str, Joined] = {}  # by workload
        self._refused_s: dict[str, float] = {}  # until when a node is not tried, by Ray's id
        self._seen = frozenset[str]()  # nodes that were there at the last look
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None

    def add(self, workload_id: str, joined: Joined) -> None:
        """Tell of each tier that joins, before a plan of the workload names it."""
        self._told[workload_id] = joined

    def drop(self, workload_id: str) -> None:
        """Tell of none any more."""
        self._told.pop(workload_id, None)

    def start(self) -> None:
        """Begin, once the session is open; a second call does nothing."""
        if self._thread is None and not self._stopped.is_set():
            self._thread = begin(self._run, "joining")

    def stop(self) -> None:
        """End the thread; nothing of Ray's is called any more when this returns."""
        self._stopped.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            try:
                if self._session.is_ready:
                    self._look()
            except ClosedError:
                return
            except Exception as error:  # of Ray's, many kinds: the cluster is looked at again
                _log.info("the cluster's nodes are not known just now: %s", error)

    def _look(self) -> None:
        with self._session.attached() as now:
            placement = now.placement
            if placement.is_embedded:
                return
            nodes, here = self._session.nodes(), placement.connection.node_id
            if not self._has_news(nodes):
                return
            wanted = self._session.tiers.wanted
            found = considered(wanted, nodes, here, held=placement.tiers)
            for node in found:
                if node.name not in placement.tiers and self._may_join(node):
                    self._join(node)

    def _tell(self, address: str, known: Mapping[str, TierKnown]) -> None:
        for workload_id, (tier, links) in known.items():
            joined = self._told.get(workload_id)
            if joined is not None:
                joined(tier, links, address)

    def _has_news(self, nodes: Sequence[Node]) -> bool:
        """Whether other nodes are there than before, or one may be tried again.

        Round trips to many nodes are not measured every few seconds.
        """
        now_s, before = time.monotonic(), self._seen
        self._seen = frozenset(node.ray_id for node in nodes)
        due = [ray_id for ray_id, until_s in self._refused_s.items() if now_s > until_s]
        for ray_id in due:
            del self._refused_s[ray_id]
        return bool(due) or self._seen != before

    def _may_join(self, node: Node) -> bool:
        return node.ray_id not in self._refused_s

    def _join(self, node: Node) -> None:
        _log.warning("node %s has joined the cluster; it is prepared", node.name)
        try:
            self._session.add_tier(node, self._tell)
        except ClosedError:
            raise
        except EdgeSplitError as error:
            self._refused_s[node.ray_id] = time.monotonic() + _AGAIN_S
            _log.warning("node %s is not used for now: %s", node.name, error)
