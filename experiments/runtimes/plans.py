"""A seeded sample of plans: what rows predict for them, and what their ranges take in a row."""

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np

from edgesplit.config import TIERS
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.plan import Plan, Stage
from experiments.runtimes.bench import Bench, take_turns

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


def predicted_s(plan: Plan, rows: Mapping[str, LayerTimes]) -> float:
    """What the cost model says of the plan's computing, were all tiers this machine."""
    return sum(sum(rows[s.runtime].layer_s[s.start : s.stop]) for s in plan.stages)


def measure_plans(bench: Bench, plans: Sequence[Plan], rounds: int) -> list[dict[str, Any]]:
    """A row per plan: predicted and measured seconds, the latter medians over rounds.

    cpu_...: the same by seconds of this thread on a processor, rows and runs alike, which leaves
    out what the machine did beside.
    """
    found = []
    for first in range(0, len(plans), HELD):
        held = plans[first : first + HELD]
        taken = take_turns([_run(bench, plan) for plan in held], rounds)
        for plan, series in zip(held, taken, strict=True):
            expected_s = predicted_s(plan, bench.rows), predicted_s(plan, bench.cpu_rows)
            wall_s = median(one.wall_s for one in series)
            cpu_s = median(one.cpu_s for one in series)
            found.append(
                {"plan": str(plan), "ranges": len(plan.stages)}
                | {"predicted_s": expected_s[0], "measured_s": wall_s}
                | {"cpu_predicted_s": expected_s[1], "cpu_measured_s": cpu_s}
                | {"error": expected_s[0] / wall_s - 1, "cpu_error": expected_s[1] / cpu_s - 1}
            )
    return found


def _run(bench: Bench, plan: Plan) -> Callable[[], Any]:
    """The plan's ranges one after another."""
    segments = [bench.run(s.start, s.stop, s.runtime) for s in plan.stages]

    def run() -> Any:
        payload = list(bench.opened.values)
        for segment in segments:
            payload = segment(payload)
        return payload

    return run
