"""The control loops of a scheduler without Ray: refused events, the ring of recorded ones."""

import logging
import pickle
import zlib

import msgspec
import numpy as np
from control_cases import request, started
from learner_cases import TRIED, TriesOut
from worlds import GOAL, VGG, chain

from edgesplit.cluster.actors import recording
from edgesplit.cluster.actors.bounded_policy import BoundedPolicy, bounded
from edgesplit.cluster.actors.checkpoint import Checkpoint
from edgesplit.cluster.actors.loops import ControlLoops
from edgesplit.cluster.actors.recording import Recorded, Recording
from edgesplit.cluster.actors.workload import Workload, recorded, status_of
from edgesplit.core.changed import changed
from edgesplit.core.control.event import LinkProbed, Observed, Tick, TierLost
from edgesplit.core.control.event_file import EventLog, lines_of, read_lines
from edgesplit.core.control.replay import replay
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import step
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.checked import bare, checked
from edgesplit.core.policies.policy import score
from edgesplit.core.policies.published import PUBLISHED, Published


def loops():
    found = ControlLoops("5e55")
    found.begin(Workload("w", VGG, chain(VGG), GOAL, score, Settings(), "score"), 0)
    return found


def test_what_is_left_out_is_told_once_per_kind(caplog):
    found = loops()
    now_s = found.now_s()
    before = found.known("w").state
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            assert found.take("w", TierLost(now_s, "moon")) == ()
            assert found.take("w", Tick(now_s - 9.0)) == ()
    assert found.known("w").state is before
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2
    assert "TierLost, UnknownNameError" in told[0]
    assert "no tier 'moon'" in told[0]
    assert "Tick, EventError" in told[1]


def test_the_kinds_that_are_told_of_are_bounded(caplog, monkeypatch):
    monkeypatch.setattr("edgesplit.cluster.actors.loops._MOST_KINDS", 1)
    found = loops()
    with caplog.at_level(logging.WARNING):
        found.take("w", TierLost(found.now_s(), "moon"))
        found.take("w", Tick(-9.0))
    assert len(caplog.records) == 1


def test_what_is_left_out_is_not_recorded():
    found = loops()
    loop = found.known("w")
    found.take("w", Tick(found.now_s()))
    found.take("w", Tick(-9.0))
    assert len(events_of(loop.recording, loop.state)) == 1


def events_of(kept, state):
    return Recorded("w", "score", *kept.kept(state)).events()


def played(count, kept=None):
    """A recording of so many events, beginning at 0 s, and the state after them."""
    kept, state = kept or Recording(), started()
    for number in range(count):
        at_s = state.now_s + 0.05
        event = Tick(at_s) if number % 2 else request(state.active, chain(VGG), at_s)
        after, actions = step(state, event)
        kept.add(state, event, actions)
        state = after
    return kept, state


def test_events_that_are_kept_lead_to_the_state_now(monkeypatch):
    monkeypatch.setattr(recording, "_TOGETHER", 10)
    monkeypatch.setattr(recording, "MOST_EVENTS", 95)
    kept, state = played(233)
    events = [event for event, _ in events_of(kept, state)]
    assert 85 <= len(events) <= 95
    assert replay(kept.kept(state)[0], events)[-1][0] == state


def test_a_recording_takes_no_more_bytes_than_it_may(monkeypatch):
    monkeypatch.setattr(recording, "_TOGETHER", 10)
    monkeypatch.setattr(recording, "MOST_BYTES", 6_000)
    kept, state = played(300)
    packed = kept.kept(state)[1]
    assert 3_000 < sum(map(len, packed)) < 6_000
    assert len(events_of(kept, state)) < 300
    assert replay(kept.kept(state)[0], [e for e, _ in events_of(kept, state)])[-1][0] == state


def test_a_recording_of_a_steady_session_takes_a_hundred_bytes_per_event():
    kept, state = played(2000)
    packed = kept.kept(state)[1]
    assert sum(map(len, packed)) < 100 * len(events_of(kept, state))


def test_of_no_events_the_state_now_is_the_start():
    state = started()
    assert Recording().kept(state) == (state, ())


def test_numpys_numbers_are_kept_and_what_is_no_number_ends_what_was_kept():
    kept, state = played(3)
    kept.add(state, LinkProbed(np.float64(1.0), "end", "edge", np.int64(9), 1.0, 0.1), ())
    assert len(events_of(kept, state)) == 4
    kept.add(state, LinkProbed(2.0, "end", "edge", object(), 1.0, 0.1), ())
    assert kept.kept(state) == (state, ())


def test_a_request_is_kept_by_position():
    state = started()
    kept = Recording()
    event = request(state.active, chain(VGG), 1.0)
    kept.add(state, event, ())
    [packed] = msgspec.msgpack.decode(zlib.decompress(kept.kept(state)[1][0]))
    assert len(packed) < 400 < len(msgspec.msgpack.encode(event))
    assert isinstance(event, Observed)


def test_a_restarted_scheduler_uses_no_codec_that_was_given_up_since_it_was_saved(monkeypatch):
    cuts = len(VGG.payload_bytes)
    given_up = CodecSizes("int8", VGG.payload_bytes, (0.0,) * cuts)
    speed = CodecSpeed("zstd", 1e-4, 1e-10, 1e-4, 1e-10)
    kept = CodecSizes("zstd", VGG.payload_bytes, (0.0,) * cuts)
    saved = changed(started(), profile=chain(VGG).with_codecs([given_up], {}))
    monkeypatch.setattr(Checkpoint, "load", lambda self, workload_id: (saved, 3))
    known = chain(VGG).with_codecs([kept], {"end": [speed]})
    found = ControlLoops("5e55")
    found.resume(Workload("w", VGG, known, GOAL, score, Settings(), "score"), 2)
    profile = found.known("w").state.profile
    assert profile.codecs == (kept,)
    assert profile.tier("end").codec_speeds == (speed,)


def test_a_published_policy_learns_and_its_recording_says_what_it_had_learned(monkeypatch):
    monkeypatch.setitem(PUBLISHED, "tries", Published("tries", "made up", "nothing", TriesOut()))
    found = ControlLoops("5e55")
    workload = Workload("w", VGG, chain(VGG), GOAL, checked(TriesOut()), Settings(), "tries")
    found.begin(workload, 0)
    loop = found.known("w")
    assert isinstance(loop.state.policy, BoundedPolicy)
    for plan in TRIED[:2]:
        at_s = found.now_s()
        found.take("w", request(parse_plan(plan), chain(VGG), at_s))
    assert status_of(loop, found.now_s()).policy == "tries"
    known = bare(loop.state.policy.policy)
    assert len(known.took) == 2
    assert recorded(loop).start.policy == TriesOut()  # as it was before the first event
    loop.recording = Recording()
    log = EventLog("0.1.0", "5e55", "w", "tries", recorded(loop).start, ())
    assert log.start.policy == known
    back = read_lines(iter(list(lines_of(log))))
    assert bare(back.start.policy) == known


def test_what_a_function_had_learned_stays_in_its_session():
    found = ControlLoops("5e55")
    found.begin(Workload("w", VGG, chain(VGG), GOAL, checked(TriesOut()), Settings()), 0)
    assert recorded(found.known("w")).start.policy is score


def test_a_restarted_scheduler_goes_on_with_what_a_policy_had_learned(monkeypatch):
    policy = bounded(checked(TriesOut(took=((TRIED[0], 9.0),))))
    saved = pickle.loads(pickle.dumps((changed(started(), policy=policy), 3)))
    monkeypatch.setattr(Checkpoint, "load", lambda self, workload_id: saved)
    found = ControlLoops("5e55")
    workload = Workload("w", VGG, chain(VGG), GOAL, checked(TriesOut()), Settings())
    found.resume(workload, 2)
    assert bare(found.known("w").state.policy.policy) == TriesOut(took=((TRIED[0], 9.0),))
