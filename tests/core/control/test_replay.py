"""The control loop in simulated worlds: how soon it follows, how rarely it errs, what it asks."""

from dataclasses import replace

import numpy as np
import pytest
from worlds import FAST, GOAL, MOBILE, SLOW, VGG, chain, slowed, throttled

from edgesplit.core.control.event import MeasureTier, TierJoined, TierLost
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import SimulatedRun, World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin
from edgesplit.core.cost import CostModel
from edgesplit.core.policies.policy import FixedPlan, score

MODELS = pytest.mark.parametrize("graph", [VGG, MOBILE], ids=lambda graph: graph.name)


def run(graph, world, until_s, seed=0, policy=score, settings=None) -> SimulatedRun:
    started = begin(graph, chain(graph), GOAL, policy, settings or Settings(), 0.0)
    return simulate(started, world, until_s, np.random.default_rng(seed))


def seconds_and_requests(result: SimulatedRun, since_s: float, is_right) -> tuple[float, int]:
    """Until the first activation that is right, and the requests begun meanwhile on wrong plans."""
    at_s = min(s.at_s for s in result.switches if s.at_s >= since_s and is_right(s.plan))
    return at_s - since_s, sum(since_s <= r.start_s < at_s for r in result.requests)


@MODELS
def test_a_throttled_link_and_its_return_are_followed_in_two_seconds_or_five_requests(graph):
    whole = chain(graph)
    for seed in range(10):
        off = np.random.default_rng(seed).uniform(0, 1)
        changes = ((10 + off, throttled(whole)), (30 + off, whole))
        result = run(graph, World(whole, changes, prepare_s=0.1), 50.0, seed)
        down = seconds_and_requests(result, 10 + off, lambda plan: "cloud" not in plan.route)
        up = seconds_and_requests(result, 30 + off, lambda plan: "cloud" in plan.route)
        assert down[0] <= 2 or down[1] <= 5
        assert up[0] <= 2
        assert len(result.switches) <= 5
        assert result.state.asked_s <= 0.08 * 20 + 0.8  # of the 20 s throttled, and the bursts


@MODELS
@pytest.mark.parametrize("change", ["cloud", "edge-cloud"])
def test_a_changed_tier_or_link_is_followed_in_six_requests(graph, change):
    whole = chain(graph)
    now = slowed(whole, "cloud", 6.0) if change == "cloud" else throttled(whole, FAST / 8)
    model = CostModel(
        graph, replace(now, score_reference=CostModel(graph, whole, GOAL).score_reference), GOAL
    )
    best = model.cost(score(graph, model.profile, GOAL)).score
    counts = []
    for seed in range(20):
        result = run(graph, World(whole, ((6.0, now),), prepare_s=1e-3), 14.0, seed)
        after = [r.plan for r in result.requests if r.start_s >= 6.0]
        good = [i for i, plan in enumerate(after) if model.cost(plan).score <= best / 0.945]
        counts.append(good[0])
    assert np.median(counts) <= 5
    assert np.percentile(counts, 95) <= 6


@MODELS
def test_steady_noise_causes_at_most_one_switch_in_a_thousand_requests(graph):
    results = [run(graph, World(chain(graph)), 40.0, seed) for seed in range(6)]
    requests = sum(len(result.requests) for result in results)
    assert requests > 3000
    assert sum(len(result.switches) - 1 for result in results) <= requests / 1000
    assert sum(result.state.asked_s for result in results) < 0.01 * 6 * 40


def test_a_slow_tier_that_has_left_the_plan_is_measured_and_taken_back():
    whole = chain(VGG)
    changes = ((5.0, slowed(whole, "cloud", 12.0)), (20.0, whole))
    result = run(VGG, World(whole, changes), 40.0)
    assert [("cloud" in s.plan.route) for s in result.switches] == [True, False, True]
    assert result.switches[2].at_s < 23
    assert "tier cloud slowdown" in result.switches[2].reason
    assert any(isinstance(ask, MeasureTier) and ask.tier == "cloud" for _, ask in result.asks)


def test_a_link_that_was_slow_at_calibration_is_found_better():
    whole = throttled(chain(VGG))
    started = begin(VGG, whole, GOAL, score, Settings(), 0.0)
    world = World(whole, ((15.0, chain(VGG)),))
    result = simulate(started, world, 60.0, np.random.default_rng(0))
    assert "cloud" not in result.switches[0].plan.route
    assert "cloud" in result.switches[-1].plan.route
    assert result.switches[-1].at_s < 15 + 2 * Settings().patrol_s


def test_a_lost_tier_is_left_and_taken_back_when_it_joins():
    events = (TierLost(5.0, "cloud"), TierJoined(10.0, "cloud"))
    result = run(VGG, World(chain(VGG), events=events, prepare_s=0.1), 15.0)
    assert [("cloud" in s.plan.route) for s in result.switches] == [True, False, True]
    assert result.switches[1].at_s < 5.7
    assert "tier cloud lost" in result.switches[1].reason
    assert "tier cloud back" in result.switches[2].reason
    assert any(r.failed_over for r in result.requests)


@pytest.mark.parametrize("rate", [FAST, SLOW])
def test_a_fixed_plan_is_left_alone(rate):
    whole = chain(MOBILE)
    plan = score(MOBILE, whole, GOAL)
    world = World(whole, ((5.0, throttled(whole, rate)),), (TierLost(15.0, "cloud"),))
    result = run(MOBILE, world, 25.0, policy=FixedPlan(plan))
    assert (result.prepares, result.asks, len(result.switches)) == (1, [], 1)


def test_the_same_seed_gives_the_same_run_and_its_events_replay_to_the_same_state():
    whole = chain(MOBILE)
    world = World(whole, ((3.0, throttled(whole)), (8.0, whole)))
    first, second = run(MOBILE, world, 12.0, seed=7), run(MOBILE, world, 12.0, seed=7)
    assert first == second
    started, _ = begin(MOBILE, whole, GOAL, score, Settings(), 0.0)
    steps = replay(started, first.events)
    assert len(steps) == len(first.events)
    assert steps[-1][0] == first.state
    assert sum(len(actions) for _, actions in steps) > 2


def test_a_day_of_requests_is_right_nearly_always_and_asks_for_little():
    whole = chain(MOBILE)
    changes = ((8 * 3600.0, throttled(whole)), (10 * 3600.0, whole))
    world = World(whole, changes, pause_s=30.0, tick_s=5.0)
    result = run(MOBILE, world, 86400.0, settings=Settings(interval_s=60.0, idle_s=60.0))
    assert len(result.requests) > 2000
    right = [("cloud" in r.plan.route) != (8 <= r.start_s / 3600 < 10) for r in result.requests]
    assert np.mean(right) > 0.99
    assert len(result.switches) <= 6
    assert result.state.asked_s < 0.01 * 86400
