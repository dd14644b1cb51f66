"""Where a session's tiers are: on the nodes that it considers, or all on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.cluster.ray.considered import considered
from edgesplit.cluster.ray.embedded import EMBEDDED
from edgesplit.cluster.ray.named import LOCAL
from edgesplit.cluster.ray.nodes import Node, nodes_of
from edgesplit.deploy.ports import DATA_PORTS
from edgesplit.errors import ClusterError
from edgesplit.node.process.allocator import ALLOCATOR_ENV

# Names of actors; a tier's name comes behind the second.
SCHEDULER, TIER_ACTOR = "scheduler", "tier-"


@dataclass(frozen=True)
class Placement:
    """A cluster that this process is connected to.

    tiers: by name, the one that holds the input first. is_embedded: one machine plays all tiers.
    nodes: of each tier; none where it is embedded, or is not there just now.
    """

    connection: RayConnection
    tiers: tuple[str, ...]
    is_embedded: bool
    nodes: Mapping[str, Node]

    def options(self, tier: str) -> dict[str, Any]:
        """Ray actor options that put an actor on `tier`."""
        runtime_env = {"env_vars": ALLOCATOR_ENV}
        if self.is_embedded:
            here = {"ray.io/node-id": self.connection.node_id}
            return {"runtime_env": runtime_env, "label_selector": here}
        node = self.nodes.get(tier)
        selector = dict(node.selector) if node else {"tier": tier}
        return {"runtime_env": runtime_env, "label_selector": selector}

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
        node = self.nodes.get(tier)
        return 1 if self.is_embedded or node is None else node.cpus

    @property
    def roles(self) -> dict[str, str]:
        """Of each tier by name: what a setting may call it as well."""
        return {tier: self.nodes[tier].role if tier in self.nodes else tier for tier in self.tiers}


def placement_of(
    connection: RayConnection, wanted: Sequence[str], is_local: bool, is_new: bool = True
) -> Placement:
    """The cluster of this process; is_local: all tiers on its node, whatever else there is.

    wanted: roles or names of nodes; is_new: not the names of a placement in a cluster before, of
    which some nodes may be missing. Raises ClusterError where one is, or it is not clear which node
    holds the input.
    """
    rows = alive_nodes()
    if is_local or any(EMBEDDED.items() <= row["Labels"].items() for row in rows):
        return Placement(connection, tuple(wanted), True, {})
    nodes = nodes_of(rows)
    if not is_new:
        named = {node.name: node for node in nodes if node.name in wanted}
        return Placement(connection, tuple(wanted), False, named)
    _require(wanted, nodes, connection)
    found = considered(wanted, nodes, connection.node_id)
    named = {node.name: node for node in found}
    return Placement(connection, tuple(named), False, named)


def alive_nodes() -> list[Any]:
    return [node for node in ray.nodes() if node["Alive"]]


def _require(wanted: Sequence[str], nodes: Sequence[Node], connection: RayConnection) -> None:
    """Raise ClusterError where the cluster has no node for one of those."""
    roles = sorted({node.role for node in nodes if node.role})
    there = {*roles, *(node.name for node in nodes)}
    missing = [tier for tier in wanted if tier not in there]
    if not missing:
        return
    where = connection.address
    names = [node.name for node in nodes if node.name != node.role]
    named = f", the names {names}" if names else ""
    raise ClusterError(
        f"the Ray cluster at {where} has no node for tier {', '.join(missing)}: its "
        f"{len(nodes)} node(s) carry the tier labels {roles or 'none'}{named}. Start the missing "
        f"node with `ray start --address={where} --labels=tier={missing[0]}`, name other tiers "
        f"with Config(tiers=...), or have all tiers emulated: {_emulated(connection)}"
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
