"""Scission's ranking against every plan, its criteria, and the links that it skips.

By hand, once: its public data (network_stats.csv, layer tables; no licence, so none of it is kept
here) give the five plans that its page prints for vgg19 with device, edge and cloud all used, layer
10 on the edge and 16 in the cloud. They are 9.0106, 9.0594, 9.0721, 9.1209 and 9.1511 s, in that
order, with the same cuts and the same bytes: 2.4087 MB four times, then 3.2115 MB.
"""

from dataclasses import replace
from itertools import combinations_with_replacement, pairwise

import numpy as np
import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan, plan_along
from edgesplit.core.policies.scission import Criterion, Scission, ranked
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import PlanError

N = 6
NAMES = ("device", "edge-1", "edge-2", "cloud")
POWER = Power(1.0, 1.0, 1.0, 1.0)


def problem(seed, missing=()):
    generator = np.random.default_rng(seed)
    sizes = tuple(generator.integers(1, 100, N + 1).tolist())
    graph = Graph("random", tuple(f"l{k}" for k in range(N)), sizes, (10,) * N)
    tiers = tuple(
        Tier(name, tuple(generator.uniform(0, 3 / (k + 1), N).tolist()), POWER, slowdown=1.0 + k)
        for k, name in enumerate(NAMES)
    )
    links = tuple(
        Link(u, v, float(generator.uniform(0, 0.2)), float(generator.uniform(10, 200)))
        for u in NAMES
        for v in NAMES
        if u != v and {u, v} not in missing
    )
    return graph, Profile(tiers, links)


def by_hand(graph, profile, goal=None):
    """{plan's text: seconds} of all that Scission knows of, where every tier is linked."""
    found = {}
    routes = [NAMES[:1], *((NAMES[0], name) for name in NAMES[1:])]
    routes += [("device", "edge-1", "cloud"), ("device", "edge-2", "cloud")]
    for route in routes:
        for cuts in combinations_with_replacement(range(N + 1), len(route) - 1):
            plan = plan_along(route, cuts, N)
            if all(len(stage) for stage in plan.stages[1:]):
                found[str(plan)] = seconds_of(graph, profile, plan)
    return found


def seconds_of(graph, profile, plan):
    total = 0.0
    for stage in plan.stages:
        tier = profile.tier(stage.tier)
        total += sum(tier.layer_s[stage.start : stage.stop]) * tier.slowdown
    for pair, cut in zip(pairwise(plan.route), plan.cuts, strict=True):
        out, back = profile.link(*pair), profile.link(*pair[::-1])
        total += out.latency_s + back.latency_s + graph.payload_bytes[cut] / out.bytes_per_s
    return total


@pytest.mark.parametrize("seed", range(10))
def test_the_whole_ranking(seed):
    graph, profile = problem(seed)
    expected = sorted(by_hand(graph, profile).items(), key=lambda item: item[1])
    found = ranked(CostModel(graph, profile, Goal()), 1000)
    assert [one.latency_s for one in found] == pytest.approx([s for _, s in expected])
    assert {str(one.plan): one.latency_s for one in found} == pytest.approx(dict(expected))
    for one in found:
        sent = [graph.payload_bytes[cut] for cut in one.plan.cuts]
        assert one.sent_bytes == sum(sent)
    assert Scission()(graph, profile, Goal()) == parse_plan(expected[0][0])


CRITERIA = (
    Criterion("device"),
    Criterion("edge", 2),
    Criterion("cloud", 4),
    Criterion("edge", 3, must=False),
    Criterion("edge-1", must=False),
)


def holds(plan, criterion):
    """Of one criterion above, said again."""
    stages = [s for s in plan.stages if s.tier.startswith(criterion.tier)]
    runs = [k for stage in stages for k in range(stage.start, stage.stop)]
    return (bool(runs) if criterion.layer is None else criterion.layer in runs) == criterion.must


@pytest.mark.parametrize("count", range(1, 6))
def test_criteria(count):
    graph, profile = problem(7)
    expected = {
        text: s
        for text, s in by_hand(graph, profile).items()
        if all(holds(parse_plan(text), criterion) for criterion in CRITERIA[:count])
    }
    found = ranked(CostModel(graph, profile, Goal()), 1000, CRITERIA[:count])
    assert {str(one.plan): one.latency_s for one in found} == pytest.approx(expected)
    assert found


def test_a_tier_without_layers_is_skipped_with_its_link():
    graph, profile = problem(1)
    plan = "device:0-2 | cloud:2-6"
    before = by_hand(graph, profile)[plan]
    far = profile.with_link(replace(profile.link("device", "edge-1"), latency_s=99.0))
    found = ranked(CostModel(graph, far, Goal()), 1000)
    assert {str(one.plan): one.latency_s for one in found}[plan] == pytest.approx(before)


def test_it_relays_where_its_link_is_missing():
    graph, profile = problem(1, missing=[{"device", "cloud"}, {"edge-2", "cloud"}])
    found = ranked(CostModel(graph, profile, Goal()), 1000, (Criterion("cloud", 0),))
    assert [str(one.plan) for one in found] == ["device:0-0 | edge-1:0-0 | cloud:0-6"]
    assert found[0].latency_s == pytest.approx(seconds_of(graph, profile, found[0].plan))
    everything = ranked(CostModel(graph, profile, Goal()), 1000)
    assert len({one.plan for one in everything}) == len(everything)


def test_the_goals_limits():
    graph, profile = problem(2)
    goal = Goal(min_end_layers=2, memory_bytes={"edge-1": 20, "cloud": 30}, max_stages=2)
    expected = {
        text: s
        for text, s in by_hand(graph, profile).items()
        if (plan := parse_plan(text)).stages[0].stop >= 2
        and len(plan.stages) <= 2
        and all(10 * len(stage) <= goal.memory_bytes.get(stage.tier, 1000) for stage in plan.stages)
    }
    found = ranked(CostModel(graph, profile, goal), 1000)
    assert {str(one.plan): one.latency_s for one in found} == pytest.approx(expected)


def test_no_plan_says_why():
    policy = Scission((Criterion("cloud", 3), Criterion("cloud", must=False)))
    with pytest.raises(PlanError, match="criteria: layer 3 on cloud, nothing on cloud"):
        policy(*problem(0), Goal())
    with pytest.raises(PlanError, match="criteria: none"):
        Scission()(*problem(0), Goal(memory_bytes=dict.fromkeys(NAMES, 5)))
    assert str(Criterion("edge", 3, must=False)) == "layer 3 not on edge"
    assert str(Criterion("edge")) == "something on edge"
