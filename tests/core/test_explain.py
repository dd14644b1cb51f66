"""The explanation: runners-up per route, what limits the plan, and the matrix of splits."""

import json
from dataclasses import replace

import numpy as np
import pytest
from planner_cases import mobilenet_like, three_tiers, vgg_like

from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.goal import Goal
from edgesplit.core.matrix import three_tier_latency, three_tier_matrix
from edgesplit.core.plan import plan_along
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError, ProfileError
from experiments.shared.exhaustive import every_plan

GRAPH, WORK = vgg_like()
FULL, CHAIN = three_tiers(WORK, 50), three_tiers(WORK, 50, direct=False)


def workers(plan):
    return tuple(stage.tier for stage in plan.stages[1:] if len(stage))


@pytest.mark.parametrize("profile", [FULL, CHAIN])
@pytest.mark.parametrize("limit_s", [None, 0.4, 0.2])
def test_runners_up_are_the_best_of_their_route(profile, limit_s):
    goal = Goal(0.2, 0.7, 0.1, latency_limit_s=limit_s)
    found = explain(GRAPH, profile, goal)
    model = CostModel(GRAPH, profile, goal)
    best = {}
    for plan in every_plan(GRAPH, profile):
        cost, route = model.cost(plan), workers(plan)
        if cost.feasible and cost.score < best.get(route, np.inf):
            best[route] = cost.score
    seen = [found.chosen, *found.runners_up]
    assert len({workers(cost.plan) for cost in seen}) == len(seen)
    for cost in seen:
        if cost.feasible:
            assert cost.score == pytest.approx(best[workers(cost.plan)])
    scores = [(not cost.feasible, cost.score) for cost in found.runners_up]
    assert scores == sorted(scores)


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        (Goal(), "nothing"),
        (
            Goal(0.0, 1.0, 0.0, latency_limit_s=0.6, min_end_layers=1),
            "the latency limit of 600 ms; without",
        ),
        (Goal(latency_limit_s=1e-6), "no plan meets the latency limit of 0.001 ms"),
        (Goal(min_end_layers=9), "min_end_layers, 9; without"),
        (Goal(memory_bytes={"edge": 10, "cloud": 10}), "the memory limits; without"),
        (Goal(memory_bytes={"end": 0, "edge": 0, "cloud": 0}), "no plan fits the memory limits"),
    ],
)
def test_limited_by(goal, said):
    assert explain(GRAPH, CHAIN, goal).limited_by.startswith(said)


def test_text_and_json():
    found = explain(GRAPH, FULL, Goal(boundary="gross"))
    text = str(found)
    assert "energy is modelled (watts x seconds), gross boundary: end, edge, cloud given" in text
    assert "no uncertainty known" in text
    assert str(found.chosen.plan) in text
    assert " ms " in text
    assert " J" in text
    values = json.loads(json.dumps(found.as_dict(), allow_nan=False))
    assert values["chosen"]["latency_s"] == found.chosen.latency_s
    assert [cost["plan"] for cost in values["trivial"]] == [
        "end:0-21",
        "end:0-0 | edge:0-21",
        "end:0-0 | edge:0-0 | cloud:0-21",
    ]


def test_lost_tiers_are_left_out():
    found = explain(GRAPH, FULL.without(["cloud"]), Goal())
    assert all("cloud" not in cost.plan.route for cost in (*found.runners_up, *found.trivial))


@pytest.mark.parametrize("profile", [FULL, CHAIN])
def test_matrix_equals_the_cost_model(profile):
    model = CostModel(GRAPH, profile, Goal(boundary="gross"))
    scores, latencies = three_tier_matrix(model), three_tier_latency(model)
    n = len(GRAPH)
    assert scores.shape == latencies.shape == (n + 1, n + 1)
    direct = profile is FULL
    for i in range(n + 1):
        for j in range(n + 1):
            if j < i:
                assert np.isnan(scores[i, j])
                continue
            cost = model.cost(split(i, j, n, direct))
            assert scores[i, j] == pytest.approx(cost.score)
            assert latencies[i, j] == pytest.approx(cost.latency_s)


def split(i, j, n, direct):
    if i == n:
        return plan_along(["end"], [], n)
    if j == n:
        return plan_along(["end", "edge"], [i], n)
    if i == j and direct:
        return plan_along(["end", "cloud"], [i], n)
    return plan_along(["end", "edge", "cloud"], [i, j], n)


def test_matrix_without_links():
    model = CostModel(GRAPH, FULL.without(["edge"]), Goal())
    scores = three_tier_matrix(model)
    assert np.isfinite(np.diag(scores)).all()
    assert np.isnan(scores[0, 1])
    assert np.isnan(scores[0, -1])


def test_matrix_needs_three_tiers():
    graph, work = mobilenet_like()
    two = Profile(three_tiers(work, 50).tiers[:2], ())
    for matrix in (three_tier_matrix, three_tier_latency):
        with pytest.raises(ProfileError, match="given 2: end, edge"):
            matrix(CostModel(graph, two, Goal()))


def test_explain_refuses_what_the_cost_model_refuses():
    with pytest.raises(PlanError, match="min_end_layers is 99"):
        explain(GRAPH, FULL, Goal(min_end_layers=99))


def test_where_figures_are_from_and_when_they_were_measured():
    told = "measured 2026-11-29 18:04 UTC"
    first, *others = FULL.tiers
    tiers = (replace(first, provenance=f"{told}, checked now"), *others)
    link, *links = FULL.links
    profile = replace(FULL, tiers=tiers, links=(replace(link, provenance=told), *links))
    found = explain(GRAPH, profile, Goal())
    lines = str(found).splitlines()
    assert f"{first.name} torch: {told}, checked now" in lines
    assert f"{link.source}->{link.target}: {told}" in lines
    assert not any(line.endswith(": given") for line in lines)
    values = found.as_dict()["provenance"]
    assert values[f"{first.name} torch"] == f"{told}, checked now"
    assert values[f"{link.source}->{link.target}"] == told
    assert len(values) == len(profile.tiers) + len(profile.links)


def test_a_promise_is_told_against_what_was_met():
    goal = Goal(latency_limit_s=0.5, probability=0.99)
    found = explain(GRAPH, FULL, goal, met=(996, 1000))
    expected_ms = found.chosen.quantile_s * 1e3
    told = f"promised 0.99 within 500 ms; expected quantile {expected_ms:.1f} ms; met 996 of 1000"
    assert told in str(found).splitlines()
    said = json.loads(json.dumps(found.as_dict()))["promise"]
    assert (said["met"], said["requests"], said["probability"]) == (996, 1000, 0.99)


def test_without_a_probability_nothing_is_promised():
    found = explain(GRAPH, FULL, Goal(latency_limit_s=0.5), met=(3, 3))
    assert found.promise is None
    assert found.as_dict()["promise"] is None
    assert "promised" not in str(found)


def test_a_promise_that_no_plan_keeps_is_told_with_its_probability():
    found = explain(GRAPH, FULL, Goal(latency_limit_s=1e-6, probability=0.9))
    assert "no plan meets the latency limit of 0.001 ms with 0.9; the fastest" in found.limited_by
