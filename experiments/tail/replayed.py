"""The replay form: every approach over every trace, and promised deadlines against what was met."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgesplit.config import Config
from edgesplit.core.goal import Goal
from experiments.shared.stated_devices import PI_S, profile_of
from experiments.shared.trace import Floats, Trace
from experiments.tail.passage import Course, drawn_noise
from experiments.tail.replay import ReplayedRun, replay_trace
from experiments.tail.yardsticks import best_fixed, clairvoyant

Row = dict[str, Any]
LATENCY = Goal(end_energy=0.0, total_energy=0.0, latency=1.0)
CLAIRVOYANT, HEDGED, UNHEDGED = "clairvoyant", "adaptive, hedged", "adaptive"
STATIC, TRIVIAL = "best static", "best trivial"
HEDGE_SHARE = Config().hedge
PLAYED = (UNHEDGED, HEDGED, STATIC, TRIVIAL)  # clairvoyance is computed
ALL = "all"
PROBABILITIES = (0.95, 0.99)
PROMISED_MODEL = "mobilenet_v2"
LIMIT_S = 1.25 * PI_S[PROMISED_MODEL]  # the end tier alone nearly always keeps it


@dataclass(frozen=True)
class Pace:
    """A request every `interval_s`, the first in the middle of the first interval."""

    interval_s: float
    seed: int

    def times_s(self, seconds: float) -> Floats:
        """When requests are sent."""
        count = int(seconds / self.interval_s)
        return np.array([(number + 0.5) * self.interval_s for number in range(count)])


def course_of(model: str, trace: Trace) -> Course:
    """The stated devices; the link is calibrated with the mean rate of the trace."""
    return Course(*profile_of(model, float(trace.every_second().mean())), trace)


def compared(model: str, trace: Trace, pace: Pace) -> list[Row]:
    """A row per approach."""
    course, at_s = course_of(model, trace), pace.times_s(trace.length_s)
    noise = drawn_noise(len(at_s), np.random.default_rng(pace.seed))
    static = best_fixed(course, course.every_plan(), at_s, noise, LATENCY)
    trivial = best_fixed(course, course.trivial_plans(), at_s, noise, LATENCY)
    about = {"model": model, "trace": trace.name}
    rows = []
    for approach, share in ((UNHEDGED, 0.0), (HEDGED, HEDGE_SHARE)):
        run = replay_trace(course, at_s, noise, LATENCY, share)
        rows.append({**about, "approach": approach, **_of_run(run)})
    for approach, one in ((STATIC, static), (TRIVIAL, trivial)):
        rows.append({**about, "approach": approach, **figures(one.latency_s, one.end_j)})
        rows[-1]["plan"] = str(one.plan)
    seen = figures(*clairvoyant(course, at_s, noise))
    return [*rows, {**about, "approach": CLAIRVOYANT, **seen}]


def figures(latency_s: Floats, end_j: Floats) -> Row:
    """Of all requests of one approach; seconds and joules. What is none of its own stays 0."""
    p50, p95, p99 = (float(q) for q in np.quantile(latency_s, (0.5, 0.95, 0.99)))
    return {
        "requests": len(latency_s),
        "mean_s": float(latency_s.mean()),
        "p50_s": p50,
        "p95_s": p95,
        "p99_s": p99,
        "longest_s": float(latency_s.max()),
        "end_energy_j": float(end_j.mean()),
        "hedged": 0,
        "hedges_won": 0,
        "taken_back": 0,
        "failed_over": 0,
        "switches": 0,
        "plan": "",
    }


def _of_run(run: ReplayedRun) -> Row:
    latency_s = np.array([one.latency_s for one in run.requests])
    return figures(latency_s, np.array([one.end_j for one in run.requests])) | {
        "hedged": sum(one.hedged for one in run.requests),
        "hedges_won": sum(one.won for one in run.requests),
        "taken_back": sum(one.taken_back for one in run.requests),
        "failed_over": sum(one.failed_over for one in run.requests),
        "switches": run.switches,
    }


def keeping(probability: float, trace: Trace, pace: Pace) -> ReplayedRun:
    """Requests of PROMISED_MODEL under a promise, for the least end energy, without a hedge."""
    goal = Goal(1.0, 0.0, 0.0, latency_limit_s=LIMIT_S, probability=probability)
    course, at_s = course_of(PROMISED_MODEL, trace), pace.times_s(trace.length_s)
    noise = drawn_noise(len(at_s), np.random.default_rng(pace.seed))
    return replay_trace(course, at_s, noise, goal, 0.0)


def promise_rows(probability: float, runs: Mapping[str, ReplayedRun]) -> Iterator[Row]:
    """Promised against met: a row per trace, and one over all."""
    about = {"probability": probability, "limit_s": LIMIT_S}
    every = ReplayedRun()
    for name, run in runs.items():
        every.requests += run.requests
        every.switches += run.switches
        yield {**about, "trace": name, **_kept(run)}
    yield {**about, "trace": ALL, **_kept(every)}


def _kept(run: ReplayedRun) -> Row:
    """met: share within the limit. within_expected: share within the quantile expected of the plan.

    kept_by_belief: share of requests whose plan was believed to keep the promise; met_of_those:
    how many of them did.
    """
    latency_s = np.array([one.latency_s for one in run.requests])
    expected_s = np.array([one.expected_s or np.inf for one in run.requests])
    believed = expected_s <= LIMIT_S
    return {
        "requests": len(latency_s),
        "met": float((latency_s <= LIMIT_S).mean()),
        "within_expected": float((latency_s <= expected_s).mean()),
        "kept_by_belief": float(believed.mean()),
        "met_of_those": float((latency_s[believed] <= LIMIT_S).mean()) if believed.any() else None,
        "end_energy_j": float(np.mean([one.end_j for one in run.requests])),
        "switches": run.switches,
    }
