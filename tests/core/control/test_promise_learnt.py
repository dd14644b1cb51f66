"""How the control loop learns scatter, and what it does of it under a promised deadline."""

from dataclasses import replace

import numpy as np
import pytest
from control_cases import feed, of_kind, request, started
from worlds import GOAL, VGG, chain, slowed, throttled

from edgesplit.core.control.event import (
    GoalChanged,
    LinkProbed,
    Observed,
    Prepare,
    TierMeasured,
    Transferring,
)
from edgesplit.core.control.state import ControlState, current_profile
from edgesplit.core.control.step import step
from edgesplit.core.cost import CostModel
from edgesplit.core.plain_data import plain_form
from edgesplit.core.plan import parse_plan
from edgesplit.core.scatter import assumed_scatter

CLOUD = parse_plan("end:0-0 | edge:0-0 | cloud:0-16")
EVERYWHERE = parse_plan("end:0-4 | edge:4-8 | cloud:8-16")
HOP = ("edge", "cloud")


def test_a_request_teaches_the_scatter_of_what_it_used():
    state, _ = feed(started(), slowed(chain(VGG), "edge", 2.0), (1,), plan=EVERYWHERE)
    before = started().beliefs
    edge = before.tiers["edge"].scatter.updated(2.0)
    assert state.beliefs.tiers["edge"].scatter == edge
    assert state.beliefs.tiers["cloud"].scatter == before.tiers["cloud"].scatter.updated(1.0)
    assert state.beliefs.links[HOP].scatter == before.links[HOP].scatter.updated(1.0)
    assert state.beliefs.links[HOP[::-1]].scatter == before.links[HOP[::-1]].scatter


def test_a_ratio_is_to_what_was_believed_just_before():
    slow, state = throttled(chain(VGG)), started()
    for at_s in range(1, 40):
        state, _ = feed(state, slow, (at_s,), plan=CLOUD)
    scatter = state.beliefs.links[HOP].scatter
    # The first four were late, until the new rate was believed; the rest were as expected.
    assert scatter.quantile(0.5) == pytest.approx(1.0, abs=0.05)
    assert scatter.quantile(0.99) > 10


def test_time_in_a_queue_counts():
    plain = request(EVERYWHERE, chain(VGG), 1.0)
    waited = replace(plain.timings[1], queue_s=plain.timings[1].compute_s)
    state, _ = step(started(), Observed(1.0, (plain.timings[0], waited, plain.timings[2])))
    expected = started().beliefs.tiers["edge"].scatter.updated(2.0)
    assert state.beliefs.tiers["edge"].scatter == expected


def test_probes_and_measures_teach_it_too():
    state, seconds = started(), sum(chain(VGG).tier("edge").layer_s[:8])
    state, _ = step(state, TierMeasured(1.0, "edge", 0, 8, 1.5 * seconds))
    state, _ = step(state, LinkProbed(1.1, *HOP, 400_000, 2 * (0.001 + 0.01), 0.0005))
    assert state.beliefs.tiers["edge"].scatter == assumed_scatter(0.1).updated(1.5)
    assert state.beliefs.links[HOP].scatter == assumed_scatter(0.3).updated(2.0)


def test_what_is_believed_while_a_payload_is_under_way_was_a_surprise():
    """Its end, compared with what is believed by then, will be none."""
    state, _ = step(started(), Transferring(1.0, *HOP, 4_000_000, 1.0))
    assert state.beliefs.links[HOP].scatter == assumed_scatter(0.3).updated(10.0)
    state, _ = step(state, Transferring(1.1, *HOP, 4_400_000, 1.1))
    assert state.beliefs.links[HOP].scatter == assumed_scatter(0.3).updated(10.0)


def test_what_is_lost_in_latency_teaches_nothing():
    state, _ = step(started(), LinkProbed(1.0, *HOP, 16_384, 0.0011, 0.0005))
    assert state.beliefs.links[HOP].scatter == assumed_scatter(0.3)
    state, _ = step(state, LinkProbed(1.1, *HOP, 1000, 0.5, 0.0005))
    assert state.beliefs.links[HOP].scatter == assumed_scatter(0.3)


def late_now_and_then(count=200) -> ControlState:
    """Requests to the cloud, of which one in 20 is three times as late as expected."""
    state, generator = started(), np.random.default_rng(0)
    for number in range(1, count):
        factor = 12.0 if generator.random() < 0.05 else 1.0
        world = throttled(chain(VGG), 40e6 / factor)
        state, _ = step(state, request(CLOUD, world, 0.3 * number))
    return state


def test_a_promise_of_99_in_100_leaves_a_link_that_is_late_once_in_20():
    state = late_now_and_then()
    assert state.active == CLOUD
    for probability, is_left in ((0.9, False), (0.99, True)):
        goal = replace(GOAL, latency_limit_s=0.2, probability=probability)
        after, actions = step(state, GoalChanged(60.0, goal))
        prepared = [action.plan for action in of_kind(actions, Prepare)]
        assert bool(prepared) == is_left
    model = CostModel(VGG, current_profile(after), goal)
    assert model.cost(CLOUD).latency_s < 0.2 < model.cost(CLOUD).quantile_s
    assert model.cost(prepared[0]).quantile_s <= 0.2
    assert "latency kept with 0.99" in after.pending.reason


def test_the_profile_holds_scatter_only_under_a_promise():
    state = late_now_and_then(10)
    assert {link.scatter for link in current_profile(state).links} == {None}
    goal = replace(GOAL, latency_limit_s=0.2, probability=0.9)
    state, _ = step(state, GoalChanged(60.0, goal))
    profile = current_profile(state)
    assert profile.link(*HOP).scatter == state.beliefs.links[HOP].scatter
    assert profile.tier("edge").scatter == state.beliefs.tiers["edge"].scatter


def test_it_is_written_with_the_state():
    state = late_now_and_then(10)
    again = plain_form(ControlState).decode(plain_form(ControlState).encode(state))
    assert again.beliefs == state.beliefs
