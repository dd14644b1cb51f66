"""Where a session's tiers are: on the nodes with their labels, or all on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray

from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.cluster.ray.embedded import EMBEDDED
from edgesplit.cluster.ray.named import LOCAL
from edgesplit.deploy.ports import DATA_PORTS
from edgesplit.errors import ClusterError
from edgesplit.node.process.allocator import ALLOCATOR_ENV

# Names of actors; a tier's name comes behind the second.
SCHEDULER, TIER_ACTOR = "scheduler", "tier-"


@dataclass(frozen=True)
class Placement:
    """A cluster that this process is connected to.

    is_embedded: one machine plays all tiers. cpus: of each tier's node, as Ray was told when it
    was started.
    """

    connection: RayConnection
    tiers: tuple[str, ...]
    is_embedded: bool
    cpus: dict[str, int]

    def options(self, tier: str) -> dict[str, Any]:
        """Ray actor options that put an actor on `tier`."""
        runtime_env = {"env_vars": ALLOCATOR_ENV}
        if self.is_embedded:
            here = {"ray.io/node-id": self.connection.node_id}
            return {"runtime_env": runtime_env, "label_selector": here}
        return {"runtime_env": runtime_env, "label_selector": {"tier": tier}}

    def actor_name(self, tier: str) -> str:
        """Of the tier's actor, which all sessions of the cluster share."""
        place = f"@{self.connection.node_id[:12]}" if self.is_embedded else ""
        return f"{TIER_ACTOR}{tier}{place}"

    @property
    def host(self) -> str:
        """The address tiers listen on; empty: each node's own."""
        return "127.0.0.1" if self.is_embedded else ""

    @property
    def ports(self) -> Sequence[int]:
        """The ports a tier may listen on; empty: any."""
        return () if self.is_embedded else DATA_PORTS

    def threads(self, tier: str) -> int:
        """torch threads of a tier where nothing else is asked for: one if embedded, else all."""
        return 1 if self.is_embedded else self.cpus.get(tier, 1)


def placement_of(connection: RayConnection, tiers: Sequence[str], is_local: bool) -> Placement:
    """The cluster of this process; is_local: all tiers on its node, whatever else there is."""
    nodes = alive_nodes()
    is_embedded = any(EMBEDDED.items() <= node["Labels"].items() for node in nodes)
    cpus = {
        node["Labels"].get("tier", ""): max(1, int(node["Resources"].get("CPU", 1)))
        for node in nodes
    }
    return Placement(connection, tuple(tiers), is_embedded or is_local, cpus)


def alive_nodes() -> list[Any]:
    return [node for node in ray.nodes() if node["Alive"]]


def require_tiers(placement: Placement) -> None:
    """Raise ClusterError where the cluster has no node for one of the tiers."""
    nodes = alive_nodes()
    labels = [node["Labels"] for node in nodes]
    found = sorted({label["tier"] for label in labels if "tier" in label})
    missing = [tier for tier in placement.tiers if tier not in found]
    if not missing:
        return
    where = placement.connection.address
    raise ClusterError(
        f"the Ray cluster at {where} has no node for tier {', '.join(missing)}: its "
        f"{len(labels)} node(s) carry the tier labels {found or 'none'}. Start the missing "
        f"node with `ray start --address={where} --labels=tier={missing[0]}`, name other tiers "
        f"with Config(tiers=...), or have all tiers emulated: {_emulated(placement.connection)}"
    )


def _emulated(connection: RayConnection) -> str:
    """What to do for emulated tiers instead, for a process in that cluster."""
    there = f"EdgeSplit(model, address={LOCAL!r})"
    if connection.is_ours:
        return f"{there} in a process that is in no cluster"
    return (
        f"{there} puts them on this process's node of that cluster, and after ray.shutdown() "
        "EdgeSplit starts a cluster of its own for them"
    )
