"""What a recording shows of each request: the plan, what it took, what it met."""

from dataclasses import replace

import pytest
from control_cases import request, started
from recordings import made_log, simulated_log, steady
from worlds import VGG, chain, slowed, throttled

from edgesplit.core.control.event import Observed, Tick, TierLost
from edgesplit.core.cost import CostModel
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import FixedPlan
from edgesplit.core.shadow.history import Evaluation, LeftOut, Returned, history
from edgesplit.core.shadow.past_request import past_request, spent_of
from edgesplit.errors import EventFileError

V = chain(VGG)
SHARED = parse_plan("end:0-4 | edge:4-16")
CLOUD = parse_plan("end:0-0 | edge:0-0 | cloud:0-16")


def with_joules(event, joules=0.5):
    timings = (replace(t, energy_j=joules if len(t.tier) and t.compute_s else 0.0)
               for t in event.timings)  # fmt: skip
    return Observed(event.at_s, tuple(timings))


def only_request(state, event):
    """The one request of a recording."""
    [found] = [one for one in history(made_log(state, [event])) if not isinstance(one, Evaluation)]
    return past_request(found) if isinstance(found, Returned) else found


def test_a_request_shows_the_slowdowns_and_rates_that_it_met():
    true = throttled(slowed(V, "edge", 3.0), 1e7, ("end", "edge"))
    found = only_request(started(FixedPlan(SHARED)), request(SHARED, true, 0.5))
    assert found.met.tier("edge").slowdown == pytest.approx(3.0)
    assert found.met.tier("end").slowdown == pytest.approx(1.0)
    assert found.met.tier("cloud").slowdown == 1.0
    assert found.met.link("end", "edge").bytes_per_s == pytest.approx(1e7, rel=0.02)
    assert found.met.link("edge", "cloud") == V.link("edge", "cloud")
    assert found.plan == SHARED
    assert found.modelled.latency_s == pytest.approx(found.spent.latency_s, rel=0.01)


def test_the_plan_that_ran_costs_what_was_measured_and_another_by_how_much_it_differs():
    event = request(SHARED, slowed(V, "edge", 2.0), 0.5)
    late = tuple(replace(t, own_s=t.own_s + 0.1) for t in event.timings[:1]) + event.timings[1:]
    found = only_request(started(FixedPlan(SHARED)), Observed(0.5, late))
    assert found.spent.latency_s == late[0].own_s
    model = CostModel(VGG, found.met, found.goal)
    other = spent_of(model.cost(CLOUD))
    assert found.along(SHARED, other) is found.spent
    moved = found.along(CLOUD, other)
    assert moved.latency_s - other.latency_s == pytest.approx(0.1, abs=2e-3)


def test_measured_joules_count_where_each_tier_that_computed_has_some():
    state = started(FixedPlan(SHARED))
    measured = only_request(state, with_joules(request(SHARED, V, 0.5)))
    links_j = measured.spent.total_energy_j - 1.0
    assert 0 < links_j < 0.2
    event = with_joules(request(SHARED, V, 0.5))
    some = (event.timings[0], replace(event.timings[1], energy_j=float("nan")))
    for timings in (some, request(SHARED, V, 0.5).timings):
        found = only_request(state, Observed(0.5, timings))
        assert found.spent.total_energy_j == found.modelled.total_energy_j
    reference, goal = state.profile.score_reference, state.goal
    gained = measured.spent.score - measured.modelled.score
    end_j = measured.spent.end_energy_j - measured.modelled.end_energy_j
    total_j = measured.spent.total_energy_j - measured.modelled.total_energy_j
    late_s = measured.spent.latency_s - measured.modelled.latency_s
    assert gained == pytest.approx(
        goal.end_energy * end_j / reference.end_energy_j
        + goal.total_energy * total_j / reference.total_energy_j
        + goal.latency * late_s / reference.latency_s
    )


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"failed_over": "edge silent", "stop": 16}, "failed over or hedged"),
        ({"hedged": "won", "stop": 16}, "failed over or hedged"),
        ({}, "finished by the program that called"),
    ],
)
def test_requests_that_say_nothing_of_other_plans_are_left_out(changes, why):
    event = request(SHARED, V, 0.5)
    first = replace(event.timings[0], **changes)
    found = only_request(started(FixedPlan(SHARED)), Observed(0.5, (first,)))
    assert found == LeftOut(0.5, why)
    assert only_request(started(), Observed(0.5, ())).why == "finished by the program that called"


def test_a_request_along_an_earlier_plan_and_in_a_codec_is_known_by_its_plan():
    cuts = len(VGG.payload_bytes)
    halves = CodecSizes("zstd", tuple(size / 2 for size in VGG.payload_bytes), (0.0,) * cuts)
    speed = CodecSpeed("zstd", 1e-4, 1e-10, 1e-4, 1e-10)
    profile = V.with_codecs([halves], {name: [speed] for name in V.names})
    coded = SHARED.coded(["zstd"])
    state = started(FixedPlan(coded), profile=profile)
    found = only_request(state, request(SHARED, V, 0.5))
    assert found.plan == coded
    other = only_request(state, request(CLOUD, V, 0.5))
    assert other.plan == CLOUD


def test_the_plan_in_force_is_the_one_that_was_whatever_would_be_chosen_now():
    log = simulated_log(steady(changes=((3.0, throttled(V)),), pause_s=0.1), 8.0)
    moments = list(history(replace(log, policy="")))
    ran = [one.plan for one in moments if isinstance(one, Returned)]
    assert len(set(ran)) == 2
    seen = [one.state.active for one in moments if isinstance(one, Evaluation)]
    assert set(seen) == set(ran)
    at_s = [one.at_s for one in moments]
    assert at_s == sorted(at_s)


def test_a_tier_that_no_plan_could_use_has_no_links():
    state = started(FixedPlan(SHARED))
    log = made_log(state, [TierLost(0.2, "cloud"), request(SHARED, V, 0.5)])
    [found] = [one for one in history(log) if isinstance(one, Returned)]
    assert past_request(found).met.link("edge", "cloud") is None
    assert found.believed.tier("edge").slowdown == 1.0


def test_an_event_that_cannot_be_played_is_told():
    log = made_log(started(), [Tick(0.1)])
    with pytest.raises(EventFileError, match="event 1 cannot be played: time runs forward"):
        list(history(replace(log, entries=((Tick(-1.0), ()),))))
