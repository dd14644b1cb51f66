"""Codecs that are measured and dropped while requests flow, and what requests teach then."""

from dataclasses import replace

import numpy as np
import pytest
from control_cases import make_ready, of_kind, started
from worlds import GOAL, SLOW, VGG, chain, throttled

from edgesplit.core.control.ask import asks_along
from edgesplit.core.control.calm import is_calm
from edgesplit.core.control.event import (
    Activate,
    CodecsMeasured,
    GoalChanged,
    Observed,
    Prepare,
    ProbeLink,
    Tick,
)
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.standing import standing
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.goal import Goal
from edgesplit.core.payload_codec import PICTURE, CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import FixedPlan, score
from edgesplit.core.record import Finished, record_of
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import EventError, UnknownNameError

CUTS = len(VGG.payload_bytes)
TIERS = ("end", "edge", "cloud")


def sizes(codec, share, loss=0.0):
    return CodecSizes(codec, tuple(share * n for n in VGG.payload_bytes), (loss,) * CUTS)


def measured(at_s, *codecs, tiers=TIERS):
    """Coding takes 0.1 ms and 0.1 ns a byte."""
    speeds = tuple(CodecSpeed(c.codec, 1e-4, 1e-10, 1e-4, 1e-10) for c in codecs)
    return CodecsMeasured(at_s, codecs, tuple((tier, speeds) for tier in tiers))


ZSTD, INT8 = sizes("zstd", 0.5), sizes("int8", 0.25, 0.004)
GRANTED = replace(GOAL, max_accuracy_loss=0.005)


def throttled_state(goal=GOAL):
    """A loop on links so slow that payloads hardly travel."""
    profile = throttled(throttled(chain(VGG)), pair=("end", "edge"))
    return started(goal=goal, profile=profile)


def test_a_codec_that_is_measured_is_used_at_once():
    state = throttled_state()
    assert str(state.active) == "end:0-13 | edge:13-16"
    state, actions = step(state, measured(1.0, ZSTD, sizes("lz4", 0.01)))
    [prepare] = of_kind(actions, Prepare)
    assert set(prepare.plan.codecs) == {"lz4"}
    state, actions = make_ready(state, prepare.plan, 1.1)
    [activate] = of_kind(actions, Activate)
    assert activate.reason.startswith("lz4 at cut 0: score")


def coded_state(*codecs, goal=GRANTED):
    state, actions = step(throttled_state(goal), measured(1.0, *codecs))
    [prepare] = of_kind(actions, Prepare)
    return make_ready(state, prepare.plan, 1.1)[0]


def test_a_codec_that_is_dropped_is_left_at_once():
    tiny = sizes("int8", 0.01, 0.004)
    state = coded_state(tiny)
    assert "int8" in state.active.codecs
    state, actions = step(state, measured(2.0))
    [prepare] = of_kind(actions, Prepare)
    assert set(prepare.plan.codecs) == {"as-is"}
    _, actions = make_ready(state, prepare.plan, 2.1)
    assert of_kind(actions, Activate)[0].reason.startswith("int8 at cut 0 no longer: score")


@pytest.mark.parametrize(
    "event",
    [
        measured(2.0, sizes("int8", 0.01, 0.3)),
        measured(2.0, sizes("int8", 0.01, None)),
        measured(2.0, replace(sizes("int8", 0.01, 0.0), payload_bytes=(float("inf"),) * CUTS)),
        replace(measured(2.0, sizes("int8", 0.01, 0.004)), speeds=(("edge", ()),)),
        GoalChanged(2.0, GOAL),
    ],
    ids=["loses more", "not measured any more", "fits nowhere", "no speed", "not granted"],
)
def test_what_may_not_be_used_any_more_is_left_at_once(event):
    state, actions = step(coded_state(sizes("int8", 0.01, 0.004)), event)
    assert [set(p.plan.codecs) - {"as-is"} for p in of_kind(actions, Prepare)] == [set()]
    found = explain(state.graph, state.profile, state.goal, standing(state))
    assert found.running is None
    assert is_calm(state) is False


def test_a_preparation_that_needs_a_dropped_codec_is_given_up():
    state, _ = step(throttled_state(GRANTED), measured(1.0, sizes("int8", 0.01, 0.004)))
    pending = state.pending.plan
    assert "int8" in pending.codecs
    state, _ = step(state, measured(1.05))
    assert state.pending is None
    assert make_ready(state, pending, 1.1)[0].active == state.active


@pytest.mark.parametrize(
    ("event", "error", "told"),
    [
        (measured(1.0, ZSTD, tiers=("end", "moon")), UnknownNameError, "no tier 'moon'"),
        (measured(1.0, tiers=("end", "end")), EventError, "given twice"),
        (measured(1.0, CodecSizes("zstd", (1.0,), (0.0,))), EventError, "sizes at 1 cuts"),
        (measured(1.0, ZSTD, ZSTD), EventError, "speeds twice"),
    ],
)
def test_what_cannot_have_been_measured_is_refused(event, error, told):
    with pytest.raises(error, match=told):
        step(throttled_state(), event)


def test_tiers_that_are_left_out_keep_their_speeds():
    state = coded_state(sizes("lz4", 0.01))
    state, _ = step(state, measured(2.0, sizes("lz4", 0.02), tiers=("cloud",)))
    assert all(state.profile.tier(tier).codec_speed("lz4") for tier in TIERS)
    assert state.profile.codec("lz4").payload_bytes[0] == 0.02 * VGG.payload_bytes[0]


def test_probes_are_as_long_as_what_is_sent():
    state = coded_state(sizes("lz4", 0.01))
    plan = parse_plan("end:0-0 |lz4| edge:0-16")
    assert ProbeLink("end", "edge", 6020) in asks_along(state, plan)
    assert ProbeLink("end", "edge", 602_000) in asks_along(state, parse_plan("end:0-0 | edge:0-16"))


def test_links_learn_their_rate_from_the_bytes_really_sent():
    """A simulated world with codecs: rates stay what they are."""
    profile = throttled(throttled(chain(VGG)), pair=("end", "edge"))
    event = measured(0.0, sizes("lz4", 0.05))
    profile = profile.with_codecs(event.codecs, dict(event.speeds))
    world = World(profile, noise=0.0, outliers=0.0)
    run = simulate(
        begin(VGG, profile, GOAL, score, Settings(), 0.0), world, 10.0, np.random.default_rng(0)
    )
    assert set(run.state.active.codecs) == {"lz4"}
    pair = run.state.active.route[:2]
    assert run.state.beliefs.links[pair].rate.value == pytest.approx(SLOW, rel=0.01)
    [*_, seen] = [event for event in run.events if isinstance(event, Observed)]
    cut = run.state.active.cuts[0]
    assert seen.timings[0].sent_bytes == round(0.05 * VGG.payload_bytes[cut])
    assert seen.timings[0].codec_s == pytest.approx(1e-4 + 1e-10 * VGG.payload_bytes[cut])
    assert len(seen.timings) == 3
    both_s = 2e-4 + 1e-10 * sum(VGG.payload_bytes[k] for k in run.state.active.cuts)
    assert seen.timings[1].codec_s == pytest.approx(both_s)
    expected_s = run.state.weighed.latency_s
    assert run.requests[-1].latency_s == pytest.approx(expected_s, rel=1e-3)


def pictured():
    """Of files a tenth of their pixels, which take 0.5 s to decode anywhere."""
    files = CodecSizes(PICTURE, (60_200.0, *(float("inf"),) * (CUTS - 1)), (0.0,) * CUTS)
    return files, (CodecSpeed(PICTURE, 0.0, 0.0, 0.5, 0.0),)


def test_a_simulated_request_decodes_its_picture_once():
    """In whichever plan is in force: as the cost model has it."""
    files, speeds = pictured()
    for slowdown in (1.0, 30.0):
        profile = throttled(chain(VGG).with_codecs([files], dict.fromkeys(TIERS, speeds)))
        profile = profile.with_tier(replace(profile.tier("end"), slowdown=slowdown))
        world = World(profile, noise=0.0, outliers=0.0)
        run = simulate(
            begin(VGG, profile, GOAL, score, Settings(), 0.0), world, 5.0, np.random.default_rng(0)
        )
        [*_, seen] = [event for event in run.events if isinstance(event, Observed)]
        model = CostModel(VGG, profile, GOAL)
        opener, opening_s = model.opening(run.state.active)
        assert [t.codec_s for t in seen.timings] == [
            opening_s if at == opener else 0.0 for at in range(len(seen.timings))
        ]
        expected_s = model.cost(run.state.active).latency_s
        assert run.requests[-1].latency_s == pytest.approx(expected_s, rel=1e-6)
    assert run.state.active.codecs[0] == PICTURE


def test_a_fixed_plan_is_gone_over_to_once_its_codec_is_measured():
    """Whatever it scores: here a codec that makes everything larger and slower."""
    plan = parse_plan("end:0-13 |int8| edge:13-16")
    state = started(FixedPlan(plan), goal=GRANTED)
    assert state.active == parse_plan("end:0-13 | edge:13-16")
    worse = sizes("int8", 1.5, 0.004)
    state, actions = step(state, measured(1.0, replace(worse, loss=(None,) * CUTS)))
    assert of_kind(actions, Prepare) == []
    state, actions = step(state, measured(2.0, worse))
    assert [one.plan for one in of_kind(actions, Prepare)] == [plan]
    state, actions = make_ready(state, plan, 2.1)
    assert state.active == plan
    assert standing(state).is_settled
    state, actions = step(state, measured(3.0))  # given up
    assert [one.plan.codecs for one in of_kind(actions, Prepare)] == [("as-is",)]


def test_a_quiet_loop_with_codecs_is_calm():
    state = coded_state(sizes("lz4", 0.01))
    state, _ = step(state, Tick(3.0))
    assert is_calm(state)
    files, speeds = pictured()
    event = CodecsMeasured(1.0, (files,), tuple((tier, speeds) for tier in TIERS))
    state, actions = step(throttled_state(), event)
    for prepare in of_kind(actions, Prepare):
        state, _ = make_ready(state, prepare.plan, 1.1)
    state, _ = step(state, Tick(3.0))
    assert is_calm(state)


def test_a_record_counts_codecs_as_computing():
    plan = parse_plan("end:0-8 |int8| edge:8-16")
    rows = [("end", 0, 8, 0.0, 0.2, 1.0, 0.7, float("inf"), 100, 10, 3.0),
            ("edge", 8, 16, 0.0, 0.1, 0.2, 0.0, float("inf"), 0, 10, 4.0)]  # fmt: skip
    timings = tuple(
        TierTiming(*row, codec_s=codec_s) for row, codec_s in zip(rows, (0.1, 0.05), strict=True)
    )
    done = Finished("r", 0.0, "vgg", plan, 1.0, timings)
    record = record_of(done, chain(VGG), Goal())
    assert record.codecs == ("int8",)
    assert record.codec_s == pytest.approx(0.15)
    assert record.compute_s == pytest.approx(0.3)
    gross = record_of(done, chain(VGG), Goal(boundary="gross"))
    # 3 J of computing; what is left of 1 s after 0.2 + 0.1 s of it and the link is waited for, 1 W.
    link_s = {"transmit": 0.5 * 100 / 110, "receive": 0.5 * 10 / 110}
    link_s = {phase: seconds * 0.499 / 0.5 for phase, seconds in link_s.items()}
    waits_s = 1.0 - 0.3 - sum(link_s.values())
    joules = 3.0 + 2.0 * link_s["transmit"] + 1.5 * link_s["receive"] + waits_s
    assert gross.energy["end"].joules == pytest.approx(joules)
