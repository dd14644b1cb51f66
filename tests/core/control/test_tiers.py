"""Tiers that are added and removed while requests flow: used at once, done without, forgotten."""

from dataclasses import replace

import numpy as np
import pytest
from control_cases import feed, make_ready, of_kind, request, started
from worlds import FAST, GOAL, MOBILE, VGG, chain

from edgesplit.core.control.event import (
    Activate,
    GoalChanged,
    LinkProbed,
    Prepare,
    Ready,
    Tick,
    TierAdded,
    TierJoined,
    TierLoaded,
    TierLost,
    TierRemoved,
)
from edgesplit.core.control.event_file import EventLog, lines_of, read_lines
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.standing import standing
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.control.tiers import FORGET_S
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import score
from edgesplit.core.profile import Link
from edgesplit.errors import EventError, UnknownNameError

SETTINGS = Settings()


def tier(name, times=6.0, graph=VGG):
    """An edge that is so many times as fast as the one of the chain."""
    edge = chain(graph).tier("edge")
    return replace(edge, name=name, layer_s=tuple(s / times for s in edge.layer_s))


def links(name, others=("end", "cloud"), rate=2 * FAST):
    pairs = [(name, other) for other in others]
    return tuple(Link(*way, 0.0005, rate) for pair in pairs for way in (pair, pair[::-1]))


def added(at_s, name="edge-2", graph=VGG):
    return TierAdded(at_s, tier(name, graph=graph), links(name))


def whole(graph=VGG):
    return chain(graph).with_added(tier("edge-2", graph=graph), links("edge-2"))


def on_it(state, at_s):
    """A state whose plan in force uses edge-2."""
    state, actions = step(state, added(at_s))
    [prepare] = of_kind(actions, Prepare)
    state, actions = make_ready(state, prepare.plan, at_s)
    assert of_kind(actions, Activate)
    assert "edge-2" in state.active.route
    return state


def test_an_added_tier_is_known_from_then_on_and_planned_with_at_once():
    state = started()
    after, actions = step(state, added(1.0))
    assert after.profile == replace(whole(), score_reference=state.profile.score_reference)
    assert after.beliefs.tiers["edge-2"].slowdown.count == 0
    assert after.beliefs.links["end", "edge-2"].rate.value == pytest.approx(2 * FAST)
    assert {name: after.beliefs.tiers[name] for name in state.beliefs.tiers} == state.beliefs.tiers
    [prepare] = of_kind(actions, Prepare)
    assert "edge-2" in prepare.plan.route
    after, actions = make_ready(after, prepare.plan, 1.1)
    assert "tier edge-2 added" in of_kind(actions, Activate)[0].reason
    fed, _ = feed(after, whole(), [1.2, 1.4, 1.6])
    assert fed.beliefs.tiers["edge-2"].slowdown.count == 3


def test_one_that_is_no_better_changes_no_plan():
    state = started()
    slow = TierAdded(1.0, tier("edge-2", 0.2), links("edge-2", rate=FAST / 2))
    after, actions = step(state, slow)
    assert not of_kind(actions, Prepare)
    assert after.active == state.active
    assert "edge-2" in after.profile.names


def test_a_removed_tier_is_left_at_once_for_what_remains():
    first = started()
    state = on_it(first, 1.0)
    after, actions = step(state, TierRemoved(2.0, "edge-2"))
    [prepare] = of_kind(actions, Prepare)
    assert prepare.plan == first.active
    assert after.active == state.active  # until the next one is ready
    after, actions = make_ready(after, prepare.plan, 2.1)
    assert "tier edge-2 removed" in of_kind(actions, Activate)[0].reason
    assert standing(after).away == ("edge-2",)
    assert step(after, TierRemoved(2.2, "edge-2"))[0].removed == after.removed  # said twice


def test_what_is_being_prepared_on_it_is_given_up():
    state, actions = step(started(), added(1.0))
    [prepare] = of_kind(actions, Prepare)
    state, _ = step(state, TierRemoved(1.1, "edge-2"))
    assert state.pending is None
    state, actions = step(state, Ready(1.2, prepare.plan, "edge-2"))
    assert not actions


def test_what_requests_under_way_say_of_it_is_heard_for_a_while_and_then_it_is_forgotten():
    first = started()
    state, plan = on_it(first, 1.0), None
    plan = state.active
    state, actions = step(state, TierRemoved(2.0, "edge-2"))
    state, _ = make_ready(state, of_kind(actions, Prepare)[0].plan, 2.1)
    state, _ = step(state, request(plan, whole(), 2.2))
    assert state.beliefs.tiers["edge-2"].slowdown.count == 1
    state, _ = step(state, Tick(2.0 + FORGET_S))
    assert state.profile == first.profile
    assert set(state.beliefs.tiers) == set(first.beliefs.tiers)
    assert set(state.beliefs.links) == set(first.beliefs.links)
    assert not state.removed
    with pytest.raises(UnknownNameError, match="edge-2"):
        step(state, request(plan, whole(), 70.0))


def test_it_is_remembered_while_a_plan_or_a_limit_names_it():
    state = on_it(started(settings=Settings(prepare_timeout_s=1e9)), 1.0)
    state, _ = step(state, TierRemoved(2.0, "edge-2"))
    state, _ = step(state, Tick(100.0))  # the next plan is still being prepared
    assert "edge-2" in state.profile.names
    assert "edge-2" in state.active.route
    named, _ = step(started(), added(1.0))
    named, _ = step(named, GoalChanged(2.0, replace(GOAL, memory_bytes={"edge-2": 10**6})))
    named, _ = step(named, TierRemoved(3.0, "edge-2"))
    named, _ = step(named, Tick(100.0))
    assert "edge-2" in named.profile.names


def test_one_that_comes_again_is_believed_to_be_as_it_is_profiled_now():
    state = on_it(started(), 1.0)
    state, _ = feed(state, whole(), [1.2, 1.4])
    state, _ = step(state, TierRemoved(2.0, "edge-2"))
    again = TierAdded(3.0, tier("edge-2", 9.0), links("edge-2", ("end",)))
    state, _ = step(state, again)
    assert state.profile.tier("edge-2") == again.tier
    assert state.profile.link("edge-2", "cloud") is None
    assert state.beliefs.tiers["edge-2"].slowdown.count == 0
    assert not state.removed


def test_one_in_doubt_stays_so_when_it_is_removed_and_comes_again():
    state = on_it(started(), 1.0)
    state, _ = step(state, TierLost(1.5, "edge-2"))
    state, _ = step(state, TierRemoved(2.0, "edge-2"))
    state, _ = step(state, added(3.0))
    assert state.trusts["edge-2"].in_doubt
    assert "edge-2" in state.away


def test_tiers_that_come_and_go_leave_nothing_behind():
    state, at_s = started(), 1.0
    size = len(state.profile.links)
    for number in range(200):
        state, _ = step(state, added(at_s, f"edge-{number + 2}"))
        state, _ = step(state, TierLoaded(at_s + 1, f"edge-{number + 2}", HostLoad(0.5)))
        state, _ = step(state, TierRemoved(at_s + 2, f"edge-{number + 2}"))
        at_s += 10.0
        state, _ = step(state, Tick(at_s))
    assert len(state.profile.tiers) <= 3 + FORGET_S / 10 + 1
    state, _ = step(state, Tick(at_s + FORGET_S))
    assert len(state.profile.links) == len(state.beliefs.links) == size


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (TierAdded(1.0, tier("edge"), links("edge", ("end",))), "'edge' is there already"),
        (TierAdded(1.0, tier("new"), ()), "given none"),
        (TierAdded(1.0, tier("new"), links("new", ("moon",))), "tiers that are there"),
        (TierAdded(1.0, tier("new"), links("end", ("edge",))), "between it and tiers"),
        (TierAdded(1.0, tier("new"), links("new", ("end",))[:1]), "and so is its reverse"),
        (TierAdded(1.0, tier("new"), 2 * links("new", ("end",))), "is given once"),
        (
            TierAdded(1.0, replace(tier("new"), layer_s=(0.1,)), links("new", ("end",))),
            "vgg has 16 layers, tier 'new' was profiled on 1",
        ),
        (TierRemoved(1.0, "end"), "the tier that holds the input stays"),
    ],
)
def test_what_cannot_be_is_refused_and_changes_nothing(event, said):
    with pytest.raises(EventError, match=said):
        step(started(), event)


def test_an_unknown_tier_cannot_be_removed():
    with pytest.raises(UnknownNameError, match="no tier 'moon'"):
        step(started(), TierRemoved(1.0, "moon"))


def test_a_link_to_a_removed_tier_cannot_be_added():
    state, _ = step(started(), TierRemoved(1.0, "cloud"))
    with pytest.raises(EventError, match=r"that are there \(edge, end\)"):
        step(state, added(2.0))


def played(events, until_s, seed=0, graph=VGG):
    first = begin(graph, chain(graph), GOAL, score, SETTINGS, 0.0)
    world = World(whole(graph), events=events, prepare_s=0.1)
    return simulate(first, world, until_s, np.random.default_rng(seed))


@pytest.mark.parametrize("graph", [VGG, MOBILE], ids=lambda graph: graph.name)
@pytest.mark.parametrize("leaves", [TierRemoved, TierLost])
def test_a_quicker_edge_is_used_within_a_few_evaluations_and_done_without(graph, leaves):
    for seed in range(5):
        events = added(10.0, graph=graph), leaves(30.0, "edge-2")
        run = played(events, 50.0, seed, graph)
        used = next(s for s in run.switches if "edge-2" in s.plan.route)
        assert 10.0 < used.at_s < 10.0 + 3 * SETTINGS.interval_s
        left = next(s for s in run.switches if s.at_s > 30.0)
        assert "edge-2" not in left.plan.route
        assert left.at_s < 30.0 + 2 * SETTINGS.interval_s
        assert run.requests[-1].plan == left.plan
        assert len(run.switches) <= 5


def test_it_may_be_lost_and_come_back_in_between():
    events = added(10.0), TierLost(20.0, "edge-2"), TierJoined(25.0, "edge-2")
    run = played(events, 40.0)
    assert "edge-2" in run.requests[-1].plan.route
    assert any("edge-2" not in r.plan.route for r in run.requests if 21.0 < r.start_s < 24.0)


def test_a_recording_of_it_comes_back_and_is_played_alike():
    first, actions = begin(VGG, chain(VGG), GOAL, score, SETTINGS, 0.0)
    world = World(whole(), events=(added(5.0), TierRemoved(9.0, "edge-2")))
    run = simulate((first, actions), world, 80.0, np.random.default_rng(0))
    steps = replay(first, run.events)
    middle = next(n for n, event in enumerate(run.events) if event.at_s > 9.0)
    for start, since in ((first, 0), (steps[middle - 1][0], middle)):
        entries = zip(run.events[since:], (done for _, done in steps[since:]), strict=True)
        log = EventLog("0.1.0", "5e55", "w0", "score", start, tuple(entries))
        back = read_lines(lines_of(log))
        assert back == log
        assert replay(back.start, [event for event, _ in back.entries])[-1][0] == run.state


def test_probes_reach_what_was_added():
    state, _ = step(started(), added(1.0))
    state, _ = step(state, LinkProbed(1.2, "end", "edge-2", 16384, 0.002, 0.0005))
    assert state.beliefs.links["end", "edge-2"].latency.count == 1
    assert parse_plan("end:0-8 | edge-2:8-16").check(VGG, state.profile.names)
