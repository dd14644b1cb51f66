"""Made-up fleets: devices with a CNN, links and a rate of requests each, two edges, a cloud.

A device's profile is the product's: its own tier, both edges and the cloud as it sees them.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

LAYERS = (20, 38, 52)
INPUT_BYTES, ANSWER_BYTES = 600_000, 4_000
MODEL_S = {20: 0.2, 38: 0.4, 52: 0.6}  # of the whole model on a device of speed 1
SPEEDS = (0.4, 2.0)  # of devices, from and to, even in their logarithm
EDGE_SPEEDS, CLOUD_SPEED = (3.0, 7.0), 20.0  # of a core
POWERS = (Power(5.0, 2.0, 1.5, 1.0), Power(20.0, 3.0, 3.0, 1.0), Power(100.0, 3.0, 3.0, 1.0))
MBIT = 1e6 / 8
OWN_SHARE = (0.1, 0.9)  # of its own tier's time, that its requests would take there
EDGES_PER_CLOUD_CORE = 3
# Of a tier's cores: what may be asked of it. A queue M/M/1 waits 2.3 times as long as it runs then.
TARGET = 0.7
NAMES = ("end", "near", "far", "cloud")  # of the tiers of every device
LINKED = ((0, 1), (0, 2), (0, 3), (1, 3), (2, 3), (3, 1), (3, 2))  # hops that a plan may take
# Weight 1, so that a pressure of load is the price itself.
GOAL = Goal(load=1.0, temperature=0.0, memory=0.0)


@dataclass(frozen=True)
class Device:
    """One device. edges: the indices of the two in its reach, the nearer one first."""

    graph: Graph
    profile: Profile
    rate_per_s: float
    edges: tuple[int, int]


def capacities(edges: int) -> np.ndarray:
    """Core seconds per second that may be asked of each edge and, last, of the cloud."""
    cores = np.ones(edges + 1)
    cores[-1] = max(1.0, edges / EDGES_PER_CLOUD_CORE)
    return TARGET * cores


def graphs(generator: Generator) -> Mapping[int, tuple[Graph, np.ndarray]]:
    """By its number of layers each CNN, and each layer's share of its work."""
    found = {}
    for layers in LAYERS:
        share = generator.lognormal(0.0, 1.0, layers)
        payload = 4 * INPUT_BYTES * np.exp(-4.5 * np.linspace(0, 1, layers + 1))
        payload *= generator.lognormal(0.0, 0.5, layers + 1)
        payload[0], payload[-1] = INPUT_BYTES, ANSWER_BYTES
        names = tuple(f"l{k}" for k in range(layers))
        sizes = tuple(payload.astype(int).tolist())
        graph = Graph(f"cnn-{layers}", names, sizes, (1,) * layers)
        found[layers] = (graph, share / share.sum())
    return found


def devices(generator: Generator, count: int, edges: int) -> Iterator[Device]:
    """So many devices, in no order; two edges or more."""
    models = graphs(generator)
    edge_speeds = generator.uniform(*EDGE_SPEEDS, edges)
    for _ in range(count):
        layers = int(generator.choice(LAYERS))
        graph, share = models[layers]
        speed = float(np.exp(generator.uniform(*np.log(SPEEDS))))
        rate_per_s = float(generator.uniform(*OWN_SHARE)) * speed / MODEL_S[layers]
        near, far = generator.choice(edges, 2, replace=False).tolist()
        speeds = (speed, float(edge_speeds[near]), float(edge_speeds[far]), CLOUD_SPEED)
        profile = _profile(generator, MODEL_S[layers] * share, speeds)
        yield Device(graph, profile, rate_per_s, (near, far))


def _profile(generator: Generator, work_s: np.ndarray, speeds: tuple[float, ...]) -> Profile:
    powers = (POWERS[0], POWERS[1], POWERS[1], POWERS[2])
    tiers = tuple(
        Tier(
            name, tuple((work_s / speed * generator.lognormal(0, 0.2, len(work_s))).tolist()), power
        )
        for name, speed, power in zip(NAMES, speeds, powers, strict=True)
    )
    near, far = sorted(generator.lognormal(np.log(40), 0.6, 2), reverse=True)
    backhaul = generator.lognormal(np.log(150), 0.3, 2)
    shapes = {  # Mbit/s, and seconds of latency
        (0, 1): (near, 0.003),
        (0, 2): (far, 0.005),
        (0, 3): (0.6 * near, 0.02),
        (1, 3): (backhaul[0], 0.01),
        (2, 3): (backhaul[1], 0.01),
    }
    links = [
        Link(NAMES[u], NAMES[v], latency_s, float(mbit) * MBIT)
        for pair, (mbit, latency_s) in shapes.items()
        for u, v in (pair, pair[::-1])
    ]
    return Profile(tiers, tuple(links))
