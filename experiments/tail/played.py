"""The form on a scene: the end tier's links really follow the trace while requests flow.

Approaches take turns: each plays the whole trace in a session of its own, and every round begins
with another one. Which static and trivial plan, and what clairvoyance would give, is computed from
the measured profile and the trace.
"""

import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from edgesplit import Config, EdgeSplit, Graph, Plan, Profile, load_model, parse_plan
from edgesplit.core.plan import plan_along
from edgesplit.errors import EdgeSplitError
from edgesplit.testbed.rate import rate_text
from experiments.paper_table.comparison import inputs_for
from experiments.shared.answer import Answer, ask
from experiments.shared.exhaustive import simple_routes
from experiments.shared.repeating import Repeating
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene
from experiments.tail.replayed import (
    CLAIRVOYANT,
    HEDGE_SHARE,
    HEDGED,
    LATENCY,
    STATIC,
    TRIVIAL,
    UNHEDGED,
    Pace,
    Row,
    figures,
)
from experiments.tail.trace import MBIT, Floats, Trace

PLAYED = (UNHEDGED, HEDGED, STATIC, TRIVIAL)
LEAST_BYTES_PER_S = 0.05 * MBIT  # below, the cluster itself would be cut off
_STEP_S = 1.0  # between two rates


def with_hedge(config: Config, share: float) -> Config:
    """The config with failover and that share of requests that may be run twice."""
    return replace(config, fallback="anywhere", hedge=share)


def hedged_in(split: EdgeSplit) -> int:
    """Of the session's records, those of requests that were run twice."""
    return int((split.records()["hedged"] != "").sum())


@dataclass(frozen=True)
class Played:
    """Requests of one approach over one trace."""

    answers: tuple[Answer, ...]
    hedged: int
    switches: int

    def row(self) -> Row:
        """Figures of those that came back."""
        came = [answer.figures for answer in self.answers if answer.figures is not None]
        if not came:
            raise EdgeSplitError(f"no request came back; the last: {self.answers[-1].error}")
        latency_s = np.array([one.latency_s for one in came])
        end_j = np.array([one.end_energy_j for one in came])
        failed = len(self.answers) - len(came)
        own = {"hedged": self.hedged, "switches": self.switches, "failed": failed}
        return figures(latency_s, end_j) | own


@contextmanager
def _session(scene: Scene, model: str, share: float) -> Iterator[EdgeSplit]:
    config = with_hedge(scene.config(), share)
    split = EdgeSplit(load_model(model), LATENCY, address=scene.address, config=config)
    with split:
        scene.attach(split)
        yield split


def played(
    scene: Scene, model: str, trace: Trace, pace: Pace, rounds: int, journal: Journal
) -> list[Row]:
    """A row per approach, over all rounds; what the journal has is not played again."""
    about = {"model": model, "trace": trace.name}
    if not journal.has(kind="plans", **about):
        with _session(scene, model, 0.0) as split:
            split.infer(inputs_for(model, "dummy")[0])
            found = chosen_plans(split.graph, split.profile, trace, pace)
        journal.append({"kind": "plans", **about, **found})
    plans = next(journal.find(kind="plans", **about))
    for number in range(rounds):
        turn = number % len(PLAYED)
        for approach in (*PLAYED[turn:], *PLAYED[:turn]):
            key = {"kind": "pass", **about, "round": number, "approach": approach}
            if not journal.has(**key):
                plan = parse_plan(plans[approach]) if approach in plans else None
                share = HEDGE_SHARE if approach == HEDGED else 0.0
                journal.append(
                    {**key, "row": _pass(scene, model, trace, pace, (share, plan)).row()}
                )
    rows = []
    for approach in PLAYED:
        every = [e["row"] for e in journal.find(kind="pass", **about, approach=approach)]
        rows.append(
            {**about, "approach": approach, **_over(every), "plan": plans.get(approach, "")}
        )
    return [*rows, {**about, "approach": CLAIRVOYANT, "failed": 0, **plans[CLAIRVOYANT]}]


def _over(rows: list[Row]) -> Row:
    """Of several rounds: counts added, the longest kept, medians of the rest."""
    counts = {"requests", "hedged", "hedges_won", "failed_over", "switches", "failed"}
    over: Row = {"plan": rows[0]["plan"]}
    for name in rows[0].keys() - over.keys():
        values = [row[name] for row in rows]
        over[name] = sum(values) if name in counts else float(np.median(values))
    return over | {"longest_s": max(row["longest_s"] for row in rows)}


def _pass(
    scene: Scene, model: str, trace: Trace, pace: Pace, how: tuple[float, Plan | None]
) -> Played:
    """The whole trace once. how: share that may be run twice, and the plan, None: adaptive."""
    share, plan = how
    x, answers = inputs_for(model, "dummy")[0], list[Answer]()
    with _session(scene, model, share) as split:
        split.infer(x)
        if plan is not None:
            split.infer_on(plan, x)
        before = len(split.switches)
        links = [link for link in split.profile.links if link.source == split.profile.entry_tier]
        pairs = [f"{link.source}-{link.target}" for link in links]

        at_s = itertools.count(0.0, _STEP_S)

        def shape(rate: str) -> None:
            for pair in pairs:
                scene.shape(pair, rate)

        def follow() -> None:
            shape(rate_text(max(LEAST_BYTES_PER_S, trace.rate(next(at_s)))))

        try:
            with Repeating(follow, _STEP_S, "link-player"):
                began_s = time.monotonic()
                for due_s in pace.times_s(trace.length_s).tolist():
                    time.sleep(max(0.0, began_s + due_s - time.monotonic()))
                    answers.append(ask(split, x, plan))
        finally:
            shape(rate_text(40e6))
        return Played(tuple(answers), hedged_in(split), len(split.switches) - before)


# What is computed


def chosen_plans(graph: Graph, profile: Profile, trace: Trace, pace: Pace) -> Row:
    """By approach the plan of least mean latency in hindsight; of clairvoyance its figures."""
    at_s = pace.times_s(trace.length_s)
    every = {
        plan: predicted_s(graph, profile, trace, plan, at_s) for plan in _plans(graph, profile)
    }
    n = len(graph)
    trivial = [plan for plan in every if max(map(len, plan.stages)) == n]
    best = {
        STATIC: min(every, key=lambda plan: every[plan].mean()),
        TRIVIAL: min(trivial, key=lambda plan: every[plan].mean()),
    }
    least_s = np.minimum.reduce(list(every.values()))
    seen = figures(least_s, np.zeros(len(at_s))) | {"end_energy_j": None}
    return {name: str(plan) for name, plan in best.items()} | {CLAIRVOYANT: seen}


def _plans(graph: Graph, profile: Profile) -> Iterator[Plan]:
    """Along every simple route of at most three tiers, all cuts, in the runtimes in use."""
    n = len(graph)
    for route in simple_routes(profile):
        if len(route) == 1:
            yield plan_along(route, (), n)
        elif len(route) == 2:
            yield from (plan_along(route, (k,), n) for k in range(n))
        elif len(route) == 3:
            for first in range(n):
                yield from (plan_along(route, (first, k), n) for k in range(first, n))


def predicted_s(graph: Graph, profile: Profile, trace: Trace, plan: Plan, at_s: Floats) -> Floats:
    """Latencies of requests that begin at those times; hops of the entry tier take the trace."""
    tiers = [profile.tier(stage.tier) for stage in plan.stages]
    now: Floats = at_s.copy()
    hops = list(pairwise(tiers))
    for place, (stage, tier) in enumerate(zip(plan.stages, tiers, strict=True)):
        now = now + sum(tier.layer_s[stage.start : stage.stop]) * tier.slowdown
        if place < len(hops):
            pair = (tier.name, tiers[place + 1].name)
            now = now + _hop_s(profile, trace, pair, now, graph.payload_bytes[stage.stop])
    for source, target in reversed(hops):
        now = now + _hop_s(profile, trace, (target.name, source.name), now, graph.output_bytes)
    return now - at_s


def _hop_s(
    profile: Profile, trace: Trace, pair: tuple[str, str], at_s: Floats, n_bytes: int
) -> Floats:
    link = profile.link(*pair)
    assert link is not None, "routes are along links, each of which has its reverse"
    if profile.entry_tier in pair:
        return link.latency_s + trace.transfer_s(at_s, n_bytes)
    return np.full(len(at_s), link.latency_s + n_bytes / link.bytes_per_s)
