"""What hosts say of their load, in the loop: a pressed tier is left, and taken back."""

from dataclasses import replace

import numpy as np
import pytest
from control_cases import feed, make_ready, of_kind, started
from worlds import GOAL, MOBILE, VGG, chain, row_of, with_layer_times

from edgesplit.core.control.event import (
    Activate,
    MeasureTier,
    Prepare,
    PrepareFailed,
    RowDropped,
    TierLoaded,
    TierMeasured,
)
from edgesplit.core.control.learn import learn_measure
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.standing import standing
from edgesplit.core.control.state import Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.explain import explain
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.fleet.pressure import NO_PRESSURE
from edgesplit.core.policies.policy import score
from edgesplit.errors import EventError, UnknownNameError

BUSY, IDLE = HostLoad(utilisation=1.0), HostLoad(utilisation=0.0, temperature_c=40.0)
HOT = HostLoad(temperature_c=84.0, throttles_at_c=85.0, is_throttled=True)


def said(tier, host, seconds):
    return tuple(TierLoaded(float(at_s), tier, host) for at_s in seconds)


def played(events, until_s, goal=GOAL, graph=MOBILE, settings=None):
    first = begin(graph, chain(graph), goal, score, settings or Settings(), 0.0)
    world = World(chain(graph), events=events, pause_s=0.1)
    return simulate(first, world, until_s, np.random.default_rng(1))


def test_an_idle_host_has_no_price_and_changes_no_plan():
    state = started()
    for at_s in range(1, 30):
        for tier in chain(VGG).names:
            state, actions = step(state, TierLoaded(float(at_s), tier, IDLE))
            assert not of_kind(actions, Prepare)
    assert all(tier.pressure == NO_PRESSURE for tier in current_profile(state).tiers)


def test_a_pressed_tier_is_left_and_taken_back():
    events = said("cloud", HOT, range(20, 60)) + said("cloud", IDLE, range(60, 200))
    goal = replace(GOAL, temperature=3.0)
    run = played(events, 200.0, goal)
    first, left, back = run.switches[:3]  # outliers of other ranges may come later
    assert layers_on("cloud", first.plan) > 8
    assert layers_on("cloud", left.plan) == 0
    assert layers_on("cloud", back.plan) > 8
    assert 22.0 < left.at_s < 50.0 < 60.0 < back.at_s < 110.0
    assert "tier cloud pressed: none -> temperature" in left.reason
    assert "-> none" in back.reason or "tier cloud pressed" in back.reason


def loaded(at_s, utilisation, **more):
    return TierLoaded(at_s, "cloud", HostLoad(utilisation=utilisation, **more))


def on_the_cloud():
    """Requests have shown the speed of an idle cloud."""
    state, _ = feed(started(), chain(VGG), (0.5, 1.0, 1.5))
    assert "cloud" in state.active.route
    return step(state, loaded(2.0, 0.0))[0]


def test_a_tier_is_measured_when_its_host_s_load_changes_and_believed_at_once():
    state, actions = step(on_the_cloud(), loaded(3.0, 0.8))
    (ask,) = of_kind(actions, MeasureTier)
    assert ask.tier == "cloud"
    expected_s = sum(chain(VGG).tier("cloud").layer_s[ask.start : ask.stop])
    assert 0 < expected_s <= 0.025
    event = TierMeasured(3.1, "cloud", ask.start, ask.stop, 5 * expected_s, ask.runtime)
    state, actions = step(state, event)
    assert state.beliefs.tiers["cloud"].slowdown.value == pytest.approx(5.0)
    assert of_kind(actions, Prepare)
    _, actions = step(state, loaded(4.0, 0.9))
    assert not of_kind(actions, MeasureTier)  # it has been measured under that load


def test_a_speed_that_the_load_does_not_explain_is_doubted_first():
    state, actions = step(on_the_cloud(), loaded(3.0, 0.8))
    (ask,) = of_kind(actions, MeasureTier)
    expected_s = sum(chain(VGG).tier("cloud").layer_s[ask.start : ask.stop])
    event = TierMeasured(3.1, "cloud", ask.start, ask.stop, expected_s / 3, ask.runtime)
    state, _ = step(state, event)
    assert state.beliefs.tiers["cloud"].slowdown.value > 0.7


def test_a_load_that_comes_and_goes_measures_nothing():
    state, asked = on_the_cloud(), []
    for second in range(3, 60):
        state, actions = step(state, loaded(float(second), 0.2 + 0.4 * (second % 2)))
        asked += of_kind(actions, MeasureTier)
        for ask in asked[-1:]:
            state, _ = step(state, TierMeasured(second + 0.1, "cloud", ask.start, ask.stop, 1e-3))
    assert len(asked) <= 2


def test_a_measurement_too_short_to_teach_anything_is_not_repeated():
    state, actions = step(on_the_cloud(), loaded(3.0, 0.9))
    (ask,) = of_kind(actions, MeasureTier)
    beliefs = learn_measure(
        state.beliefs,
        state.profile,
        TierMeasured(3.1, "cloud", ask.start, ask.start, 1e-6, ask.runtime),
    )
    assert not beliefs.tiers["cloud"].is_outdated
    assert beliefs.tiers["cloud"].slowdown == state.beliefs.tiers["cloud"].slowdown


def test_a_runtime_that_was_dropped_is_not_measured():
    """The plan in force names it until another one is ready."""
    profile = with_layer_times(chain(VGG), "cloud", row_of(chain(VGG), "cloud", 0.5))
    state, _ = feed(started(profile=profile), profile, (0.5, 1.0, 1.5))
    assert state.active.runtimes["cloud"] == "onnx"
    state, _ = step(state, loaded(2.0, 0.0))
    state, _ = step(state, RowDropped(2.1, "cloud", "onnx", "it failed"))
    if state.pending:
        state, _ = step(state, PrepareFailed(2.2, state.pending.plan, "cloud"))
    state, actions = step(state, loaded(3.0, 0.9))
    assert all(ask.runtime != "onnx" for ask in of_kind(actions, MeasureTier))


@pytest.mark.parametrize(
    "word",
    [loaded(3.0, 0.2), loaded(3.0, 0.8, waiting=0.5), TierLoaded(3.0, "cloud", HOT)],
    ids=["a little", "of other sessions, which queue", "not of load"],
)
def test_a_word_of_anything_else_measures_nothing(word):
    _, actions = step(on_the_cloud(), word)
    assert not of_kind(actions, MeasureTier)


def test_a_moment_of_load_moves_no_plan():
    events = said("cloud", BUSY, (20, 21)) + said("cloud", IDLE, range(22, 60))
    assert len(played(events, 60.0, replace(GOAL, load=1.0)).switches) == 1


def test_a_load_that_comes_and_goes_makes_no_plan_come_and_go():
    generator = np.random.default_rng(4)
    words = [HostLoad(utilisation=float(u)) for u in generator.uniform(0.2, 0.9, 600)]
    events = tuple(TierLoaded(float(at_s), "cloud", host) for at_s, host in enumerate(words, 1))
    assert len(played(events, 600.0, replace(GOAL, load=1.0)).switches) <= 3


def test_sessions_with_other_settling_times_leave_one_after_another():
    goal, events = replace(GOAL, temperature=2.0), said("cloud", HOT, range(20, 120))
    times = [
        played(events, 120.0, goal, settings=Settings(load_settle_s=settle_s)).switches[1].at_s
        for settle_s in (5.0, 10.0, 20.0)
    ]
    assert times == sorted(times)
    assert times[2] - times[0] > 3.0


def test_who_leaves_first_takes_the_load_with_it_and_the_others_stay():
    """Sessions that share a cloud: no herd leaves at once, and none comes and goes."""
    goal, graph, plans = replace(GOAL, load=8.0), MOBILE, {}
    states = {}
    for number, settle_s in enumerate(np.linspace(5.0, 20.0, 6)):
        settings = Settings(load_settle_s=float(settle_s))
        states[number] = started(settings=settings, goal=goal, graph=graph)
        plans[number] = [states[number].active]
    share = 0.16  # of the cloud's processors, that each session takes while it computes there
    for at_s in range(1, 400):
        on_cloud = [n for n, state in states.items() if layers_on("cloud", state.active)]
        for number, state in states.items():
            others = share * len([n for n in on_cloud if n != number])
            host = HostLoad(utilisation=min(1.0, others))
            state, actions = step(state, TierLoaded(float(at_s), "cloud", host))
            for prepare in of_kind(actions, Prepare):
                state = made(state, prepare.plan, float(at_s))
                plans[number].append(state.active)
            states[number] = state
    left = [n for n, state in states.items() if not layers_on("cloud", state.active)]
    assert 1 <= len(left) <= 4
    assert max(map(len, plans.values())) <= 3


def layers_on(tier, plan):
    return sum(len(stage) for stage in plan.stages if stage.tier == tier)


def made(state, plan, at_s):
    state, actions = make_ready(state, plan, at_s)
    assert of_kind(actions, Activate)
    return state


def test_the_goals_weights_can_change_while_a_tier_is_pressed():
    state = started()
    for event in said("cloud", HOT, range(1, 60)):
        state, _ = step(state, event)
    profile = current_profile(state)
    assert profile.tier("cloud").pressure.temperature == pytest.approx(1.5, rel=0.01)
    stands = standing(state)
    found = explain(state.graph, stands.profile, replace(GOAL, temperature=0.2), stands)
    assert found.chosen.price > 0
    share = found.chosen.price / found.chosen.score
    assert f"{share:.0%} of the score; pressures: cloud temperature 1.50" in str(found)
    assert found.as_dict()["pressures"]["cloud"]["temperature"] == pytest.approx(1.5, rel=0.01)
    assert found.as_dict()["chosen"]["price"] == found.chosen.price
    blind = explain(state.graph, stands.profile, replace(GOAL, temperature=0.0), stands)
    assert blind.chosen.price == 0.0


def test_what_cannot_be_is_refused():
    state = started()
    with pytest.raises(UnknownNameError):
        step(state, TierLoaded(1.0, "moon", BUSY))
    state, _ = step(state, TierLoaded(1.0, "cloud", BUSY))
    with pytest.raises(EventError):
        step(state, TierLoaded(0.5, "cloud", BUSY))


def test_loads_are_replayed():
    state = started()
    events = said("cloud", BUSY, range(1, 9))
    after = state
    for event in events:
        after, _ = step(after, event)
    assert replay(state, events)[-1][0] == after
    assert feed(after, chain(VGG), [10.0])[0].active == state.active
