"""Policies by name, and what they answer where links or limits are in the way."""

from dataclasses import replace

import pytest
from planner_cases import three_tiers, vgg_like

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.checked import checked
from edgesplit.core.policies.named import policy_named
from edgesplit.core.policies.policy import FixedPlan, decide, fastest, only, score
from edgesplit.errors import PlanError, UnknownNameError

GRAPH, WORK = vgg_like()
PROFILE = three_tiers(WORK, 50)
CHAIN = three_tiers(WORK, 50, direct=False)
TIERS = PROFILE.names


@pytest.mark.parametrize(
    ("name", "profile", "plan"),
    [
        ("end-only", PROFILE, "end:0-21"),
        ("edge-only", PROFILE, "end:0-0 | edge:0-21"),
        ("cloud-only", CHAIN, "end:0-0 | edge:0-0 | cloud:0-21"),
        ("end:0-6|edge:6-21", PROFILE, "end:0-6 | edge:6-21"),
    ],
)
def test_named(name, profile, plan):
    assert policy_named(name, TIERS)(GRAPH, profile, Goal()) == parse_plan(plan)


def test_score_and_fastest_are_named():
    assert policy_named("score", TIERS) is score
    assert policy_named("fastest", TIERS) is fastest


def test_only_takes_the_better_way():
    """The direct link has 20 Mbit/s; over the edge tier the input is there sooner."""
    slow = only("cloud")(GRAPH, three_tiers(WORK, 5), Goal(0.0, 0.0, 1.0))
    assert slow.route == ("end", "cloud")
    assert only("cloud")(GRAPH, three_tiers(WORK, 500), Goal(0.0, 0.0, 1.0)).route == TIERS


def test_only_looks_at_links_alone():
    goal = Goal(min_end_layers=3, memory_bytes={"cloud": 0}, latency_limit_s=1e-9)
    assert only("cloud")(GRAPH, CHAIN, goal).n_layers == 21


@pytest.mark.parametrize("name", ["best", "moon-only", "", "end only"])
def test_unknown_name(name):
    with pytest.raises(
        UnknownNameError, match=r"score, fastest, .*, end-only, edge-only, cloud-only"
    ):
        policy_named(name, TIERS)


def test_plan_text_errors():
    with pytest.raises(UnknownNameError, match="no tier 'moon'"):
        policy_named("end:0-2 | moon:2-21", TIERS)
    with pytest.raises(PlanError, match="should look like"):
        policy_named("end:0-2 | edge:x", TIERS)


def test_fixed_must_fit():
    with pytest.raises(PlanError, match="stops at layer 2"):
        FixedPlan(parse_plan("end:0-2"))(GRAPH, PROFILE, Goal())
    with pytest.raises(PlanError, match="no link end->cloud"):
        FixedPlan(parse_plan("end:0-2 | cloud:2-21"))(GRAPH, CHAIN, Goal())


def test_a_policy_that_fails_or_returns_no_plan_is_a_plan_error():
    def fails(graph, profile, goal):
        raise ValueError("no idea")

    with pytest.raises(PlanError, match=r"the policy raised ValueError\('no idea'\)"):
        checked(fails)(GRAPH, PROFILE, Goal())
    with pytest.raises(PlanError, match=r"returned str, expected a Plan"):
        checked(lambda *_: "end:0-3")(GRAPH, PROFILE, Goal())
    with pytest.raises(UnknownNameError, match="no tier 'fog'"):
        checked(only("fog"))(GRAPH, PROFILE, Goal())
    assert checked(only("end"))(GRAPH, PROFILE, Goal()).route == ("end",)


def test_a_lost_tier_is_not_used():
    lost = PROFILE.without(["edge", "cloud"])
    assert decide(GRAPH, lost, Goal()).plan == parse_plan("end:0-21")
    with pytest.raises(PlanError, match="no links lead from 'end' to 'cloud'"):
        only("cloud")(GRAPH, lost, Goal())
    with pytest.raises(UnknownNameError, match="no tier 'moon'"):
        only("moon")(GRAPH, PROFILE, Goal())


def test_fastest_is_no_slower_than_score():
    goal = Goal(0.2, 0.7, 0.1)
    model = CostModel(GRAPH, PROFILE, goal)
    costs = [model.cost(policy(GRAPH, PROFILE, goal)) for policy in (fastest, score)]
    assert costs[0].latency_s <= costs[1].latency_s
    assert costs[0].score >= costs[1].score


def test_infeasible_is_the_fastest():
    goal = Goal(latency_limit_s=1e-6)
    decision = decide(GRAPH, PROFILE, goal)
    assert decision.plan == fastest(GRAPH, PROFILE, replace(goal, latency_limit_s=None))
    assert not decision.cost.feasible
    assert decision.binding
