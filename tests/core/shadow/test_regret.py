"""Policies told what happened: what each would have cost, and the yardsticks around them."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from control_cases import started
from learner_cases import TRIED, TriesOut
from recordings import made_log, simulated_log, steady
from worlds import FAST, GOAL, VGG, chain, row_of, slowed, throttled, with_layer_times

from edgesplit.core.control.event import (
    GoalChanged,
    LayerTimesMeasured,
    RowDropped,
    Tick,
    TierAdded,
    TierJoined,
    TierLost,
    TierRemoved,
)
from edgesplit.core.control.simulate import World
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.named import named_policies
from edgesplit.core.policies.policy import FixedPlan, score
from edgesplit.core.profile import Link
from edgesplit.core.shadow import played as played_module
from edgesplit.core.shadow.played import along, played, window_of
from edgesplit.core.shadow.regret import regret
from edgesplit.core.shadow.static import best_static
from edgesplit.errors import EventFileError
from experiments.shared.exhaustive import every_plan

V = chain(VGG)
END, SHARED, CLOUD = map(parse_plan, TRIED)
CHANGING = simulated_log(steady(changes=((6.0, throttled(V)), (14.0, V)), pause_s=0.1), 20.0)


def told(log, policies, since_s=-math.inf):
    return played(log, policies, window_of(log, since_s))


def found_regret(log, policies=None, last_s=None):
    policies = policies or named_policies(V.names)
    return regret(log, policies, np.random.default_rng(0), last_s)


def test_the_sessions_own_policy_would_have_done_as_it_did():
    """But for the moment that preparing a plan takes."""
    found = told(CHANGING, {"score": score})
    ran = [request.plan for request in found.requests]
    chosen = [course.plan for course in found.courses["score"]]
    assert len(set(ran)) == 2
    assert sum(a != b for a, b in zip(ran, chosen, strict=True)) <= 4
    same = [i for i, plan in enumerate(ran) if plan == chosen[i]]
    assert all(found.courses["score"][i].spent is found.requests[i].spent for i in same)


def test_a_plan_never_run_is_predicted_as_it_would_have_been():
    """In a world without noise the prediction is what a session of that plan measures."""
    world = steady(changes=((4.0, slowed(V, "edge", 2.0)),), pause_s=0.1)
    ran = simulated_log(world, 8.0, FixedPlan(SHARED))
    real = simulated_log(world, 8.0, FixedPlan(parse_plan("end:0-4 | edge:4-16")))
    found = found_regret(ran, {"other": FixedPlan(parse_plan("end:0-4 | edge:4-16"))})
    measured = found_regret(real).ran.mean
    assert found.shadows[0].mean.latency_s == pytest.approx(measured.latency_s, rel=0.02)
    assert found.shadows[0].mean.total_energy_j == pytest.approx(measured.total_energy_j, rel=0.02)


def test_a_clairvoyant_planner_is_never_above_and_the_best_static_plan_is_the_best():
    found = found_regret(CHANGING)
    rows = (found.ran, *found.shadows, found.static)
    assert all(row.mean.score >= found.clairvoyant.mean.score - 1e-9 for row in rows)
    requests = told(CHANGING, {}).requests[::8]
    best = best_static(VGG, requests)
    means = {
        plan: np.mean([course.spent.score for course in courses])
        for plan in every_plan(VGG, V)
        if all(courses := along(VGG, requests, plan))
    }
    assert means[best] == pytest.approx(min(means.values()), rel=1e-9)


def test_a_static_plan_uses_what_was_there_all_the_time():
    true = with_layer_times(V, "edge", row_of(V, "edge", 0.5))
    events = (
        LayerTimesMeasured(3.0, "edge", row_of(V, "edge", 0.5)),
        TierLost(5.0, "cloud"),
        TierJoined(6.0, "cloud"),
    )
    log = simulated_log(replace(steady(events=events, pause_s=0.1), profile=true), 9.0)
    requests = told(log, {}).requests
    assert {request.plan.runtimes.get("edge") for request in requests} >= {"onnx"}
    best = best_static(VGG, requests)
    assert "cloud" not in best.route
    assert all(along(VGG, requests, best))
    found = found_regret(log)
    assert found.static.requests == found.requests
    by_name = {row.policy: row for row in found.shadows}
    assert by_name["cloud-only"].requests < found.requests


def test_a_policy_that_tries_plans_out_learns_what_they_would_have_taken():
    log = simulated_log(steady(pause_s=0.1), 8.0, FixedPlan(SHARED))
    found = told(log, {"tries": TriesOut()})
    chosen = [course.plan for course in found.courses["tries"]]
    assert list(dict.fromkeys(chosen)) == [END, SHARED, CLOUD]
    took = {plan: along(VGG, found.requests[-1:], plan)[0].spent.latency_s for plan in chosen}
    assert chosen[-1] == min(took, key=took.get)


def test_a_policy_that_is_followed_needs_no_gain():
    @dataclass(frozen=True)
    class Turns(TriesOut):
        """The whole model on the cloud at first, then on the end tier."""

        def __call__(self, graph, profile, goal):
            return END if self.took else CLOUD

    log = simulated_log(steady(pause_s=0.1), 5.0)
    found = told(log, {"held": Turns(is_followed=False), "followed": Turns()})
    assert {course.plan for course in found.courses["held"]} == {CLOUD}
    assert {course.plan for course in found.courses["followed"]} == {CLOUD, END}


def test_one_moment_and_the_same_seed_give_the_same_regret():
    assert found_regret(CHANGING) == found_regret(CHANGING)


def test_only_requests_since_then_are_looked_at_and_the_first_plans_are_there():
    found = found_regret(CHANGING, last_s=5.0)
    assert 4.0 < found.span_s <= 5.0
    assert 0 < found.requests < found_regret(CHANGING).requests
    assert {row.requests for row in found.shadows} == {found.requests}


def test_of_very_many_requests_some_are_looked_at(monkeypatch):
    monkeypatch.setattr(played_module, "MOST_REQUESTS", 30)
    whole, some = found_regret(CHANGING), told(CHANGING, {})
    assert whole.every > 1
    assert 15 <= whole.requests == len(some.requests) <= 30


def test_a_limit_is_counted_and_kept_to():
    log = simulated_log(steady(changes=((4.0, throttled(V)),), pause_s=0.1), 8.0,
                        goal=replace(GOAL, latency_limit_s=0.2))  # fmt: skip
    found = found_regret(log)
    by_name = {row.policy: row for row in found.shadows}
    assert by_name["end-only"].late == 1.0
    assert found.clairvoyant.late == 0.0
    assert found_regret(CHANGING).ran.late is None


def test_policies_without_a_plan_are_named():
    found = found_regret(CHANGING, {"score": score, "moon": named_policies(["moon"])["moon-only"]})
    assert found.without_plan == ("moon",)
    assert [row.policy for row in found.shadows] == ["score"]


def test_whatever_happens_in_a_session_can_be_told():
    """A lost tier, another goal, runtimes that come and go, tiers that come and go."""
    near = replace(V.tier("edge"), name="near")
    links = tuple(Link(*course, 0.0005, FAST) for course in (("end", "near"), ("near", "end")))
    events = (
        LayerTimesMeasured(2.0, "end", row_of(V, "end", 0.9)),
        TierLost(4.0, "cloud"),
        TierJoined(6.0, "cloud"),
        GoalChanged(7.0, replace(GOAL, latency_limit_s=2.0)),
        RowDropped(8.0, "end", "onnx", "it is wrong"),
        TierAdded(9.0, near, links),
        TierRemoved(11.0, "near"),
    )
    true = with_layer_times(V, "end", row_of(V, "end", 0.9)).with_added(near, links)
    world = World(true, ((3.0, throttled(true)),), events, pause_s=0.1)
    found = found_regret(simulated_log(world, 14.0))
    assert found.requests > 20
    assert found.clairvoyant.mean.score <= found.ran.mean.score


def test_nothing_to_compare_with_is_told():
    with pytest.raises(EventFileError, match="no request came back as planned"):
        found_regret(made_log(started(), [Tick(0.1)]))


def test_progress_is_told_in_order():
    shares = []
    regret(CHANGING, {"score": score}, np.random.default_rng(0), None, shares.append)
    assert shares == sorted(shares)
    assert 0.0 <= shares[0] < 0.1 < 0.99 < shares[-1] <= 1.0


def test_a_tier_that_nothing_was_measured_of_is_named():
    found = found_regret(
        simulated_log(steady(pause_s=0.1), 3.0, FixedPlan(SHARED)), {"score": score}
    )
    assert found.unmeasured == ("cloud",)
    assert "no request has used cloud: only the layer times of the opening" in str(found)
    assert found_regret(CHANGING).unmeasured == ("end",)
