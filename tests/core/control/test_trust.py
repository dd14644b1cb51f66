"""Tiers that fail: put in doubt, probed, taken back; what comes and goes does not move the plan."""

from dataclasses import replace

import numpy as np
import pytest
from control_cases import feed, make_ready, of_kind, request, started
from worlds import GOAL, VGG, chain, slowed

from edgesplit.core.control.event import LinkProbed, Prepare, ProbeLink, Tick, TierJoined, TierLost
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.control.trust import TRUSTED, Trust
from edgesplit.core.policies.policy import score


def without(event, tier, reason):
    """The same request, had the tier before `tier` finished it."""
    timings = list(event.timings)
    at = [sample.tier for sample in timings].index(tier)
    done = replace(timings[at - 1], stop=len(VGG), hop_s=0.0, failed_over=f"{tier} {reason}")
    return replace(event, timings=(*timings[: at - 1], done))


def after_reports(reasons, gap_s=1.0):
    """The state after requests of the first plan that had to do without cloud."""
    state, actions = started(), []
    plan = state.active
    for n, reason in enumerate(reasons):
        event = request(plan, chain(VGG), 1.0 + n * gap_s)
        state, more = step(state, without(event, "cloud", reason) if reason else event)
        actions += more
    return state, actions


@pytest.mark.parametrize(
    ("reasons", "gap_s", "away"),
    [
        (["unreachable"], 1.0, True),
        (["silent"], 1.0, False),
        (["silent", "silent"], 1.0, True),
        (["silent", "unknown"], 1.0, True),
        (["silent", None, "silent"], 1.0, False),
        (["silent", "silent"], 11.0, False),
        (["unable", "unable", "unable"], 1.0, False),
    ],
    ids=str,
)
def test_how_many_reports_put_a_tier_in_doubt(reasons, gap_s, away):
    state, actions = after_reports(reasons, gap_s)
    assert state.away == ({"cloud"} if away else frozenset())
    assert bool(of_kind(actions, Prepare)) == away
    if away:
        assert "cloud" not in of_kind(actions, Prepare)[0].plan.route
        assert of_kind(actions, ProbeLink)[-1] == ProbeLink("edge", "cloud", 16384)


def test_a_tier_in_doubt_is_taken_back_once_it_has_answered_for_a_second():
    state, actions = after_reports(["unreachable"])
    state, _ = make_ready(state, of_kind(actions, Prepare)[0].plan, 1.1)
    plans = []
    for at_s in (2.0, 2.1, 2.5, 3.0):
        assert state.away == {"cloud"}
        state, actions = step(state, LinkProbed(at_s, "edge", "cloud", 16384, 0.002, 0.0005))
        plans += of_kind(actions, Prepare)
    assert state.away == frozenset()
    assert "cloud" in plans[0].plan.route


def test_probes_of_a_tier_in_doubt_go_on_while_requests_flow():
    state, actions = after_reports(["unreachable"])
    times = np.arange(1.5, 12.0, 0.1)
    _, actions = feed(state, chain(VGG), times, of_kind(actions, Prepare)[0].plan)
    asked = [probe for probe in of_kind(actions, ProbeLink) if probe.target == "cloud"]
    assert 4 <= len(asked) <= 6  # unanswered: one in two seconds


@pytest.mark.parametrize(
    ("times", "answers"),
    [((0.0, 0.5, 1.0), 3), ((0.0, 0.1, 0.2), 1), ((0.0, 0.5, 5.0), 1)],
)
def test_what_a_steady_row_is(times, answers):
    trust = replace(TRUSTED, steady_s=60.0).failed("edge", -0.5)
    for at_s in times:
        trust = trust.answered(at_s)
    assert trust.answers == answers


def relapses(back_for_s, count):
    """The steady time asked for after each of so many failures, back in between for so long."""
    trust, at_s, asked = Trust(), 0.0, []
    for _ in range(count):
        trust = trust.failed("edge", at_s)
        asked.append(trust.steady_s)
        while trust.in_doubt:
            at_s += 0.5
            trust = trust.answered(at_s)
        at_s += back_for_s
    return asked


def test_the_steady_time_doubles_with_each_relapse_and_decays_after_a_long_steady_time():
    assert relapses(2.0, 8) == [1, 2, 4, 8, 16, 32, 60, 60]
    assert relapses(1000.0, 3) == [1, 1, 1]
    trust = replace(TRUSTED, steady_s=16.0, back_s=0.0)
    assert [trust.failed("edge", at_s).steady_s for at_s in (30, 90, 130, 1000)] == [32, 8, 4, 1]


def test_a_tier_that_joins_after_a_relapse_is_on_trial():
    state = started()
    for lost_s in (1.0, 4.0):
        state, _ = step(state, TierLost(lost_s, "cloud"))
        state, _ = step(state, TierJoined(lost_s + 1, "cloud"))
    assert state.lost == frozenset()
    assert state.away == {"cloud"}
    state, _ = step(state, TierLost(6.0, "cloud"))
    again, _ = step(state, TierLost(6.5, "cloud"))  # said by every call that finds it dead
    assert again.trusts == state.trusts


def test_the_first_tier_is_never_left_out():
    state, _ = step(started(), TierLost(1.0, "end"))
    assert state.away == frozenset()
    assert step(state, Tick(3.0))[1] == ()


def run(world, until_s, seed):
    first = begin(VGG, chain(VGG), GOAL, score, Settings(), 0.0)
    return simulate(first, world, until_s, np.random.default_rng(seed))


@pytest.mark.parametrize("seed", range(5))
def test_a_link_that_flaps_for_five_minutes_moves_the_plan_a_handful_of_times(seed):
    silences = tuple(("cloud", at_s, at_s + 3.0) for at_s in np.arange(10.0, 310.0, 6.0))
    result = run(World(chain(VGG), silences=silences, prepare_s=0.1), 420.0, seed)
    flapping = [s for s in result.switches if 10.0 <= s.at_s < 310.0]
    assert len(flapping) <= 8
    assert "cloud" in result.switches[-1].plan.route
    assert result.switches[-1].at_s < 310.0 + 10.0
    assert sum(r.failed_over for r in result.requests) <= 12


@pytest.mark.parametrize("seed", range(3))
def test_a_tier_that_gets_ten_times_slower_is_slow_and_never_lost(seed):
    world = World(chain(VGG), ((5.0, slowed(chain(VGG), "cloud", 10.0)),), prepare_s=0.1)
    result = run(world, 30.0, seed)
    assert result.state.trusts.get("cloud", TRUSTED).struck_s == float("-inf")
    assert not any(r.failed_over for r in result.requests)
