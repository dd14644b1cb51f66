"""Ticks only when one is due, and evaluations spared: the same is asked for and decided."""

from dataclasses import replace

import numpy as np
import pytest
from control_cases import request, started
from hypothesis import given, settings
from hypothesis import strategies as st
from test_event_file import LOG
from worlds import FAST, GOAL, MOBILE, VGG, chain, slowed, throttled

from edgesplit.core.control.calm import LONGEST, is_calm
from edgesplit.core.control.due import next_due_s
from edgesplit.core.control.event import (
    Event,
    GoalChanged,
    LinkProbed,
    MeasureTier,
    Observed,
    Prepare,
    PrepareFailed,
    ProbeLink,
    Ready,
    Tick,
    TierJoined,
    TierLoaded,
    TierLost,
    TierMeasured,
)
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import ControlState, Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.policies.policy import FixedPlan, fastest, only, score

TICK_S = 0.1


def check_played(state: ControlState, events: list[Event]) -> int:
    """All events, and all but ticks that are not due: the same. How many ticks were left out."""
    every = few = state
    left_out = 0
    for event in events:
        every, wanted = step(every, event)
        if isinstance(event, Tick) and event.at_s < next_due_s(few):
            assert wanted == ()
            left_out += 1
            continue
        few, actions = step(few, event)
        assert actions == wanted
    assert replace(few, now_s=every.now_s) == every
    return left_out


def check_spared(state: ControlState, events: list[Event]) -> int:
    """Evaluations that are spared would have found nothing to do. How many were."""
    spared = 0
    for event in events:
        after, actions = step(state, event)
        if after.calm is not None and after.calm is state.calm and after.decided_s == event.at_s:
            spared += 1
            whole, wanted = step(replace(state, calm=None), event)
            assert whole.decided_s == event.at_s
            assert actions == wanted
            assert replace(after, weighed=None, hopes=(), calm=None) == replace(
                whole, weighed=None, hopes=(), calm=None
            )
        state = after
    return spared


def played(graph, world, until_s, seed=0, goal=GOAL, policy=score):
    first = begin(graph, chain(graph), goal, policy, Settings(), 0.0)
    return first[0], simulate(first, world, until_s, np.random.default_rng(seed)).events


V, M = chain(VGG), chain(MOBILE)
LOADED = tuple(TierLoaded(t + 0.05, "cloud", HostLoad(0.2 + 0.3 * (t % 2))) for t in range(1, 40))
WORLDS = {
    "steady": (MOBILE, World(M, pause_s=0.5), 40.0, {}),
    "throttled": (VGG, World(V, ((8.0, throttled(V)), (20.0, V))), 35.0, {}),
    "slowed": (MOBILE, World(M, ((8.0, slowed(M, "cloud", 6.0)),), pause_s=0.2), 25.0, {}),
    "loaded": (MOBILE, World(M, events=LOADED, pause_s=0.3), 40.0, {}),
    "silent": (VGG, World(V, silences=(("cloud", 8.0, 14.0),), pause_s=0.1), 40.0, {}),
    "lost": (VGG, World(V, events=(TierLost(8.0, "cloud"), TierJoined(12.0, "cloud"))), 25.0, {}),
    "rare": (VGG, World(V, ((10.0, throttled(V)),), pause_s=4.0), 60.0, {}),
    "idle": (VGG, World(V, ((10.0, throttled(V)), (25.0, V)), pause_s=15.0), 90.0, {}),
    "slow to prepare": (VGG, World(V, ((6.0, throttled(V)),), prepare_s=30.0), 40.0, {}),
    "limit": (VGG, World(V, ((8.0, throttled(V)),)), 30.0,
              {"goal": replace(GOAL, latency_limit_s=0.5)}),
    "promise": (VGG, World(V, pause_s=0.5), 20.0,
                {"goal": replace(GOAL, latency_limit_s=0.5, probability=0.9)}),
    "fastest": (VGG, World(V, ((8.0, throttled(V)),), pause_s=0.3), 30.0, {"policy": fastest}),
    "only": (VGG, World(V, ((8.0, throttled(V)),), pause_s=0.3), 20.0, {"policy": only("edge")}),
}  # fmt: skip


@pytest.mark.parametrize("name", WORLDS)
def test_in_a_world(name):
    graph, world, until_s, more = WORLDS[name]
    state, events = played(graph, world, until_s, **more)
    assert check_played(state, events) > 0.5 * 10 * until_s * (name != "slow to prepare")
    check_spared(state, events)


def test_of_a_recording():
    events = [event for event, _ in LOG.entries]
    assert check_played(LOG.start, events) > 0.4 * sum(isinstance(e, Tick) for e in events)
    check_spared(LOG.start, events)


def test_in_a_steady_world_most_is_spared():
    state, events = played(MOBILE, World(M, pause_s=0.5, noise=0.05), 120.0)
    assert check_played(state, events) > 0.85 * 1200
    assert check_spared(state, events) > 0.6 * 120


def test_a_policy_that_does_not_look_at_scores_is_always_asked():
    for policy in (fastest, only("cloud"), FixedPlan(started().active)):
        state, events = played(VGG, World(V, pause_s=0.5), 10.0, policy=policy)
        assert check_spared(state, events) == 0


def test_an_evaluation_is_made_whole_after_a_while():
    state, whole_s = started(), set()
    for half in range(1, 81):
        state, _ = step(state, request(state.active, V, half / 2))
        whole_s.add(state.calm.at_s)
    assert len(whole_s) == 1 + 40 / (LONGEST * state.settings.load_settle_s)
    assert is_calm(state)
    assert not is_calm(replace(state, now_s=state.now_s + 2.5))  # its links were not shown of late


GAPS = st.sampled_from([0.0, 0.01, 0.05, 0.3, 1.0, 2.5, 12.0])
FACTORS = st.sampled_from([0.1, 0.5, 0.95, 1.0, 1.05, 2.0, 8.0])
NAMES = st.sampled_from(["edge", "cloud"])
WHAT = st.sampled_from([*["request"] * 6, *["answer"] * 3, "ready", "ready", "fail", "load", "lost",
                        "joined", "goal"])  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(WHAT, GAPS, FACTORS, NAMES), max_size=40), st.booleans())
def test_whatever_happens(happenings, has_limit):
    goal = replace(GOAL, latency_limit_s=0.4) if has_limit else GOAL
    first, actions = begin(VGG, V, goal, score, Settings(), 0.0)
    events, state, at_s, ticks, asks = [], first, 0.0, 1, []

    def take(event):
        nonlocal state
        events.append(event)
        state, actions = step(state, event)
        asks.extend(a for a in actions if isinstance(a, ProbeLink | MeasureTier))

    for what, gap_s, factor, name in [*happenings, ("request", 1.0, 1.0, "edge")]:
        at_s += gap_s
        while ticks * TICK_S <= at_s:
            take(Tick(ticks * TICK_S))
            ticks += 1
        for event in happening(state, at_s, what, (factor, name), asks):
            take(event)
    check_played(first, events)
    check_spared(first, events)
    assert actions == (Prepare(first.pending.plan),)


def happening(state, at_s, what, how, asks):
    """Events that may follow in that state."""
    factor, name = how
    if what == "request" and state.active is not None:
        timings = request(state.active, V, at_s).timings
        return [Observed(at_s, tuple(
            replace(t, compute_s=factor * t.compute_s, hop_s=factor * t.hop_s) for t in timings
        ))]  # fmt: skip
    if what == "answer" and asks:
        ask = asks.pop()
        if isinstance(ask, ProbeLink):
            seconds = ask.sent_bytes / FAST * factor + 0.001
            pair = ask.source, ask.target
            return [LinkProbed(at_s, *pair, ask.sent_bytes, seconds, 0.0005 * factor)]
        seconds = factor * sum(V.tier(ask.tier).layer_s[ask.start : ask.stop])
        return [TierMeasured(at_s, ask.tier, ask.start, ask.stop, seconds)]
    if what in ("ready", "fail") and state.pending is not None:
        plan = state.pending.plan
        if what == "fail":
            return [PrepareFailed(at_s, plan, plan.route[-1])]
        return [Ready(at_s, plan, tier) for tier in plan.route]
    simple = {
        "load": TierLoaded(at_s, name, HostLoad(min(1.0, factor / 2)), factor if factor > 1 else 0),
        "lost": TierLost(at_s, name),
        "joined": TierJoined(at_s, name),
        "goal": GoalChanged(at_s, replace(state.goal, load=factor)),
    }
    return [simple[what]] if what in simple else []
