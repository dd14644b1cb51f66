"""The best plans in hindsight, and clairvoyance, of a scene's measured profile and a trace."""

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.profile import Profile
from experiments.shared.exhaustive import simple_routes
from experiments.shared.trace import Floats, Trace
from experiments.tail.replayed import CLAIRVOYANT, STATIC, TRIVIAL, Pace, Row


def chosen_plans(graph: Graph, profile: Profile, trace: Trace, pace: Pace) -> Row:
    """By approach the plan of least mean latency in hindsight; of clairvoyance its seconds."""
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
    least_s: Floats = np.minimum.reduce(list(every.values()))
    return {name: str(plan) for name, plan in best.items()} | {CLAIRVOYANT: least_s.tolist()}


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
