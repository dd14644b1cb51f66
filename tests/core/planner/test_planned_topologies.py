"""Plans over any links, with several nodes per role: parsed, printed, planned as by brute force."""

from dataclasses import replace

import pytest
import topologies
from topologies import mesh

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import decide
from experiments.shared.exhaustive import every_plan

MOST = 4
# Quick, sparing, and one in which no tier but the first has memory for more than a share of it.
QUICK, SPARING = Goal(0.0, 0.0, 1.0), Goal(0.6, 0.2, 0.2, min_end_layers=1)
TEN = mesh("end-1", *(f"edge-{n}" for n in range(1, 7)), *(f"cloud-{n}" for n in range(1, 4)))
# Links, layers, and the plan for each of the three goals.
TOPOLOGIES = {
    "chain": (
        "end-3 edge-1, edge-1 cloud", 38,
        "end-3:0-0 | edge-1:0-0 | cloud:0-38",
        "end-3:0-1 | edge-1:1-38",
        "end-3:0-7 | edge-1:7-19 | cloud:19-38",
    ),
    "star": (
        "end-1 edge-1, end-1 edge-2, end-1 edge-3, end-1 cloud", 12,
        "end-1:0-0 | edge-1:0-12",
        "end-1:0-1 | edge-1:1-12",
        "end-1:0-6 | cloud:6-12",
    ),
    "two edges in a row": (
        "end-1 edge-1, edge-1 edge-2, edge-2 cloud", 12,
        "end-1:0-0 | edge-1:0-1 | edge-2:1-1 | cloud:1-12",
        "end-1:0-1 | edge-1:1-12",
        "end-1:0-2 | edge-1:2-6 | edge-2:6-6 | cloud:6-12",
    ),
    "two edges beside each other": (
        "end-1 edge-1, end-1 edge-2, edge-1 cloud, edge-2 cloud", 12,
        "end-1:0-0 | edge-1:0-0 | cloud:0-12",
        "end-1:0-1 | edge-1:1-12",
        "end-1:0-2 | edge-1:2-6 | cloud:6-12",
    ),
    "edge without cloud": (
        "end-1 edge-1", 38,
        "end-1:0-0 | edge-1:0-38",
        "end-1:0-1 | edge-1:1-38",
        "end-1:0-26 | edge-1:26-38",
    ),
    "reached only through another": (
        "end-1 edge-1, edge-1 edge-7", 12,
        "end-1:0-0 | edge-1:0-12",
        "end-1:0-1 | edge-1:1-12",
        "end-1:0-4 | edge-1:4-8 | edge-7:8-12",
    ),
    "mesh": (
        mesh("end-1", "edge-1", "edge-2", "cloud-1", "cloud-2"), 6,
        "end-1:0-0 | edge-1:0-0 | cloud-1:0-6",
        "end-1:0-1 | edge-1:1-6",
        "end-1:0-2 | edge-1:2-2 | cloud-1:2-6",
    ),
    "mesh of ten": (
        TEN, 4,
        "end-1:0-0 | edge-1:0-0 | cloud-1:0-4",
        "end-1:0-1 | edge-1:1-4",
        "end-1:0-2 | edge-1:2-2 | cloud-1:2-4",
    ),
}  # fmt: skip


def cramped(profile, n_layers):
    """A goal that leaves an edge a third of the weights, `cloud` a half, and two layers here."""
    edges = [name for name in profile.names if topologies.role(name) == "edge"]
    limits = dict.fromkeys(edges, 1000 * n_layers // 3)
    if "cloud" in profile.names:
        limits["cloud"] = 1000 * n_layers // 2
    return Goal(0.3, 0.0, 0.7, min_end_layers=2, memory_bytes=limits)


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_planned_as_by_brute_force(name):
    pairs, n_layers, *texts = TOPOLOGIES[name]
    graph, profile = topologies.graph(n_layers), topologies.profile(n_layers, pairs)
    plans = list(every_plan(graph, profile, MOST))
    goals = QUICK, SPARING, cramped(profile, n_layers)
    for goal, text in zip(goals, texts, strict=True):
        goal = replace(goal, max_stages=MOST)
        decision, model = decide(graph, profile, goal), CostModel(graph, profile, goal)
        assert str(decision.plan) == text
        assert decision.is_proved
        least = min(cost.score for cost in map(model.cost, plans) if cost.feasible)
        assert decision.cost.score == pytest.approx(least)
        assert parse_plan(text) == decision.plan
        assert decision.plan.check(graph, profile.names) == decision.plan


@pytest.mark.parametrize("name", TOPOLOGIES)
def test_planned_as_by_brute_force_within_a_latency_limit_and_few_stages(name):
    pairs, n_layers, *_ = TOPOLOGIES[name]
    graph, profile = topologies.graph(n_layers), topologies.profile(n_layers, pairs)
    plans = list(every_plan(graph, profile, 3))
    goal = replace(SPARING, max_stages=3)
    model = CostModel(graph, profile, goal)
    costs = [cost for cost in map(model.cost, plans) if cost.feasible]
    best, fastest = min(costs, key=_score), min(costs, key=_latency)
    limit_s = (best.latency_s + fastest.latency_s) / 2 * (1 + 1e-12)
    decision = decide(graph, profile, replace(goal, latency_limit_s=limit_s))
    least = min(cost.score for cost in costs if cost.latency_s <= limit_s)
    assert decision.cost.feasible
    assert decision.cost.score == pytest.approx(least)


def _score(cost):
    return cost.score


def _latency(cost):
    return cost.latency_s


def test_a_plan_names_nodes_of_any_number():
    text = "end-3:0-5 | edge-1[onnx]:5-9 | cloud:9-38"
    assert str(parse_plan(text)) == text
    assert parse_plan(text).route == ("end-3", "edge-1", "cloud")
