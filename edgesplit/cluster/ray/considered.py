"""Which nodes of a cluster a session considers: those that it names, or the nearest of a role.

The first name is where inputs are: the caller's own node, where that has the role.
"""

import math
import socket
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from edgesplit.cluster.ray.nodes import Node
from edgesplit.core.fleet.candidates import MOST_PER_ROLE, FleetNode, candidates
from edgesplit.errors import ClusterError

_CONNECT_TIMEOUT_S = 2.0
_PROBES, _AT_ONCE = 3, 32
RoundTrips = Callable[[Sequence[Node]], Mapping[str, float]]


def round_trips_s(nodes: Sequence[Node]) -> dict[str, float]:
    """Seconds from this host to Ray's process on each node and back; infinite without an answer."""
    with ThreadPoolExecutor(_AT_ONCE) as threads:
        seconds = threads.map(_round_trip_s, nodes)
        return {node.name: found for node, found in zip(nodes, seconds, strict=True)}


def _round_trip_s(node: Node) -> float:
    """The least of a few: a connection that is made and closed is one round trip."""
    least_s = math.inf
    for _ in range(_PROBES):
        began_s = time.perf_counter()
        try:
            socket.create_connection((node.address, node.port), _CONNECT_TIMEOUT_S).close()
        except OSError:
            return math.inf
        least_s = min(least_s, time.perf_counter() - began_s)
    return least_s


def considered(
    wanted: Sequence[str],
    nodes: Sequence[Node],
    own_id: str,
    measure: RoundTrips = round_trips_s,
    held: Collection[str] = (),
) -> tuple[Node, ...]:
    """The nodes that `wanted` means, roles or names, the entry node first.

    own_id: Ray's, of this process's node. measure: round trips from here, asked only where a role
    has more nodes than are considered. held: those that are considered now. What is wanted and
    not there is left out; nothing where there is no entry node. Raises ClusterError where several
    could be that.
    """
    entry = _entry(wanted[0], nodes, own_id)
    if entry is None:
        return ()
    named = {node.name: node for node in nodes if node.name != entry.name}
    found: dict[str, Node] = {}
    for name in wanted[1:]:
        if name in named:
            found[name] = named[name]
            continue
        of_role = [node for node in named.values() if node.role == name]
        if len(of_role) > MOST_PER_ROLE:
            there = [FleetNode(node.name, name) for node in of_role]
            nearest = candidates(
                entry.name,
                [FleetNode(entry.name, entry.role or name), *there],
                measure(of_role),
                held,
                {name: MOST_PER_ROLE},
            )
            of_role = [named[one] for one in nearest]
        found |= {node.name: node for node in of_role}
    return entry, *found.values()


def _entry(wanted: str, nodes: Sequence[Node], own_id: str) -> Node | None:
    for node in nodes:
        if node.name == wanted and node.role != wanted:
            return node
    able = [node for node in nodes if wanted in (node.role, node.name)]
    own = [node for node in able if node.ray_id == own_id]
    if own or len(able) <= 1:
        return next(iter(own or able), None)
    names = ", ".join(node.name for node in able)
    raise ClusterError(
        f"several nodes are {wanted!r} ({names}), and this program runs on none of them: name the "
        f"one that has the input first, such as Config(tiers=({able[0].name!r}, ...))"
    )
