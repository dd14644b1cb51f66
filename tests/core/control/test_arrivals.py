"""Requests that wait for each other: what is known of it, and what plans are judged by then."""

import math
from dataclasses import replace

import pytest
from control_cases import make_ready, of_kind, request, started
from hypothesis import given
from hypothesis import strategies as st
from worlds import GOAL, MOBILE, VGG, chain, row_of, with_layer_times

from edgesplit.core.control.arrivals import Arrivals, ahead
from edgesplit.core.control.decide import candidate, cost_of, model_of
from edgesplit.core.control.event import Activate, GoalChanged, Observed, Prepare
from edgesplit.core.control.standing import standing
from edgesplit.core.control.state import current_profile
from edgesplit.core.control.step import step
from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.layer_times import TORCH
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.pipeedge import pipeline
from edgesplit.core.policies.policy import fastest

N = len(VGG)


def arrivals(*came):
    """Of (gap, seconds under way, seconds in queues), which come back soon after each other."""
    found = Arrivals()
    for number, (gap_s, own_s, queue_s) in enumerate(came):
        found = found.after(number / 1000, gap_s, own_s, queue_s)
    return found


BURST = ((math.inf, 1.0, 0.0), (0.1, 1.9, 0.9), (0.1, 2.8, 1.8), (0.1, 3.7, 2.7))


def test_who_comes_after_the_answer_finds_nobody():
    one_by_one = arrivals((math.inf, 1.0, 0), (1.0, 1.0, 0), (1.5, 0.2, 0), (0.2, 3.0, 0))
    assert ahead(one_by_one.last) == (0, 0, 0, 0)
    assert not one_by_one.is_crowded
    assert one_by_one.wait_s(10.0) == 0.0


def test_a_burst_waits_as_in_a_queue():
    burst = arrivals(*BURST)
    assert ahead(burst.last) == (0, 1, 2, 3)
    assert burst.is_crowded
    assert burst.wait_s(1.0) == pytest.approx((0 + 0.9 + 1.8 + 2.7) / 4)
    assert burst.wait_s(0.1) == pytest.approx(0.0)
    assert burst.wait_s(0.3) == pytest.approx((0.2 + 0.4 + 0.6) / 4)


def test_one_request_under_way_now_and_then_is_no_crowd():
    few = [(math.inf, 1.0, 0), (0.9, 0.2, 0.1), (1.0, 0.5, 0), (0.4, 0.3, 0.1), (5, 1, 0)]
    assert not arrivals(*few).is_crowded


def test_requests_of_another_workload_on_the_same_connection_are_no_crowd():
    """Each comes after the other one's answer, so none waits in a queue."""
    assert not arrivals((math.inf, 0.5, 0.0), *[(0.1, 0.5, 0.0)] * 30).is_crowded


def test_a_caller_that_keeps_some_under_way_waits_for_those_and_no_more():
    """Three at a time: on a part that takes ten times as long two wait, not a growing queue."""
    first = [(math.inf, 0.29, 0.0), (0.0, 0.29, 0.1), (0.0, 0.29, 0.2)]
    looped = arrivals(*first, *[(0.1, 0.29, 0.2)] * 60)
    assert set(ahead(looped.last)[10:]) == {2}
    assert looped.wait_s(1.0) == pytest.approx(2.0, rel=0.1)
    assert looped.wait_s(0.1) == pytest.approx(0.0)


def test_a_crowd_is_remembered_for_a_while_and_for_longer_each_time_it_comes_back():
    """On a quicker plan nobody waits, and that plan is left for the slower one too soon."""
    found, at_s, holds_s = Arrivals(), 0.0, []
    for _ in range(8):
        for gap_s, own_s, queue_s in BURST:
            at_s += 0.1
            found = found.after(at_s, gap_s, own_s, queue_s)
        assert found.is_crowded
        assert found.wait_s(1.0) > 0.1
        began_s = at_s
        while found.is_crowded:
            at_s += 1.0
            found = found.after(at_s, 1.0, 0.2, 0.0)
        holds_s.append(at_s - began_s)
    assert holds_s[:3] == pytest.approx([30, 60, 120], abs=5)
    assert holds_s[-1] == pytest.approx(600, abs=5)
    for gap_s, own_s, queue_s in BURST:
        found = found.after(at_s + 2000.0, gap_s, own_s, queue_s)
    assert found.hold_s == 30.0


def test_only_the_last_ones_count():
    burst = arrivals(*[(0.1, 9.0, 1.0)] * 60)
    assert len(burst.last) == 48
    assert len(burst.after(100.0, 1.0, 1.0, 0.0).last) == 1


SECONDS = st.floats(0.0, 3.0)


@given(st.lists(st.tuples(SECONDS, SECONDS, SECONDS), max_size=48))
def test_crowds_are_those_that_find_others_and_wait(came):
    found = arrivals(*came)
    counts = ahead(found.last)
    is_crowded = False
    for number in range(1, len(counts) + 1):
        pairs = zip(found.last[:number], counts, strict=False)
        others = [count > 0 and (who.has_waited or is_crowded) for who, count in pairs]
        is_crowded = is_crowded or (others[-1] and sum(others) >= 3)
    assert found.is_crowded == is_crowded


def test_the_period_of_a_plan_is_that_of_its_slowest_part():
    model = CostModel(VGG, chain(VGG), GOAL)
    tiers = {tier.name: tier for tier in model.profile.tiers}
    assert model.period_s(parse_plan(f"end:0-{N}")) == pytest.approx(
        sum(tiers["end"].layer_s) * tiers["end"].slowdown
    )
    plan = parse_plan(f"end:0-2 | edge:2-{N}")
    parts = [
        sum(tiers["end"].layer_s[:2]) * tiers["end"].slowdown,
        sum(tiers["edge"].layer_s[2:]) * tiers["edge"].slowdown,
        VGG.payload_bytes[2] / model.profile.link("end", "edge").bytes_per_s,
    ]
    assert model.period_s(plan) == pytest.approx(max(parts))


def test_a_codec_shortens_a_link_s_part_and_lengthens_its_tiers():
    sizes = CodecSizes("zstd", tuple(0.01 * n for n in VGG.payload_bytes), (0.0,) * (N + 1))
    slow = CodecSpeed("zstd", 7.0, 0.0, 5.0, 0.0)
    profile = chain(VGG).with_codecs([sizes], {tier: [slow] for tier in ("end", "edge", "cloud")})
    model = CostModel(VGG, profile, GOAL)
    coded = parse_plan(f"end:0-0 |zstd| edge:0-{N}")
    assert model.period_s(coded) == pytest.approx(7.0, abs=1.0)


def crowded(state, profile, n=20):
    """Requests of the active plan, which come in bursts of five and wait for each other."""
    actions = []
    at_s = state.now_s
    for number in range(n):
        at_s += 0.5
        whole = request(state.active, profile, at_s, state.graph)
        first, *rest = whole.timings
        ahead = number % 5
        own_s = first.own_s * (1 + ahead)
        gap_s = 0.1 * first.own_s if ahead else 10 * first.own_s
        waited_s = own_s - whole.timings[0].own_s
        first = replace(first, gap_s=gap_s, own_s=own_s, queue_s=waited_s)
        state, more = step(state, Observed(at_s, (first, *rest)))
        actions += more
        for prepared in of_kind(more, Prepare):
            state, more = make_ready(state, prepared.plan, at_s)
            actions += more
    return state, actions


LATENCY = replace(GOAL, end_energy=0.2, total_energy=0.0, latency=0.8)


def test_in_bursts_a_plan_is_judged_with_its_queue():
    profile = chain(MOBILE)
    state = started(graph=MOBILE, profile=profile, goal=LATENCY)
    state, _ = crowded(state, profile)
    assert state.arrivals.is_crowded
    model = model_of(state, current_profile(state))
    alone = model.cost(state.active)
    now = cost_of(state, model, state.active)
    wait_s = state.arrivals.wait_s(model.period_s(state.active))
    assert wait_s > 0
    assert (now.wait_s, now.latency_s) == (wait_s, alone.latency_s)
    share = LATENCY.latency / model.score_reference.latency_s
    assert now.score == pytest.approx(alone.score + share * wait_s)
    assert now.limited_s == pytest.approx(alone.latency_s + wait_s)
    best = candidate(state, model, now)
    assert best.score <= now.score


def test_bursts_spread_the_work_over_tiers_and_their_end_brings_it_back():
    """On two equal tiers a cut makes one request later, and the queue half as long."""
    whole = chain(VGG)
    equal = replace(whole.tiers[1], layer_s=whole.tiers[0].layer_s, slowdown=1.0)
    tenth_s = 0.05 * sum(equal.layer_s)  # there and back
    links = [replace(ln, bytes_per_s=1e10, latency_s=tenth_s) for ln in whole.links]
    pair = {"end", "edge"}
    profile = replace(
        whole,
        tiers=(replace(whole.tiers[0], slowdown=1.0), equal),
        links=tuple(ln for ln in links if set(ln.pair) == pair),
    )
    goal = replace(GOAL, end_energy=0.0, total_energy=0.0, latency=1.0)
    state = started(graph=VGG, profile=profile, goal=goal)
    assert state.active.route == ("end",)
    state, actions = crowded(state, profile)
    assert state.active.route == ("end", "edge")
    (switch,) = of_kind(actions, Activate)
    assert switch.reason.startswith("requests wait for each other: score")
    for _ in range(60):
        at_s = state.now_s + 1.0
        (first, *rest) = request(state.active, profile, at_s).timings
        first = replace(first, gap_s=first.own_s + 0.1)
        state, more = step(state, Observed(at_s, (first, *rest)))
        for prepared in of_kind(more, Prepare):
            state, more = make_ready(state, prepared.plan, at_s)
        actions += more
    assert state.active.route == ("end",)
    _, back = of_kind(actions, Activate)
    assert back.reason.startswith("requests wait less for each other: score")


def test_a_wait_may_break_the_latency_limit():
    profile = chain(MOBILE)
    model = CostModel(MOBILE, profile, replace(LATENCY, latency_limit_s=10.0))
    cost = model.cost(parse_plan(f"end:0-{len(MOBILE)}"))
    assert cost.feasible
    assert model.crowded(cost, 1.0).feasible
    assert not model.crowded(cost, 10.0).feasible


def test_other_policies_are_measured_by_one_request_alone():
    profile = chain(MOBILE)
    state = started(policy=fastest, graph=MOBILE, profile=profile, goal=LATENCY)
    state, _ = crowded(state, profile)
    assert state.arrivals.is_crowded
    model = model_of(state, current_profile(state))
    assert cost_of(state, model, state.active) == model.cost(state.active)


def test_what_the_caller_has_run_itself_says_nothing_of_the_tiers():
    state, _ = step(started(), Observed(1.0, ()))
    assert state.arrivals == Arrivals()


def test_a_relay_without_torch_has_a_period():
    """A stage without layers names torch, which its tier need not have."""
    profile = with_layer_times(chain(VGG), "end", row_of(chain(VGG), "end", 1.0))
    end = profile.tiers[0].without_layer_times(TORCH)
    model = CostModel(VGG, profile.with_tier(end), GOAL)
    plan = parse_plan(f"end:0-0 | edge:0-0 | cloud:0-{N}")
    assert model.period_s(plan) > 0


def test_a_plan_within_the_limit_comes_before_a_better_score():
    profile = chain(MOBILE)
    goal = replace(LATENCY, end_energy=1.0, latency=0.0)
    state = started(graph=MOBILE, profile=profile, goal=goal)
    state, _ = crowded(state, profile)
    assert state.arrivals.is_crowded
    model = model_of(state, current_profile(state))
    steady = cost_of(state, model, pipeline(model)[0])
    limited = replace(goal, latency_limit_s=1.01 * steady.limited_s)
    state, _ = step(state, GoalChanged(state.now_s, limited))
    assert candidate(state, model_of(state, current_profile(state)), None).feasible


def test_explain_says_so():
    profile = chain(MOBILE)
    state = started(graph=MOBILE, profile=profile, goal=LATENCY)
    assert "wait for each other" not in str(explain(MOBILE, profile, LATENCY, standing(state)))
    state, _ = crowded(state, profile)
    told = explain(MOBILE, profile, LATENCY, standing(state))
    assert told.as_dict()["is_crowded"]
    assert "requests wait for each other" in str(told)


def test_the_mean_gap_is_of_the_last_requests():
    assert Arrivals().mean_gap_s is None
    arrivals = Arrivals()
    for at_s in (1.0, 1.5, 3.0):
        arrivals = arrivals.after(at_s, 0.5, 0.1, 0.0)
    assert arrivals.mean_gap_s == 1.0
    for _ in range(48):
        arrivals = arrivals.after(3.0, 0.0, 0.1, 0.0)
    assert arrivals.mean_gap_s > 0
