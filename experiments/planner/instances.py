"""Seeded planning problems: realistic ones of any size, and small odd ones for the brute force."""

from dataclasses import replace

import numpy as np
from numpy.random import Generator

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.planner.choose import choose, choose_fastest
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

Instance = tuple[Graph, Profile, Goal]

# The whole model takes this long on the end tier, whatever the number of layers.
END_S = 0.4
INPUT_BYTES, ANSWER_BYTES = 600_000, 4_000
OTHER_RUNTIMES, RUNTIME_SPEEDUP = ("onnx", "compile"), 0.8
# Share of the way from the fastest plan's latency to the best plan's where the limit is put.
LIMIT_SHARES = (0.3, 0.7)


def realistic(rng: Generator, layers: int, tiers: int, runtimes: int = 1) -> Instance:
    """A model on a chain of ever faster tiers with some direct links besides; no limits.

    Layer times are heavy-tailed; tiers differ by a factor and by noise per layer, and so do the
    runtimes of a tier; faster tiers draw more; payloads vary and shrink on the whole, as a CNN's
    do.
    """
    share = rng.lognormal(0.0, 1.2, layers)
    share /= share.sum()
    payload = 4 * INPUT_BYTES * np.exp(-4 * np.linspace(0, 1, layers + 1))
    payload *= rng.lognormal(0.0, 0.7, layers + 1)
    payload[0], payload[-1] = INPUT_BYTES, ANSWER_BYTES
    graph = Graph(
        f"{layers} layers",
        tuple(f"l{k}" for k in range(layers)),
        tuple(payload.astype(int).tolist()),
        tuple(rng.lognormal(9.0, 2.0, layers).astype(int).tolist()),
    )
    speedup = np.geomspace(1.0, 30.0, tiers)
    measured = tuple(
        Tier(
            f"t{t}",
            tuple((END_S * share / speedup[t] * rng.lognormal(0.0, 0.35, layers)).tolist()),
            Power(5.0 * float(speedup[t]) ** 1.15, 2.0, 1.5, 2.0),
        )
        for t in range(tiers)
    )
    measured = tuple(_in_more_runtimes(rng, tier, runtimes) for tier in measured)
    # Much weight on the energy of all tiers, so that the best plan is seldom the fastest.
    return graph, Profile(measured, _links(rng, tiers, 0.3)), Goal(0.3, 0.6, 0.1)


def _in_more_runtimes(rng: Generator, tier: Tier, runtimes: int) -> Tier:
    for runtime in OTHER_RUNTIMES[: runtimes - 1]:
        factors = RUNTIME_SPEEDUP * rng.lognormal(0.0, 0.5, len(tier.layer_s))
        tier = tier.with_layer_times(
            LayerTimes(runtime, tuple((np.array(tier.layer_s) * factors).tolist()))
        )
    return tier


def with_binding_limit(instance: Instance, share: float) -> Instance | None:
    """The same with a latency limit that changes the answer; None where the best is the fastest."""
    graph, profile, goal = instance
    model = CostModel(graph, profile, goal)
    best_s, least_s = choose(model).cost.latency_s, choose_fastest(model).cost.latency_s
    limit_s = least_s + share * (best_s - least_s)
    if not limit_s < best_s * (1 - 1e-6):
        return None
    return graph, profile, replace(goal, latency_limit_s=limit_s)


def small(rng: Generator) -> Instance:
    """Few layers, tiers and runtimes, random links, weights, memory and privacy limits."""
    tiers = int(rng.integers(2, 5))
    runtimes = int(rng.integers(1, 4))
    layers = int(rng.integers(1, (8 if tiers < 4 else 6) - 2 * (runtimes > 1)))
    graph = Graph(
        "small",
        tuple(f"l{k}" for k in range(layers)),
        tuple(rng.integers(0, 6, layers + 1).tolist()),
        tuple(rng.integers(0, 6, layers).tolist()),
    )
    measured = tuple(
        Tier(
            f"t{t}",
            tuple((rng.lognormal(0.0, 1.2, layers) * rng.choice([1.0, 0.5, 0.2])).tolist()),
            Power(*rng.uniform(0.0, 5.0, 4).tolist()),
        )
        for t in range(tiers)
    )
    measured = tuple(_in_more_runtimes(rng, tier, runtimes) for tier in measured)
    profile = Profile(measured, _small_links(rng, tiers))
    end, total, latency = rng.dirichlet([1.0, 1.0, 1.0]).tolist()
    whole = sum(graph.weight_bytes) + 1
    memory = {f"t{t}": int(rng.integers(0, whole)) for t in range(tiers) if rng.random() < 0.2}
    goal = Goal(
        end,
        total,
        latency,
        min_end_layers=int(rng.integers(0, layers + 1)) if rng.random() < 0.3 else 0,
        memory_bytes=memory,
        boundary="gross" if rng.random() < 0.5 else "marginal",
    )
    return graph, profile, goal


def _links(rng: Generator, tiers: int, direct: float) -> tuple[Link, ...]:
    links = []
    for u in range(tiers):
        for v in range(u + 1, tiers):
            if v == u + 1 or rng.random() < direct:
                latency_s, rate = float(rng.uniform(5e-4, 8e-3)), float(rng.lognormal(16.8, 0.8))
                links.append(Link(f"t{u}", f"t{v}", latency_s, rate))
                links.append(Link(f"t{v}", f"t{u}", latency_s, rate * float(rng.uniform(0.5, 1))))
    return tuple(links)


def _small_links(rng: Generator, tiers: int) -> tuple[Link, ...]:
    slow = float(rng.choice([0.01, 0.1, 1.0]))
    pairs = [(u, v) for u in range(tiers) for v in range(u + 1, tiers) if rng.random() < 0.7]
    return tuple(
        Link(f"t{a}", f"t{b}", slow * float(rng.random()), float(rng.uniform(1, 10)) / slow)
        for u, v in pairs
        for a, b in ((u, v), (v, u))
    )
