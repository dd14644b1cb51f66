"""A Ray cluster on this machine with a node per tier, and the processes that sessions share there.

Nodes and processes are killed and frozen as those of hosts would be.
"""

import contextlib
import os
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import psutil
import ray
import ray.exceptions
from ray.cluster_utils import Cluster

from edgesplit.cluster.ray.embedded import NAMESPACE
from edgesplit.cluster.ray.placement import SCHEDULER, TIER_ACTOR
from edgesplit.config import TIERS

_NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
_ASK_S, _AGAIN_S, _PATIENCE_S = 10.0, 0.5, 60.0
_MB = 1e6


class Nodes:
    """One per tier; the first is the head's, where the programs run."""

    def __init__(self, running: Cluster, nodes: dict[str, Any]) -> None:
        self._running, self._nodes = running, nodes

    @property
    def address(self) -> str:
        """Of the cluster."""
        return str(self._running.address)

    def kill_node(self, tier: str) -> None:
        """As a host that loses power."""
        self._running.remove_node(self._nodes.pop(tier), allow_graceful=False)

    def add_node(self, tier: str) -> None:
        """It comes back, with nothing that ran there."""
        self._nodes[tier] = self._running.add_node(**_node(tier))

    def process(self, name: str) -> psutil.Process:
        """Of a tier's actor, or of the `scheduler`."""
        told = _patiently(lambda: _ask(name, "__ray_call__", lambda actor: os.getpid()))
        return psutil.Process(int(told))

    def sessions(self) -> dict[str, tuple[str, ...]]:
        """Those that are open, by tier and on the `scheduler`; () of one that says nothing now."""
        found: dict[str, tuple[str, ...]] = {}
        for name in (*TIERS, SCHEDULER):
            try:
                told = _ask(name, "sessions" if name == SCHEDULER else "status")
            except (ray.exceptions.RayError, ValueError):
                told = ()
            found[name] = tuple(told if name == SCHEDULER else (told[2] if told else ()))
        return found

    def held(self) -> Mapping[str, float]:
        """Threads, descriptors and resident MB of the tiers' processes and the scheduler's."""
        found = {"tiers_threads": 0, "tiers_fds": 0, "tiers_mb": 0.0}
        for tier in TIERS:
            process = self.process(tier)
            found["tiers_threads"] += process.num_threads()
            found["tiers_fds"] += process.num_fds()
            found["tiers_mb"] += process.memory_info().rss / _MB
        scheduler_mb = self.process(SCHEDULER).memory_info().rss / _MB
        return {key: round(value, 1) for key, value in found.items()} | {
            "scheduler_mb": round(scheduler_mb, 1)
        }


@contextlib.contextmanager
def nodes() -> Iterator[Nodes]:
    """A cluster, which this process joins; ended with all of theirs, as is Ray's folder."""
    before = os.environ.get("RAY_TMPDIR")
    with warnings.catch_warnings(), tempfile.TemporaryDirectory(prefix="c-", dir="/tmp") as folder:
        warnings.simplefilter("ignore")  # Ray's test cluster is careless with files
        os.environ["RAY_TMPDIR"] = folder
        running = Cluster(initialize_head=True, head_node_args=_node(TIERS[0]))
        try:
            there = {tier: running.add_node(**_node(tier)) for tier in TIERS[1:]}
            running.wait_for_nodes()
            ray.init(running.address, namespace=NAMESPACE, log_to_driver=False)
            yield Nodes(running, there)
        finally:
            ray.shutdown()
            running.shutdown()
            os.environ.pop("RAY_TMPDIR")
            if before is not None:
                os.environ["RAY_TMPDIR"] = before


def _node(tier: str) -> dict[str, Any]:
    return {**_NODE, "labels": {"tier": tier}}


def _ask(name: str, method: str, *args: Any) -> Any:
    actor = ray.get_actor(name if name == SCHEDULER else TIER_ACTOR + name, namespace=NAMESPACE)
    return ray.get(getattr(actor, method).remote(*args), timeout=_ASK_S)


def _patiently(ask: Callable[[], Any]) -> Any:
    """An actor that was killed a moment ago answers when it is back."""
    until_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            return ask()
        except (ray.exceptions.RayError, ValueError, psutil.Error):
            if time.monotonic() > until_s:
                raise
            time.sleep(_AGAIN_S)
