"""DynaSplit against its rule: a front by brute force, sorted, and the first within the limit."""

import pickle
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planner_cases import three_tiers, vgg_like, with_rows
from planner_problems import problems

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.dynasplit import DynaSplit
from experiments.shared.exhaustive import every_plan

GRAPH, WORK = vgg_like()
PROFILE = three_tiers(WORK, 50)


def front(problem):
    """(latency, joules) of the plans that no other beats in both, by joules."""
    model = CostModel(*problem)
    costs = [cost for plan in every_plan(*problem[:2]) if (cost := model.cost(plan)).feasible]
    points = sorted((c.total_energy_j, c.latency_s) for c in costs)
    kept, least_s = [], float("inf")
    for joules, latency_s in points:
        if latency_s < least_s:
            kept.append((latency_s, joules))
            least_s = latency_s
    return kept


@given(problems(most_rows=1), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_the_plan_is_the_first_of_the_front_within_the_limit(problem, share):
    graph, profile, goal = problem
    points = front(problem)
    assume(points and points[-1][0] > 0)
    limit_s = points[int(share * (len(points) - 1))][0] * (1 + 1e-9)
    expected = next((point for point in points if point[0] <= limit_s), points[-1])
    plan = DynaSplit()(graph, profile, replace(goal, latency_limit_s=limit_s))
    cost = CostModel(*problem).cost(plan)
    # Of two plans of one energy the front has the faster one; a hair decides which that is.
    assert cost.total_energy_j == pytest.approx(expected[1], rel=1e-6, abs=1e-9)
    assert cost.latency_s <= limit_s * (1 + 1e-9)


def test_none_within_the_limit_is_the_fastest():
    plan = DynaSplit()(GRAPH, PROFILE, Goal(latency_limit_s=1e-6))
    points = front((GRAPH, PROFILE, Goal()))
    assert CostModel(GRAPH, PROFILE, Goal()).cost(plan).latency_s == pytest.approx(points[-1][0])


def test_the_front_is_that_of_the_first_profile():
    slow = three_tiers(WORK, 0.5)
    goal = Goal(latency_limit_s=0.3)
    policy = DynaSplit().after(GRAPH, PROFILE, ())
    assert policy(GRAPH, slow, goal) == DynaSplit()(GRAPH, PROFILE, goal)
    assert policy(GRAPH, slow, goal) != DynaSplit()(GRAPH, slow, goal)
    assert policy.after(GRAPH, slow, ()) is policy
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_another_graph_begins_anew():
    policy = DynaSplit().after(GRAPH, PROFILE, ())
    other = replace(GRAPH, name="other")
    assert policy(other, three_tiers(WORK, 0.5), Goal()) == DynaSplit()(
        other, three_tiers(WORK, 0.5), Goal()
    )
    assert policy.after(other, PROFILE, ()) == DynaSplit((other, PROFILE))


def test_a_runtime_that_comes_later_is_measured_offline_too():
    policy = DynaSplit().after(GRAPH, PROFILE, ())
    faster = with_rows(PROFILE, GRAPH, {"end": ["onnx"]})
    assert policy(GRAPH, faster, Goal()) == DynaSplit()(GRAPH, faster, Goal())
    now = policy.after(GRAPH, faster, ())
    assert now == DynaSplit((GRAPH, faster))
    used = faster.on({"end": "onnx"})
    assert now.after(GRAPH, used, ()) is now  # the same runtimes, another one in use


def test_what_is_gone_is_not_used():
    goal = Goal(latency_limit_s=0.3)
    with_onnx = with_rows(PROFILE, GRAPH, {"edge": ["onnx"], "cloud": ["onnx"]})
    policy = DynaSplit().after(GRAPH, with_onnx, ())
    assert policy(GRAPH, PROFILE.without(["edge", "cloud"]), goal) == parse_plan("end:0-21")
    left = policy(GRAPH, PROFILE.without_tiers(["edge"]), goal)
    assert set(left.route) <= {"end", "cloud"}
    assert set(policy(GRAPH, PROFILE, goal).runtimes.values()) == {"torch"}
