"""Plans where tiers have prices, against every plan there is; without pressure nothing changes."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planner_problems import all_costs, has_plans, problems, with_limit

from edgesplit.core.cost import CostModel
from edgesplit.core.fleet.pressure import Pressure
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.matrix import three_tier_matrix
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import decide
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.scatter import assumed_scatter

CLOSE = 1e-7  # as in test_planner
POWER = Power(1.0, 1.0, 1.0, 1.0)
END, EDGE = Tier("end", (1.0, 1.0), POWER), Tier("edge", (0.5, 0.25), POWER)
CLOUD = Tier("cloud", (0.1, 0.1), POWER)
PAIRS = (("end", "edge"), ("edge", "end"), ("edge", "cloud"), ("cloud", "edge"))
LINKS = tuple(Link(*pair, 0.0, 100.0) for pair in PAIRS)
GRAPH = Graph("two", ("a", "b"), (10, 10, 10), (1, 1))
LATENCY = Goal(0.0, 0.0, 1.0, load=0.5, temperature=0.2, memory=0.1)


def check_best(problem):
    decision = decide(*problem)
    costs = [cost for cost in all_costs(problem) if cost.feasible]
    least = min(cost.score for cost in costs)
    assert decision.cost.feasible
    assert decision.is_proved
    assert decision.cost == CostModel(*problem).cost(decision.plan)
    assert decision.cost.score <= least + CLOSE * max(1.0, least)
    return decision


@settings(deadline=None, max_examples=150)
@given(problems(has_prices=True))
def test_equals_brute_force(problem):
    assume(any(cost.feasible for cost in all_costs(problem)))
    check_best(problem)


@settings(deadline=None, max_examples=150)
@given(problems(has_prices=True), st.floats(0.0, 0.5))
def test_equals_brute_force_with_limit(problem, share):
    assume(has_plans(problem))
    check_best(with_limit(problem, share))


@settings(deadline=None, max_examples=100)
@given(problems(most_rows=2, has_prices=True), st.floats(0.0, 0.5))
def test_equals_brute_force_in_every_runtime(problem, share):
    assume(has_plans(problem))
    check_best(problem)
    check_best(with_limit(problem, share))


@settings(deadline=None, max_examples=40)
@given(problems(has_prices=True), st.sampled_from((0.5, 0.9, 0.99)), st.floats(0.5, 1.5))
def test_a_promise_is_kept_at_the_last_level_whatever_the_prices(problem, probability, share):
    assume(has_plans(problem))
    graph, profile, goal = problem
    tiers = tuple(replace(tier, scatter=assumed_scatter(0.2)) for tier in profile.tiers)
    profile, least_s = replace(profile, tiers=tiers), min(c.latency_s for c in all_costs(problem))
    goal = replace(goal, latency_limit_s=least_s * (1 + share), probability=probability)
    decision, costs = decide(graph, profile, goal), all_costs((graph, profile, goal))
    kept = [cost.score for cost in costs if cost.feasible]
    assert decision.cost.feasible or not kept
    if kept and decision.is_proved:
        assert decision.cost.score <= min(kept) + CLOSE * max(1.0, min(kept))


@settings(deadline=None, max_examples=60)
@given(problems(has_prices=True))
def test_without_weights_pressures_change_nothing(problem):
    graph, profile, goal = problem
    free = replace(profile, tiers=tuple(replace(t, pressure=Pressure()) for t in profile.tiers))
    blind = replace(goal, load=0.0, temperature=0.0, memory=0.0)
    assert decide(graph, profile, blind) == decide(graph, free, goal)


def model(**pressures):
    tiers = [replace(t, pressure=pressures.get(t.name, t.pressure)) for t in (END, EDGE, CLOUD)]
    return CostModel(GRAPH, Profile(tuple(tiers), LINKS), LATENCY)


@pytest.mark.parametrize(
    ("plan", "price"),
    [
        ("end:0-2", 0.0),
        ("end:0-1 | edge:1-2", 0.25 * (0.5 * 2.0 + 0.2 * 1.0) / 2.0),
        ("end:0-0 | edge:0-2", 0.75 * 1.2 / 2.0),
        ("end:0-0 | edge:0-1 | cloud:1-2", (0.5 * 1.2 + 0.1 * 0.1 * 3.0) / 2.0),
        ("end:0-0 | edge:0-0 | cloud:0-2", 0.2 * 0.3 / 2.0),
    ],
)
def test_hand_computed(plan, price):
    pressed = model(edge=Pressure(load=2.0, temperature=1.0), cloud=Pressure(memory=3.0))
    free, cost = model().cost(parse_plan(plan)), pressed.cost(parse_plan(plan))
    assert cost.price == pytest.approx(price)
    assert cost.score == pytest.approx(free.score + price)
    assert replace(cost, score=free.score, price=0.0) == free


def test_the_matrix_of_splits_has_prices():
    pressed = model(edge=Pressure(load=2.0))
    matrix = three_tier_matrix(pressed)
    assert matrix[0, 1] == pytest.approx(
        pressed.cost(parse_plan("end:0-0 | edge:0-1 | cloud:1-2")).score
    )
    assert matrix[2, 2] == pytest.approx(1.0)


def test_a_pressed_tier_is_left_where_that_costs_less():
    assert str(decide(GRAPH, model().profile, LATENCY).plan) == "end:0-0 | edge:0-0 | cloud:0-2"
    hot = model(cloud=Pressure(temperature=100.0)).profile
    assert str(decide(GRAPH, hot, LATENCY).plan) == "end:0-0 | edge:0-2"
    all_hot = model(cloud=Pressure(temperature=100.0), edge=Pressure(load=9.0)).profile
    assert str(decide(GRAPH, all_hot, LATENCY).plan) == "end:0-2"
