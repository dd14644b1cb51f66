"""A device and its servers, for policies that cut once: random ones, and the chain as a graph."""

import numpy as np

from edgesplit.core.graph import Graph
from edgesplit.core.policies.dag import Dag
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

POWER = Power(6.0, 2.0, 1.0, 0.5)


def graph_and_profile(seed, n=8, servers=1):
    """Random layers, sizes and speeds; every server has a link of its own."""
    generator = np.random.default_rng(seed)
    sizes = tuple(generator.integers(1, 200, n + 1).tolist())
    graph = Graph("random", tuple(f"l{k}" for k in range(n)), sizes, (10,) * n)
    names = ("end", *(f"server-{k}" for k in range(servers)))
    tiers = tuple(
        Tier(name, tuple(generator.uniform(0, 4 if name == "end" else 2, n).tolist()), POWER,
             slowdown=float(generator.uniform(1, 3)))
        for name in names
    )  # fmt: skip
    links = [
        Link(u, v, float(generator.uniform(0, 0.3)), float(generator.uniform(10, 400)))
        for server in names[1:]
        for u, v in (("end", server), (server, "end"))
    ]
    return graph, Profile(tiers, tuple(links))


def chain_times(graph, profile, server):
    """Seconds of layers on the device and on a server now, and of each cut's upload."""
    device, other = profile.tiers[0], profile.tier(server)
    rate = profile.link("end", server).bytes_per_s
    device_s = [s * device.slowdown for s in device.layer_s]
    server_s = [s * other.slowdown for s in other.layer_s]
    return device_s, server_s, [size / rate for size in graph.payload_bytes]


def as_dag(graph, profile, server):
    """The chain: vertex k is what cut k sends, made by the layer before it."""
    device_s, server_s, upload_s = chain_times(graph, profile, server)
    arcs = tuple((k, k + 1) for k in range(len(graph)))
    return Dag((0.0, *device_s), (0.0, *server_s), tuple(upload_s), arcs)
