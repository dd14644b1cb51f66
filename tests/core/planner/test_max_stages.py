"""The most stages of a plan: the planner against every plan there is, relays counted as stages."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planner_problems import all_costs, has_plans, problems, tempting, with_limit

from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan
from edgesplit.core.planner.choose import choose, choose_fastest
from edgesplit.core.policies.policy import decide, fastest, score
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.scatter import assumed_scatter
from edgesplit.errors import GoalError
from experiments.shared.exhaustive import every_plan

CLOSE = 1e-7  # as in test_planner
MOST = st.integers(1, 4)


def bounded(problem, most):
    return (*problem[:2], replace(problem[2], max_stages=most))


def check_best(problem):
    """The decision is as good as any plan with so few stages, and has no more of them."""
    decision = decide(*problem)
    feasible = [cost.score for cost in all_costs(problem) if cost.feasible]
    assert len(decision.plan.stages) <= problem[2].max_stages
    assert decision.cost.feasible
    assert decision.is_proved
    assert decision.cost.score <= min(feasible) + CLOSE * max(1.0, min(feasible))
    return decision


@settings(deadline=None, max_examples=200)
@given(problems(), MOST)
def test_equals_brute_force(problem, most):
    problem = bounded(problem, most)
    assume(any(cost.feasible for cost in all_costs(problem)))
    assert not check_best(problem).binding


@settings(deadline=None, max_examples=200)
@given(problems(), MOST, st.floats(0.0, 0.5))
def test_equals_brute_force_with_a_latency_limit(problem, most, share):
    problem = bounded(problem, most)
    assume(has_plans(problem))
    problem = with_limit(problem, share)
    free = decide(*problem[:2], replace(problem[2], latency_limit_s=None))
    assert check_best(problem).binding is (free.cost.latency_s > problem[2].latency_limit_s)


@settings(deadline=None, max_examples=80)
@given(problems(most_rows=2, has_prices=True), MOST)
def test_equals_brute_force_in_any_runtime_and_at_any_price(problem, most):
    problem = bounded(problem, most)
    assume(any(cost.feasible for cost in all_costs(problem)))
    check_best(problem)


@settings(deadline=None, max_examples=80)
@given(problems(), MOST)
def test_the_fastest_equals_brute_force(problem, most):
    problem = bounded(problem, most)
    found = [cost.latency_s for cost in all_costs(problem) if cost.feasible]
    assume(found)
    cost = choose_fastest(CostModel(*problem)).cost
    assert cost.feasible
    assert cost.latency_s == pytest.approx(min(found))


@settings(deadline=None, max_examples=60)
@given(problems(), MOST, st.floats(0.1, 0.9))
def test_no_plan_meets_the_latency_limit(problem, most, share):
    problem = bounded(problem, most)
    least_s = min((c.latency_s for c in all_costs(problem) if c.feasible), default=0.0)
    assume(least_s > 0)
    decision = decide(*problem[:2], replace(problem[2], latency_limit_s=share * least_s))
    assert not decision.cost.feasible
    assert decision.cost.latency_s == pytest.approx(least_s)
    assert len(decision.plan.stages) <= most


@settings(deadline=None, max_examples=60)
@given(problems(), MOST)
def test_what_fits_no_memory_keeps_to_the_most_stages(problem, most):
    graph = replace(problem[0], weight_bytes=tuple(w + 1 for w in problem[0].weight_bytes))
    none = dict.fromkeys(problem[1].names, 0)
    decision = decide(graph, problem[1], replace(problem[2], memory_bytes=none, max_stages=most))
    free = replace(problem[2], memory_bytes={}, max_stages=most)
    assert decision.plan == choose_fastest(CostModel(graph, problem[1], free)).plan
    assert not decision.cost.feasible


@settings(deadline=None, max_examples=60)
@given(problems(), st.none() | st.floats(0.0, 0.5))
def test_one_that_does_not_bind_changes_nothing(problem, share):
    assume(has_plans(problem))
    problem = problem if share is None else with_limit(problem, share)
    free = decide(*problem)
    assert decide(*bounded(problem, len(problem[1].tiers))) == free
    bound = decide(*bounded(problem, len(free.plan.stages)))
    assert bound.cost.score == pytest.approx(free.cost.score, rel=CLOSE, abs=CLOSE)


@pytest.mark.parametrize("most", [1, 2, 3, 4])
@pytest.mark.parametrize("share", [None, 0.02, 0.2])
def test_where_walks_want_to_go_to_and_fro(most, share):
    problem = bounded(tempting(6), most)
    check_best(problem if share is None else with_limit(problem, share))


def relayed():
    """end - hub - far: far is quick and reached only through the hub, which is slow."""
    power = Power(5.0, 1.0, 1.0, 0.0)
    tiers = (Tier("end", (1.0,) * 4, power), Tier("hub", (2.0,) * 4, power),
             Tier("far", (0.01,) * 4, power))  # fmt: skip
    hops = (("end", "hub"), ("hub", "end"), ("hub", "far"), ("far", "hub"))
    links = tuple(Link(*hop, 0.001, 1e6) for hop in hops)
    return Graph("four", tuple("abcd"), (1000,) * 5, (1,) * 4), Profile(tiers, links)


@pytest.mark.parametrize(
    ("most", "plan"),
    [
        (1, "end:0-4"),
        (2, "end:0-4"),
        (3, "end:0-0 | hub:0-0 | far:0-4"),
        (None, "end:0-0 | hub:0-0 | far:0-4"),
    ],
)
def test_a_relay_is_a_stage(most, plan):
    graph, profile = relayed()
    goal = Goal(0.0, 0.0, 1.0, max_stages=most)
    assert str(score(graph, profile, goal)) == str(fastest(graph, profile, goal)) == plan
    assert decide(graph, profile, goal).cost.feasible


def test_a_plan_with_too_many_stages_is_not_feasible():
    graph, profile = relayed()
    plan = parse_plan("end:0-0 | hub:0-0 | far:0-4")
    costs = [CostModel(graph, profile, Goal(max_stages=most)).cost(plan) for most in (2, 3)]
    assert [cost.feasible for cost in costs] == [False, True]


def test_what_limits_is_told_and_no_runner_up_has_more_stages():
    graph, profile = relayed()
    found = explain(graph, profile, Goal(0.0, 0.0, 1.0, max_stages=2))
    assert "max_stages, 2; without, end:0-0 | hub:0-0 | far:0-4 would score" in found.limited_by
    assert all(len(cost.plan.stages) <= 2 for cost in found.runners_up)


def test_a_promise_keeps_to_the_most_stages():
    graph, profile = relayed()
    scatter = assumed_scatter(0.1)
    tiers = tuple(replace(tier, scatter=scatter) for tier in profile.tiers)
    profile = Profile(tiers, tuple(replace(ln, scatter=scatter) for ln in profile.links))
    goal = Goal(1.0, 0.0, 0.0, latency_limit_s=0.5, probability=0.9)
    assert len(choose(CostModel(graph, profile, goal)).plan.stages) == 3
    decision = choose(CostModel(graph, profile, replace(goal, max_stages=2)))
    assert str(decision.plan) == "end:0-4"
    assert not decision.cost.feasible


def test_every_plan_of_so_many_stages_is_tried():
    graph, profile = relayed()
    for most in (1, 2, 3):
        few = [plan for plan in every_plan(graph, profile) if len(plan.stages) <= most]
        assert list(every_plan(graph, profile, most)) == few


@pytest.mark.parametrize("wrong", [0, -1, 1.5, True, "4", float("nan")])
def test_a_number_of_stages_that_is_none_is_refused(wrong):
    with pytest.raises(GoalError, match="max_stages must be a whole number >= 1 or None"):
        Goal(max_stages=wrong)


def test_numpys_whole_numbers_are_numbers():
    assert Goal(max_stages=np.int64(3)).max_stages == 3
