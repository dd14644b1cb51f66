"""Ways in which nodes may be linked, several per role: what the planner is tried on."""

from itertools import combinations

from edgesplit.core.graph import Graph
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

# By role: times as fast as an end device, watts while computing, while waiting.
ROLES = {"end": (1.0, 5.0, 0.5), "edge": (5.0, 12.0, 2.0), "cloud": (25.0, 100.0, 10.0)}
# By the roles at both ends: seconds of latency, bytes per second.
LINKS = {
    ("end", "edge"): (0.002, 12e6),
    ("end", "cloud"): (0.030, 3e6),
    ("edge", "edge"): (0.001, 60e6),
    ("edge", "cloud"): (0.012, 25e6),
    ("cloud", "cloud"): (0.005, 100e6),
    ("end", "end"): (0.004, 6e6),
}
END_S = 0.5  # the whole model on an end device


def graph(n_layers: int) -> Graph:
    """Payloads that shrink as a CNN's do; 1,000 bytes of weights a layer."""
    sizes = [int(600_000 * 0.05 ** (cut / n_layers)) for cut in range(n_layers)]
    layers = tuple(f"l{k}" for k in range(n_layers))
    return Graph(f"{n_layers} layers", layers, (*sizes, 4_000), (1000,) * n_layers)


def role(name: str) -> str:
    """What a node is: `edge-2` is an edge."""
    return name.split("-")[0]


def profile(n_layers: int, pairs: str) -> Profile:
    """Nodes by links such as `end-3 edge-1, edge-1 cloud`; the first node holds the input.

    The second node of a role is a tenth slower than the first, and so on.
    """
    links = [tuple(pair.split()) for pair in pairs.split(",")]
    names = list(dict.fromkeys(name for pair in links for name in pair))
    return Profile(
        tuple(_tier(name, n_layers, names) for name in names),
        tuple(_link(*way) for pair in links for way in (pair, pair[::-1])),
    )


def mesh(*names: str) -> str:
    """Every node linked with every other one."""
    return ", ".join(f"{u} {v}" for u, v in combinations(names, 2))


def _tier(name: str, n_layers: int, names: list[str]) -> Tier:
    speed, compute_w, wait_w = ROLES[role(name)]
    nth = [other for other in names if role(other) == role(name)].index(name)
    layer_s = END_S / n_layers / speed * (1 + 0.1 * nth)
    return Tier(name, (layer_s,) * n_layers, Power(compute_w, 2.0, 1.5, wait_w))


def _link(source: str, target: str) -> Link:
    pair = role(source), role(target)
    latency_s, bytes_per_s = LINKS.get(pair) or LINKS[pair[::-1]]
    return Link(source, target, latency_s, bytes_per_s)
