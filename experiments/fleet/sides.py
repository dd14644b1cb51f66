"""Ways to plan for a fleet, side by side: loads, score, and modelled latency with queues."""

from typing import Any

import numpy as np

from experiments.fleet.devices import TARGET
from experiments.fleet.plans import Choice
from experiments.fleet.rounds import Scene


def side(name: str, scene: Scene, choice: Choice, bound: float) -> dict[str, Any]:
    """A row. Latencies are modelled: each request's mean, with the waiting of M/M/1 queues.

    A request that a tier serves which is asked for more than all its cores waits without end;
    `without_end` is the share of such requests, and the percentiles are None where it reaches them.
    """
    fleet, demand = scene.fleet, scene.demand(choice)
    busy = TARGET * demand  # of all cores
    waiting = np.where(busy < 1, busy / np.maximum(1 - busy, 1e-9), np.inf)[fleet.tiers]
    used = choice.use_s > 0
    waited_s = np.where(used, choice.use_s * np.where(used, waiting, 0.0), 0.0).sum(axis=1)
    latency_s, rate = choice.latency_s + waited_s, fleet.rate_per_s * scene.is_there
    edges = demand[:-1][~scene.is_dead[:-1]]
    return {
        "approach": name,
        "edges_mean": float(edges.mean()),
        "edges_worst": float(edges.max()),
        "cloud": float(demand[-1]),
        "score": scene.score(choice),
        "over_bound": scene.score(choice) / bound - 1,
        "without_end": float(rate[np.isinf(latency_s)].sum() / rate.sum()),
        "median_s": _percentile(latency_s, rate, 0.5),
        "p99_s": _percentile(latency_s, rate, 0.99),
    }


def _percentile(latency_s: np.ndarray, rate: np.ndarray, share: float) -> float | None:
    order = np.argsort(latency_s)
    reached = np.searchsorted(np.cumsum(rate[order]), share * rate.sum() * (1 - 1e-12))
    found = float(latency_s[order[min(int(reached), len(order) - 1)]])
    return found if np.isfinite(found) else None
