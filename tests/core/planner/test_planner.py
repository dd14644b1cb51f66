"""The planner against every plan there is: same score, whatever links and limits are drawn."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from inside_planner import counted_extensions
from planner_cases import mobilenet_like, three_tiers, vgg_like, with_rows
from planner_problems import all_costs, has_plans, problems, tempting, with_limit

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.matrix import three_tier_latency, three_tier_matrix
from edgesplit.core.plan import parse_plan
from edgesplit.core.planner import choose as choosing
from edgesplit.core.planner import limited, shortest
from edgesplit.core.planner.choose import choose, choose_fastest
from edgesplit.core.planner.space import window_min
from edgesplit.core.policies.policy import decide
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

# Scores are near 1 for the all-on-end plan; the tie-break by latency may cost 1e-9 of that.
CLOSE = 1e-7


def check_best(problem):
    decision = decide(*problem)
    feasible = [cost.score for cost in all_costs(problem) if cost.feasible]
    assert feasible
    assert decision.cost.feasible
    assert decision.is_proved
    assert decision.cost.score <= min(feasible) + CLOSE * max(1.0, min(feasible))
    return decision


@settings(deadline=None, max_examples=150)
@given(problems())
def test_equals_brute_force(problem):
    assume(any(cost.feasible for cost in all_costs(problem)))
    assert not check_best(problem).binding


@settings(deadline=None, max_examples=200)
@given(problems(), st.floats(0.0, 0.5))
def test_equals_brute_force_with_limit(problem, share):
    assume(has_plans(problem))
    problem = with_limit(problem, share)
    free = decide(*problem[:2], replace(problem[2], latency_limit_s=None))
    assert check_best(problem).binding is (free.cost.latency_s > problem[2].latency_limit_s)


def test_a_walk_that_is_no_plan_does_not_make_the_limit_binding():
    # Without the limit t0 -> t2 -> t3 -> t2 scores least, but visits t2 twice; the best plan is
    # all on t0, and it is exactly as fast as the limit.
    layer_s = ((0.0, 0.0, 1.0, 0.0), (0.0, 0.0, 0.0, 0.3), (0.0,) * 4, (0.0, 0.0, 1.0, 0.0))
    powers = (Power(0.0, 0.0, 0.0, 0.0), Power(0.0, 0.5, 0.0, 1.0))
    tiers = tuple(Tier(f"t{t}", layer_s[t], powers[t == 1]) for t in range(4))
    rates = {"02": 1.0, "20": 1.0, "03": 1.0, "30": 10.0, "13": 1.0, "31": 10.0, "23": 1.0}
    rates["32"] = 1.0
    links = tuple(Link(f"t{a}", f"t{b}", 0.0, rate) for (a, b), rate in rates.items())
    graph = Graph("g", ("l0", "l1", "l2", "l3"), (0, 0, 0, 0, 1), (0, 0, 0, 0))
    goal = Goal(0.6, 0.2, 0.2, latency_limit_s=1.0, boundary="gross")
    decision = check_best((graph, Profile(tiers, links), goal))
    assert decision.plan == parse_plan("t0:0-4")
    assert not decision.binding


@settings(deadline=None, max_examples=80)
@given(problems(), st.floats(0.1, 0.9))
def test_no_plan_meets_the_limit(problem, share):
    least_s = min((c.latency_s for c in all_costs(problem) if c.feasible), default=0.0)
    assume(least_s > 0)
    goal = replace(problem[2], latency_limit_s=share * least_s)
    decision = decide(*problem[:2], goal)
    assert not decision.cost.feasible
    assert decision.binding
    assert decision.cost.latency_s == pytest.approx(least_s)


@settings(deadline=None, max_examples=80)
@given(problems())
def test_fastest_equals_brute_force(problem):
    found = [cost.latency_s for cost in all_costs(problem) if cost.feasible]
    assume(found)
    assert choose_fastest(CostModel(*problem)).cost.latency_s == pytest.approx(min(found))


@settings(deadline=None, max_examples=80)
@given(problems())
def test_nothing_fits_the_memory(problem):
    none = dict.fromkeys(problem[1].names, 0)
    graph = replace(problem[0], weight_bytes=tuple(w + 1 for w in problem[0].weight_bytes))
    decision = decide(graph, problem[1], replace(problem[2], memory_bytes=none))
    free = choose_fastest(CostModel(graph, problem[1], replace(problem[2], memory_bytes={})))
    assert decision.plan == free.plan
    assert not decision.cost.feasible


def test_a_tier_is_visited_once():
    check_best(tempting())
    check_best(with_limit(tempting(), 0.02))


@pytest.mark.parametrize("share", [None, 0.02, 0.2])
def test_few_tiers_are_searched_to_the_end_however_large_the_space(monkeypatch, share):
    monkeypatch.setattr(choosing, "MOST_ARC_CUTS", 0)
    check_best(tempting(3) if share is None else with_limit(tempting(3), share))


def test_of_more_tiers_than_can_be_searched_those_of_the_best_walk_are_left(monkeypatch):
    problem = graph, profile, goal = tempting(3)  # the best walk is t0 -> t2 -> t1 -> t2
    monkeypatch.setattr(choosing, "MOST_ARC_CUTS", 0)
    monkeypatch.setattr(choosing, "MOST_TIERS", 2)
    found, kept = decide(*problem), decide(graph, profile.without(["t1", "t3"]), goal)
    assert found == replace(kept, is_proved=False)


@settings(deadline=None, max_examples=60)
@given(problems(most_rows=1), st.floats(0.0, 0.3))
def test_little_room_for_labels_costs_nothing_but_time(problem, share):
    assume(has_plans(problem))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limited, "ROOM", 1)
        check_best(with_limit(problem, share))


@settings(deadline=None, max_examples=60)
@given(problems(most_rows=1), st.floats(0.0, 0.3), st.integers(0, 20))
def test_a_search_that_is_cut_short_says_so(problem, share, most):
    assume(has_plans(problem))
    problem = with_limit(problem, share)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limited, "MOST_EXTENSIONS", most)
        decision = decide(*problem)
    least = min(cost.score for cost in all_costs(problem) if cost.feasible)
    assert decision.cost.feasible
    assert not decision.is_proved or decision.cost.score <= least + CLOSE * max(1.0, least)


@settings(deadline=None, max_examples=60)
@given(problems(most_rows=1), st.floats(0.0, 0.3))
def test_hops_tried_first_change_nothing(problem, share):
    assume(has_plans(problem))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limited, "CORE_HOPS", 2)
        check_best(with_limit(problem, share))


def test_of_equal_plans_fewer_stages_then_the_faster():
    power, idle = Power(1.0, 0.0, 0.0, 0.0), Power(0.0, 0.0, 0.0, 0.0)
    names = ("end", "slow", "fast")
    tiers = (
        Tier("end", (1.0, 1.0), power),
        Tier("slow", (0.9, 0.9), idle),
        Tier("fast", (0.1, 0.1), idle),
    )
    links = tuple(Link(a, b, 0.0, 1e9) for a in names for b in names if a != b)
    graph = Graph("g", ("a", "b"), (0, 0, 0), (0, 0))
    decision = decide(graph, Profile(tiers, links), Goal(1.0, 0.0, 0.0))
    assert decision.plan == parse_plan("end:0-0 | fast:0-2")


def test_decisions_repeat():
    problem = with_limit(tempting(), 0.1)
    assert len({decide(*problem) for _ in range(3)}) == 1


def test_larger_equals_the_matrix():
    """A real size is too much to enumerate, but with three tiers there is the matrix."""
    graph, work = vgg_like()
    for mbit in (5, 20, 100, 500):
        model = CostModel(graph, three_tiers(work, mbit), Goal(0.2, 0.7, 0.1))
        scores, latencies = three_tier_matrix(model), three_tier_latency(model)
        for limit_s in np.nanquantile(latencies, (0.05, 0.3, 0.8)):
            goal = replace(model.goal, latency_limit_s=float(limit_s))
            cost = choose(CostModel(graph, model.profile, goal)).cost
            assert cost.feasible
            assert cost.score <= np.nanmin(scores[latencies <= limit_s]) + CLOSE


def test_window_min():
    values = np.array([[3.0, 1.0, 2.0, 5.0, 4.0]])
    first, last = np.array([[0, 0, 2, 2, 3]]), np.array([[0, 4, 1, 3, 4]])
    np.testing.assert_array_equal(window_min(values, first, last), [[3.0, 1.0, np.inf, 2.0, 4.0]])


@pytest.mark.parametrize("runtimes", [1, 2, 3])
def test_work_is_bounded_in_the_default_configuration(monkeypatch, runtimes):
    """Counted, not timed: passes over the space, their cells, and extensions of labels."""
    graph, work = mobilenet_like()
    names = ("onnx", "compile")[: runtimes - 1]
    profile = with_rows(
        three_tiers(work, 20), graph, dict.fromkeys(("end", "edge", "cloud"), names)
    )
    free = decide(graph, profile, Goal(0.2, 0.7, 0.1)).cost.latency_s
    fastest_s = choose_fastest(CostModel(graph, profile, Goal())).cost.latency_s
    passes, extensions = [], counted_extensions(monkeypatch)
    forward = shortest.forward

    def counted_forward(space, lengths, cutoff=None):
        passes.append(lengths.stay.size)
        return forward(space, lengths, cutoff)

    monkeypatch.setattr(shortest, "forward", counted_forward)
    for share in (0.1, 0.5, 0.9, 2.0):
        limit_s = fastest_s + share * (free - fastest_s)
        decide(graph, profile, Goal(0.2, 0.7, 0.1, latency_limit_s=limit_s))
        assert len(passes) <= 25
        assert sum(passes) <= 25 * runtimes * 3 * (len(graph) + 1) * 4
        assert sum(extensions) <= 20_000
        passes.clear()
        extensions.clear()
