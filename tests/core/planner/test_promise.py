"""Plans under a latency limit with a probability, against every plan there is."""

from dataclasses import replace

import numpy as np
import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.scatter import assumed_scatter
from edgesplit.errors import GoalError
from experiments.shared.exhaustive import every_plan


def scattered(generator, sigma, outliers):
    scatter = assumed_scatter(0.1)
    for ratio in generator.lognormal(0, sigma, 200):
        late = generator.uniform(2, 8) if generator.random() < outliers else 1
        scatter = scatter.updated(ratio * late)
    return scatter


def instance(generator):
    """Three tiers that scatter little, three links that scatter much; three to six layers."""
    n = int(generator.integers(3, 7))
    sizes = tuple(int(x) for x in generator.integers(2_000, 400_000, n + 1))
    tiers, links = [], []
    for name, speed in (("end", 1), ("edge", 4), ("cloud", 20)):
        seconds = tuple(generator.uniform(0.005, 0.1, n) / speed)
        scatter = scattered(generator, generator.uniform(0.02, 0.15), 0.005)
        tiers.append(Tier(name, seconds, Power(*generator.uniform(1, 20, 4)), scatter=scatter))
    for pair in (("end", "edge"), ("edge", "cloud"), ("end", "cloud")):
        rate, scatter = 10 ** generator.uniform(5.5, 7.5), scattered(generator, 0.3, 0.03)
        links += [Link(*way, 0.005, rate, scatter=scatter) for way in (pair, pair[::-1])]
    layers = tuple(f"l{i}" for i in range(n))
    return Graph("random", layers, sizes, (1,) * n), Profile(tuple(tiers), tuple(links))


def test_promised_plans_keep_the_limit_where_one_does_and_are_mostly_the_best():
    generator, found = np.random.default_rng(3), {"best": 0, "other": 0, "none": 0}
    for number in range(60):
        graph, profile = instance(generator)
        probability = float(generator.choice([0.5, 0.9, 0.95, 0.99]))
        goal = Goal(0.6, 0.2, 0.2, latency_limit_s=1.0, probability=probability)
        model = CostModel(graph, profile, goal)
        quantiles = sorted(model.cost(plan).quantile_s for plan in every_plan(graph, profile))
        # A limit that few plans keep, or none by a hair.
        limit_s = quantiles[int(generator.integers(0, len(quantiles) // 4))]
        limit_s = 0.99 * quantiles[0] if number % 10 == 0 else limit_s * 1.01
        goal = replace(goal, latency_limit_s=limit_s)
        model = CostModel(graph, profile, goal)
        costs = [model.cost(plan) for plan in every_plan(graph, profile)]
        kept = [cost for cost in costs if cost.feasible]
        decision = choose(model)
        assert decision.cost == model.cost(decision.plan)
        assert decision.cost.feasible == bool(kept)
        if not kept:
            found["none"] += 1
            continue
        least = min(cost.score for cost in kept)
        found["best" if decision.cost.score <= least * (1 + 1e-6) else "other"] += 1
        if decision.is_proved:
            assert decision.cost.score == pytest.approx(least)
    assert found["best"] >= 19 * found["other"]
    assert found["none"] == 6


def two_ways():
    """A quick link that is late now and then, and the end tier, which never is."""
    late = assumed_scatter(0.05)
    for ratio in ([1.0] * 24 + [10.0]) * 20:
        late = late.updated(ratio)
    end = Tier("end", (0.4,), Power(5, 5, 5, 1))
    edge = Tier("edge", (0.01,), Power(5, 5, 5, 1))
    links = [Link(*way, 0.0, 1e6, scatter=late) for way in (("end", "edge"), ("edge", "end"))]
    return Graph("two", ("all",), (100_000, 100), (1,)), Profile((end, edge), tuple(links))


END, EDGE = parse_plan("end:0-1"), parse_plan("end:0-0 | edge:0-1")


@pytest.mark.parametrize(
    ("probability", "plan"), [(None, EDGE), (0.5, EDGE), (0.9, EDGE), (0.99, END)]
)
def test_a_link_that_is_late_once_in_25_is_left_for_a_promise_of_99_in_100(probability, plan):
    graph, profile = two_ways()
    goal = Goal(1.0, 0.0, 0.0, latency_limit_s=0.5, probability=probability)
    decision = choose(CostModel(graph, profile, goal))
    assert decision.plan == plan
    assert decision.cost.feasible


def test_without_a_probability_scatter_changes_nothing():
    graph, profile = two_ways()
    bare = replace(
        profile,
        tiers=tuple(replace(tier, scatter=None) for tier in profile.tiers),
        links=tuple(replace(link, scatter=None) for link in profile.links),
    )
    goal = Goal(latency_limit_s=0.2)
    models = [CostModel(graph, one, goal) for one in (profile, bare)]
    assert choose(models[0]) == choose(models[1])
    assert choose(models[0]).cost.quantile_s is None


def test_where_no_plan_keeps_the_promise_the_one_of_least_quantile_is_chosen():
    graph, profile = two_ways()
    goal = Goal(latency_limit_s=0.05, probability=0.99)
    model = CostModel(graph, profile, goal)
    decision = choose(model)
    assert not decision.cost.feasible
    assert decision.plan == min((END, EDGE), key=lambda plan: model.cost(plan).quantile_s)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"probability": 0.99}, "give latency_limit_s too"),
        ({"probability": 1, "latency_limit_s": 1.0}, "probability must be from 0.5"),
        ({"probability": 0.4, "latency_limit_s": 1.0}, "probability must be from 0.5"),
        ({"probability": float("nan"), "latency_limit_s": 1.0}, "probability must be"),
        ({"probability": True, "latency_limit_s": 1.0}, "probability must be"),
        ({"probability": "0.9", "latency_limit_s": 1.0}, "probability must be"),
    ],
)
def test_a_probability_that_is_none_is_refused(given, told):
    with pytest.raises(GoalError, match=told):
        Goal(**given)
