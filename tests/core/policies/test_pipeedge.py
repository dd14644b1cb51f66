"""PipeEdge's dynamic programme against every pipeline, its memory, and its bound on tiers."""

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from planner_cases import three_tiers, vgg_like
from planner_problems import problems

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.pipeedge import MOST_TIERS, PipeEdge, pipeline
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import PlanError
from experiments.shared.exhaustive import every_plan

POWER = Power(1.0, 1.0, 1.0, 1.0)


def period_s(graph, profile, plan):
    """Of the slowest stage or link."""
    parts = []
    for stage in plan.stages:
        tier = profile.tier(stage.tier)
        parts.append(sum(tier.layer_s[stage.start : stage.stop]) * tier.slowdown)
    for pair, cut in zip(pairwise(plan.route), plan.cuts, strict=True):
        parts.append(graph.payload_bytes[cut] / profile.link(*pair).bytes_per_s)
    return max(parts)


def fits(graph, goal, plan):
    """Weights and both buffers of each stage that runs something; the goal's other limits."""
    for stage in plan.stages:
        ends = graph.payload_bytes[stage.start] + graph.payload_bytes[stage.stop]
        needed = sum(graph.weight_bytes[stage.start : stage.stop]) + ends
        if len(stage) and needed > goal.memory_bytes.get(stage.tier, float("inf")):
            return False
    most = goal.max_stages or len(plan.stages)
    return plan.stages[0].stop >= goal.min_end_layers and len(plan.stages) <= most


@settings(max_examples=150, deadline=None)
@given(problems())
def test_the_least_period_of_all(problem):
    graph, profile, goal = problem
    periods = [
        period_s(graph, profile, plan)
        for plan in every_plan(graph, profile)
        if fits(graph, goal, plan)
    ]
    if not periods:
        with pytest.raises(PlanError, match="no pipeline of g fits memory_bytes"):
            pipeline(CostModel(graph, profile, goal))
        return
    plan, found_s = pipeline(CostModel(graph, profile, goal))
    assert found_s == pytest.approx(min(periods))
    assert period_s(graph, profile, plan) == pytest.approx(found_s)
    assert fits(graph, goal, plan)


def test_it_balances_where_latency_would_not():
    """Two equal tiers: one after the other takes no less, but takes in twice as many inputs."""
    graph = Graph("four", tuple("abcd"), (10,) * 5, (1,) * 4)
    tiers = tuple(Tier(name, (1.0,) * 4, POWER) for name in ("end", "edge"))
    links = tuple(Link(*pair, 0.1, 100.0) for pair in (("end", "edge"), ("edge", "end")))
    profile = Profile(tiers, links)
    assert pipeline(CostModel(graph, profile, Goal())) == (parse_plan("end:0-2 | edge:2-4"), 2.0)


def test_stages_without_layers():
    """The input passes through the entry tier and a relay; its way counts as any other."""
    graph, work = vgg_like()
    chain = three_tiers(work, 5000, direct=False)
    slow = chain.with_tier(replace(chain.tier("end"), slowdown=1e4))
    slow = slow.with_tier(replace(slow.tier("edge"), slowdown=1e4))
    assert str(PipeEdge()(graph, slow, Goal())) == "end:0-0 | edge:0-0 | cloud:0-21"


def test_few_stages_are_allowed():
    graph, work = vgg_like()
    profile = three_tiers(work, 50)
    assert len(PipeEdge()(graph, profile, Goal(max_stages=2)).stages) <= 2
    assert PipeEdge()(graph, profile, Goal(max_stages=1)) == parse_plan("end:0-21")


def test_of_many_tiers_the_quickest():
    graph = Graph("two", ("a", "b"), (10, 10, 10), (1, 1))
    names = ["end", *(f"edge-{k}" for k in range(MOST_TIERS + 2))]
    tiers = [Tier(name, (9.0 - 0.5 * k,) * 2, POWER) for k, name in enumerate(names)]
    links = [
        Link(u, v, 0.0, 1e3)
        for name in names[1:]
        for u, v in (("end", name), (name, "end"))
    ]  # fmt: skip
    plan = PipeEdge()(graph, Profile(tuple(tiers), tuple(links)), Goal())
    assert plan == parse_plan(f"end:0-0 | {names[-1]}:0-2")
