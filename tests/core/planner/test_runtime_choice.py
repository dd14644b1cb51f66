"""Runtimes chosen with tiers and cuts, against every plan in every runtime, and what is exact."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from planner_problems import all_costs, has_plans, problems, tempting, with_limit

from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.matrix import three_tier_matrix
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.named import policy_named
from edgesplit.core.policies.policy import FixedPlan, decide, fastest, only, score
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import PlanError, UnknownNameError
from experiments.shared.exhaustive import every_plan

CLOSE = 1e-7  # as in test_planner
POWER = Power(1.0, 1.0, 1.0, 0.5)
GRAPH = Graph("g", ("a", "b", "c"), (4, 4, 4, 1), (1, 1, 1))
LATENCY = Goal(0.0, 0.0, 1.0)
END = Tier("end", (1.0, 1.0, 1.0), POWER, layer_times=(LayerTimes("onnx", (0.2, 3.0, 0.2)),))
EDGE = Tier("edge", (0.5, 0.5, 0.5), POWER, layer_times=(LayerTimes("onnx", (0.9, 0.3, 0.9)),))
LINKS = (Link("end", "edge", 0.05, 100.0), Link("edge", "end", 0.05, 100.0))
PROFILE = Profile((END, EDGE), LINKS)


def check_best(problem):
    """The decision is as good as any plan in any runtime."""
    decision = decide(*problem)
    feasible = [cost.score for cost in all_costs(problem) if cost.feasible]
    assert decision.cost == CostModel(*problem).cost(decision.plan)
    assert decision.cost.feasible
    assert decision.cost.score <= min(feasible) + CLOSE * max(1.0, min(feasible))
    return decision


@settings(deadline=None, max_examples=150)
@given(problems(most_rows=2))
def test_equals_brute_force(problem):
    assume(any(cost.feasible for cost in all_costs(problem)))
    assert not check_best(problem).binding


@settings(deadline=None, max_examples=150)
@given(problems(most_rows=2), st.floats(0.0, 0.5))
def test_equals_brute_force_with_limit(problem, share):
    assume(has_plans(problem))
    problem = with_limit(problem, share)
    free = decide(*problem[:2], replace(problem[2], latency_limit_s=None))
    assert check_best(problem).binding is (free.cost.latency_s > problem[2].latency_limit_s)


@settings(deadline=None, max_examples=80)
@given(problems(most_rows=2), st.floats(0.1, 0.9))
def test_no_plan_meets_the_limit(problem, share):
    least_s = min((c.latency_s for c in all_costs(problem) if c.feasible), default=0.0)
    assume(least_s > 0)
    decision = decide(*problem[:2], replace(problem[2], latency_limit_s=share * least_s))
    assert not decision.cost.feasible
    assert decision.binding
    assert decision.cost.latency_s == pytest.approx(least_s)


@settings(deadline=None, max_examples=80)
@given(problems(most_rows=2))
def test_fastest_equals_brute_force(problem):
    found = [cost.latency_s for cost in all_costs(problem) if cost.feasible]
    assume(found)
    cost = CostModel(*problem).cost(fastest(*problem))
    assert cost.latency_s == pytest.approx(min(found))


@settings(deadline=None, max_examples=60)
@given(problems(most_rows=2))
def test_nothing_fits_the_memory(problem):
    none = dict.fromkeys(problem[1].names, 0)
    graph = replace(problem[0], weight_bytes=tuple(w + 1 for w in problem[0].weight_bytes))
    goal = replace(problem[2], memory_bytes=none)
    decision = decide(graph, problem[1], goal)
    free = [
        c.latency_s
        for c in all_costs((graph, problem[1], replace(goal, memory_bytes={})))
        if c.plan.stages[0].stop >= goal.min_end_layers
    ]
    assert not decision.cost.feasible
    assert decision.cost.latency_s == pytest.approx(min(free))


@settings(deadline=None, max_examples=60)
@given(problems(most_rows=2))
def test_the_rows_in_use_do_not_matter(problem):
    graph, profile, goal = problem
    profile = replace(profile, score_reference=CostModel(*problem).score_reference)
    other = profile.on({tier.name: tier.runtimes[-1] for tier in profile.tiers})
    mine, theirs = (decide(graph, p, goal).cost for p in (profile, other))
    assert mine.score == pytest.approx(theirs.score, rel=CLOSE)
    assert CostModel(graph, other, goal).cost(mine.plan) == mine


def test_every_plan_has_every_choice_of_runtimes():
    texts = [str(plan) for plan in every_plan(GRAPH, PROFILE)]
    assert len(texts) == len(set(texts)) == 2 + 2 + 2 * 4 + 2
    assert "end[onnx]:0-1 | edge:1-3" in texts
    assert "end:0-0 | edge[onnx]:0-3" in texts
    assert "end:0-3 | edge:3-3" in texts


@pytest.mark.parametrize(
    ("profile", "goal", "plan"),
    [
        # end in onnx 0.2 s, 0.1 s of delay, 0.04 out, 0.01 back, edge in torch 1.0 s
        (PROFILE, LATENCY, "end[onnx]:0-1 | edge:1-3"),
        (PROFILE.without(["edge"]), LATENCY, "end:0-3"),
        # the edge is so quick that nothing is worth running before
        (PROFILE.with_tier(replace(EDGE, slowdown=0.01)), LATENCY, "end:0-0 | edge:0-3"),
        # all of it in the better row of two
        (
            PROFILE.with_tier(END.with_layer_times(LayerTimes("onnx", (0.1, 0.1, 0.1)))),
            LATENCY,
            "end[onnx]:0-3",
        ),
        # eager torch is not always there
        (Profile((replace(END, runtime="onnx", layer_times=()),), ()), LATENCY, "end[onnx]:0-3"),
    ],
)
def test_decided(profile, goal, plan):
    assert decide(GRAPH, profile, goal).plan == parse_plan(plan)
    assert score(GRAPH, profile, goal) == fastest(GRAPH, profile, goal) == parse_plan(plan)


def test_a_row_that_is_slower_everywhere_changes_nothing():
    slower = tuple(
        replace(t, layer_times=(LayerTimes("onnx", tuple(2 * s for s in t.layer_s)),))
        for t in PROFILE.tiers
    )
    plain = tuple(replace(tier, layer_times=()) for tier in PROFILE.tiers)
    with_rows, without = (
        decide(GRAPH, Profile(tiers, LINKS), LATENCY) for tiers in (slower, plain)
    )
    assert with_rows == without


@pytest.mark.parametrize("share", [None, 0.02, 0.2])
def test_a_tier_is_visited_once_in_any_runtime(share):
    graph, profile, goal = tempting(5)
    tiers = tuple(
        tier.with_layer_times(LayerTimes("onnx", tuple(0.9 * s for s in tier.layer_s)))
        for tier in profile.tiers[:2]
    )
    problem = (graph, replace(profile, tiers=(*tiers, *profile.tiers[2:])), goal)
    check_best(problem if share is None else with_limit(problem, share))


def test_only_takes_the_quickest_runtime_of_its_tier():
    quick = PROFILE.with_tier(EDGE.with_layer_times(LayerTimes("compile", (0.1, 0.1, 0.1))))
    assert str(only("edge")(GRAPH, quick, LATENCY)) == "end:0-0 | edge[compile]:0-3"
    assert str(only("end")(GRAPH, quick, LATENCY)) == "end:0-3"


def test_a_fixed_plan_keeps_its_runtimes_and_needs_them():
    text = "end[onnx]:0-1 | edge:1-3"
    policy = policy_named(text, PROFILE.names)
    assert str(policy(GRAPH, PROFILE, LATENCY)) == text
    bare = PROFILE.with_tier(replace(END, layer_times=()))
    with pytest.raises(PlanError, match="'end' has no runtime 'onnx'; it has torch: write 'end:0"):
        policy(GRAPH, bare, LATENCY)
    onnx = PROFILE.with_tier(replace(EDGE, runtime="onnx", layer_times=()))
    with pytest.raises(PlanError, match=r"'edge' has no runtime 'torch'.*write 'edge\[onnx\]:1-3'"):
        FixedPlan(parse_plan(text))(GRAPH, onnx, LATENCY)


def test_a_plan_is_costed_in_the_runtimes_it_names():
    model = CostModel(GRAPH, PROFILE, Goal(boundary="gross"))
    cost = model.cost(parse_plan("end[onnx]:0-1 | edge[onnx]:1-3"))
    # 0.2 + 1.2 s of compute, 0.1 s delay, 0.04 s out, 0.01 s back
    assert cost.compute_s == pytest.approx(1.4)
    assert cost.latency_s == pytest.approx(1.55)
    # end: 0.2 s at 1 W, 0.05 s at 1 W on the link, waits 1.3 s at 0.5 W
    assert cost.end_energy_j == pytest.approx(0.2 + 0.05 + 0.65)
    both = PROFILE.on({"end": "onnx", "edge": "onnx"})
    in_use = CostModel(GRAPH, replace(both, score_reference=model.score_reference), model.goal)
    assert in_use.cost(cost.plan) == cost
    assert model.under(cost.plan).score_reference == model.score_reference
    with pytest.raises(PlanError, match="'end' has no runtime 'cuda'; it has torch, onnx"):
        model.cost(parse_plan("end[cuda]:0-3"))
    with pytest.raises(UnknownNameError, match="no runtime 'cuda'; it has torch, onnx"):
        model.under(parse_plan("end[cuda]:0-3"))


def test_norms_are_those_of_the_rows_in_use():
    torch, onnx = (CostModel(GRAPH, PROFILE.on({"end": r}), LATENCY) for r in ("torch", "onnx"))
    assert torch.score_reference.latency_s == pytest.approx(3.0)
    assert onnx.score_reference.latency_s == pytest.approx(3.4)
    assert torch.cost(parse_plan("end[onnx]:0-3")).score == pytest.approx(3.4 / 3.0)


def test_uncertainty_follows_the_runtime():
    of_compute = tuple(tuple(0.01 * (i == j == 0) for i in range(5)) for j in range(5))
    unsure = replace(END, power=replace(POWER, covariance=of_compute))
    model = CostModel(GRAPH, PROFILE.with_tier(unsure), LATENCY)
    assert model.cost(parse_plan("end:0-3")).end_energy_u_j == pytest.approx(0.1 * 3.0)
    assert model.cost(parse_plan("end[onnx]:0-3")).end_energy_u_j == pytest.approx(0.1 * 3.4)


def test_explained():
    told = PROFILE.with_tier(
        END.with_layer_times(LayerTimes("onnx", (0.2, 3.0, 0.2), "measured", 3.1e-6))
    )
    found = explain(GRAPH, told.with_tier(replace(EDGE, slowdown=2.0)), LATENCY)
    text = str(found)
    assert "end[onnx]:0-1 | edge:1-3" in text
    assert "end runs the whole model in torch 3000.00 ms, onnx 3400.00 ms (error 3.1e-06)" in text
    assert "edge runs the whole model in torch 3000.00 ms, onnx 4200.00 ms" in text
    runtimes = found.as_dict()["runtimes"]
    assert runtimes["end"]["onnx"] == {
        "seconds": pytest.approx(3.4),
        "error": 3.1e-6,
        "source": "measured",
    }
    assert runtimes["edge"]["torch"]["error"] is None


def test_what_limits_is_told_for_the_best_runtimes():
    found = explain(GRAPH, PROFILE, replace(LATENCY, min_end_layers=3))
    assert str(found.chosen.plan) == "end:0-3"
    assert "min_end_layers, 3; without, end[onnx]:0-1 | edge:1-3 would score" in found.limited_by


@settings(deadline=None, max_examples=40)
@given(problems(most_rows=2))
def test_runners_up_are_in_their_best_runtimes(problem):
    assume(any(cost.feasible for cost in all_costs(problem)))
    best = {}
    for cost in all_costs(problem):
        if cost.feasible:
            best[way(cost.plan)] = min(cost.score, best.get(way(cost.plan), cost.score))
    for cost in explain(*problem).runners_up:
        if cost.feasible:
            assert cost.score == pytest.approx(best[way(cost.plan)], rel=CLOSE, abs=CLOSE)


def way(plan):
    """The route, and which of its tiers but the first run something."""
    return plan.route, tuple(stage.tier for stage in plan.stages[1:] if len(stage))


def test_the_matrix_of_the_runtimes_of_a_plan():
    cloud = Tier("cloud", (0.3, 0.3, 0.3), POWER)
    more = (Link("edge", "cloud", 0.05, 100.0), Link("cloud", "edge", 0.05, 100.0))
    model = CostModel(GRAPH, Profile((END, EDGE, cloud), (*LINKS, *more)), LATENCY)
    plan = parse_plan("end[onnx]:0-1 | edge[onnx]:1-2 | cloud:2-3")
    matrix = three_tier_matrix(model.under(plan))
    assert matrix[1, 2] == pytest.approx(model.cost(plan).score)
    assert three_tier_matrix(model)[1, 2] == pytest.approx(
        model.cost(parse_plan("end:0-1 | edge:1-2 | cloud:2-3")).score
    )
