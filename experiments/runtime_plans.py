"""A seeded sample of plans: what rows predict for them, and what their ranges take in a row."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from edgesplit.config import TIERS
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.row import TORCH, Row
from experiments.runtime_bench import Bench, take_turns

HELD = 5  # plans whose ranges are held in memory at once, and take turns


def sample_plans(n_layers: int, runtimes: Sequence[str], count: int) -> list[Plan]:
    """Plans of one to three stages, none empty, with cuts and runtimes drawn evenly (seed 0)."""
    rng = np.random.default_rng(0)
    return [_drawn(n_layers, runtimes, rng) for _ in range(count)]


def _drawn(n_layers: int, runtimes: Sequence[str], rng: np.random.Generator) -> Plan:
    most = min(len(TIERS), n_layers)
    inner = rng.choice(np.arange(1, n_layers), rng.integers(most), replace=False)
    edges = [0, *sorted(inner.tolist()), n_layers]
    return Plan(
        tuple(
            Stage(tier, start, stop, str(rng.choice(list(runtimes))))
            for tier, (start, stop) in zip(TIERS, pairwise(edges), strict=False)
        )
    )


def predicted_s(plan: Plan, rows: Mapping[str, Row]) -> float:
    """What the cost model says of the plan's computing, were all tiers this machine."""
    return sum(sum(rows[s.runtime].layer_s[s.start : s.stop]) for s in plan.stages)


def measure_plans(bench: Bench, plans: Sequence[Plan], rounds: int) -> list[dict[str, Any]]:
    """A row per plan: predicted and measured seconds, the latter medians over rounds.

    slowdown: eager torch's whole run, which takes turns with the plan, over its row: what a tier
    would believe of itself meanwhile.
    """
    eager = Plan((Stage(TIERS[0], 0, len(bench.graph)),))
    found = []
    for first in range(0, len(plans), HELD):
        held = plans[first : first + HELD]
        runs = [_run(bench, plan) for plan in (eager, *held)]
        eager_s, *measured = (
            median(one.wall_s for one in series) for series in take_turns(runs, rounds)
        )
        slowdown = eager_s / bench.rows[TORCH].total_s
        for plan, seconds in zip(held, measured, strict=True):
            expected_s = predicted_s(plan, bench.rows)
            found.append(
                {"plan": str(plan), "ranges": len(plan.stages), "predicted_s": expected_s}
                | {"measured_s": seconds, "slowdown": slowdown}
                | {"error": expected_s / seconds - 1}
                | {"error_at_slowdown": expected_s * slowdown / seconds - 1}
            )
    return found


def _run(bench: Bench, plan: Plan) -> Callable[[], Any]:
    """The plan's ranges one after another."""
    segments = [bench.run(s.start, s.stop, s.runtime) for s in plan.stages]

    def run() -> Any:
        payload = list(bench.workload.values)
        for segment in segments:
            payload = segment(payload)
        return payload

    return run
