"""Codec, runtime, cut and tier together, against every plan there is."""

from dataclasses import replace

import numpy as np
import pytest
from codec_problems import all_coded_costs, coded_problems, pictured_problems
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from edgesplit.core.accuracy_loss import lossy_parts
from edgesplit.core.cost import CostModel
from edgesplit.core.planner.choose import choose, choose_fastest
from edgesplit.core.planner.shortest import shortest
from edgesplit.core.planner.space import all_links, tier_space
from edgesplit.core.scatter import assumed_scatter

CLOSE = 1e-7
PROBLEMS = st.one_of(coded_problems(), pictured_problems())


def check_best(problem):
    model = CostModel(*problem)
    feasible = [cost.score for cost in all_coded_costs(problem) if cost.feasible]
    assume(feasible)
    decision = choose(model)
    assert decision.cost.feasible
    assert decision.is_proved
    assert decision.cost.score <= min(feasible) + CLOSE * max(1.0, min(feasible))
    assert len(list(lossy_parts(decision.plan, problem[1]))) <= 1
    assert decision.cost.loss <= (problem[2].max_accuracy_loss or 0.0)
    return decision


@settings(deadline=None, max_examples=250)
@given(PROBLEMS)
def test_equals_brute_force(problem):
    check_best(problem)


@settings(deadline=None, max_examples=250)
@given(PROBLEMS, st.floats(0.0, 0.5))
def test_equals_brute_force_with_a_limit(problem, share):
    latencies = sorted({cost.latency_s for cost in all_coded_costs(problem) if cost.feasible})
    assume(latencies and latencies[0] > 0)
    limit_s = latencies[int(share * (len(latencies) - 1))] * (1 + 1e-12)
    check_best((*problem[:2], replace(problem[2], latency_limit_s=limit_s)))


@settings(deadline=None, max_examples=60)
@given(PROBLEMS)
def test_the_fastest_plan_equals_brute_force(problem):
    found = [cost.latency_s for cost in all_coded_costs(problem) if cost.feasible]
    assume(found)
    assert choose_fastest(CostModel(*problem)).cost.latency_s == pytest.approx(min(found))


@settings(deadline=None, max_examples=100)
@given(PROBLEMS)
def test_a_walk_is_as_long_as_the_model_says_bit_by_bit(problem):
    model = CostModel(*problem)
    space = tier_space(model, all_links(model))
    for lengths in (space.seconds, space.score):
        walk = shortest(space, lengths)
        assume(walk is not None and len(set(space.route(walk))) == len(walk.arcs) + 1)
        cost = model.cost(space.plan(walk))
        assert space.total(space.seconds, walk) == cost.latency_s
        tie = 1e-9 * cost.latency_s / model.score_reference.latency_s
        assert space.total(space.score, walk) == pytest.approx(cost.score + tie)


@settings(deadline=None, max_examples=40)
@given(PROBLEMS, st.floats(0.0, 0.5), st.sampled_from((0.5, 0.9, 0.99)))
def test_a_promise_is_kept_where_a_plan_keeps_it_with_what_scatters_alike(problem, share, level):
    """All ratios alike: the quantile of a sum is that of its parts, so that the choice is exact."""
    graph, profile, goal = problem
    tiers = tuple(replace(tier, scatter=None) for tier in profile.tiers)
    profile = replace(profile, tiers=tiers)
    latencies = sorted(c.latency_s for c in all_coded_costs((graph, profile, goal)) if c.feasible)
    assume(latencies and latencies[0] > 0)
    limit_s = latencies[int(share * (len(latencies) - 1))] * (1 + 1e-12)
    goal = replace(goal, latency_limit_s=limit_s, probability=level)
    promised = choose(CostModel(graph, profile, goal)).cost
    plain = choose(CostModel(graph, profile, replace(goal, probability=None))).cost
    assert promised.feasible
    assert promised.score == pytest.approx(plain.score)


@settings(deadline=None, max_examples=30)
@given(PROBLEMS, st.floats(0.0, 0.3), st.integers(0, 99))
def test_a_promise_with_scatter_is_kept_where_the_last_level_keeps_it(problem, share, seed):
    graph, profile, goal = problem
    generator = np.random.default_rng(seed)
    tiers = tuple(
        replace(tier, scatter=assumed_scatter(generator.uniform(0.05, 0.3)))
        for tier in profile.tiers
    )
    links = tuple(replace(link, scatter=assumed_scatter(0.3)) for link in profile.links)
    profile = replace(profile, tiers=tiers, links=links)
    goal = replace(goal, latency_limit_s=1.0, probability=0.9)
    costs = [c for c in all_coded_costs((graph, profile, goal)) if c.latency_s > 0]
    quantiles = sorted(c.quantile_s for c in costs)
    assume(quantiles)
    limit_s = quantiles[int(share * (len(quantiles) - 1))] * 1.01
    goal = replace(goal, latency_limit_s=limit_s)
    decision = choose(CostModel(graph, profile, goal))
    assert decision.cost == CostModel(graph, profile, goal).cost(decision.plan)
    safe = _at_their_shortfall(graph, profile, goal)
    if safe is not None and safe <= limit_s and not goal.memory_bytes and not goal.min_end_layers:
        assert decision.cost.feasible


def _at_their_shortfall(graph, profile, goal):
    """The least sum of shortfalls at the promised level, over every plan."""
    model = CostModel(graph, profile, goal).at(goal.probability)
    fastest = shortest(space := tier_space(model, all_links(model)), space.limited)
    if fastest is None or len(set(space.route(fastest))) <= len(fastest.arcs):
        return None
    return space.total(space.limited, fastest)
