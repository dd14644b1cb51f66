"""Recordings as lines of JSON: every event there and back, and files that are none."""

import contextlib
import json
import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from control_cases import started
from hypothesis import given, settings
from hypothesis import strategies as st
from learner_cases import TRIED, TriesOut
from worlds import FAST, GOAL, MOBILE, VGG, chain, row_of, throttled, with_layer_times

from edgesplit.core.control.event import (
    ACTIONS,
    EVENTS,
    CodecsMeasured,
    GoalChanged,
    LayerTimesMeasured,
    LinkProbed,
    MeasureTier,
    Observed,
    PrepareFailed,
    Ready,
    RowDropped,
    Tick,
    TierAdded,
    TierJoined,
    TierLoaded,
    TierLost,
    TierMeasured,
    TierRemoved,
    Transferring,
)
from edgesplit.core.control.event_file import EventLog, lines_of, read_lines
from edgesplit.core.control.replay import decisions, replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.goal import Goal
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plain_data import tagged
from edgesplit.core.plan import plan_along
from edgesplit.core.policies.checked import bare
from edgesplit.core.policies.named import policy_named
from edgesplit.core.policies.policy import FixedPlan, score
from edgesplit.core.policies.published import PUBLISHED, Published
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Tier
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import EventFileError

SECONDS = st.floats(0, 1e9)
NAMES = st.sampled_from(["end", "edge", "cloud", "größer"])
RUNTIMES = st.sampled_from(["torch", "onnx"])
WHOLE = st.integers(0, 2**48)
PLANS = st.builds(
    lambda cut, runtime: plan_along(["end", "cloud"], [cut], 16).on({"cloud": runtime}),
    st.integers(0, 16),
    RUNTIMES,
)
TIMES = st.builds(LayerTimes, RUNTIMES, st.lists(SECONDS, min_size=1).map(tuple), st.text())
TIMINGS = st.builds(
    TierTiming, NAMES, WHOLE, WHOLE, SECONDS, SECONDS, SECONDS, SECONDS,
    SECONDS | st.just(math.inf), WHOLE, WHOLE, st.floats(allow_nan=False), st.none() | SECONDS,
    RUNTIMES, st.text(),
)  # fmt: skip
GOALS = st.builds(
    Goal, st.just(0.5), st.just(0.25), st.just(0.25), st.none() | st.floats(1e-3, 1e3),
    st.integers(0, 9), st.dictionaries(NAMES, WHOLE), st.sampled_from(["marginal", "gross"]),
)  # fmt: skip
SHARES, DEGREES = st.none() | st.floats(0, 1), st.none() | st.floats(-50, 120)
LOADS = st.builds(
    HostLoad, SHARES, st.none() | SECONDS, st.none() | WHOLE, st.none() | st.integers(1, 2**48),
    DEGREES, DEGREES, st.none() | st.booleans(),
)  # fmt: skip
TIERS = st.builds(
    Tier, NAMES, st.lists(SECONDS, min_size=2, max_size=2).map(tuple),
    st.builds(Power, *[st.floats(0, 1e3)] * 4), st.floats(0.1, 9.0), st.text(),
    runtime=st.just("torch"), error=st.none() | st.floats(0, 1),
    layer_times=st.just((LayerTimes("onnx", (0.1, 0.2)),)),
)  # fmt: skip
LINKS = st.builds(Link, NAMES, NAMES, SECONDS, st.floats(1.0, 1e9), st.text())
CODECS = st.builds(
    CodecSizes, st.just("int8"), st.just((1.5, math.inf)), st.just((None, 0.25)), st.text()
)
CODING = st.builds(CodecSpeed, st.just("int8"), SECONDS, SECONDS, SECONDS, SECONDS, st.text())
KINDS = {
    Observed: st.builds(Observed, SECONDS, st.lists(TIMINGS, max_size=4).map(tuple)),
    Transferring: st.builds(Transferring, SECONDS, NAMES, NAMES, WHOLE, SECONDS, st.booleans()),
    LinkProbed: st.builds(LinkProbed, SECONDS, NAMES, NAMES, WHOLE, SECONDS, SECONDS),
    TierMeasured: st.builds(TierMeasured, SECONDS, NAMES, WHOLE, WHOLE, SECONDS, RUNTIMES),
    TierLoaded: st.builds(TierLoaded, SECONDS, NAMES, LOADS, SECONDS),
    LayerTimesMeasured: st.builds(LayerTimesMeasured, SECONDS, NAMES, TIMES),
    RowDropped: st.builds(RowDropped, SECONDS, NAMES, RUNTIMES, st.text()),
    CodecsMeasured: st.builds(
        CodecsMeasured,
        SECONDS,
        st.lists(CODECS, max_size=2).map(tuple),
        st.lists(st.tuples(NAMES, st.lists(CODING, max_size=2).map(tuple)), max_size=2).map(tuple),
    ),
    TierLost: st.builds(TierLost, SECONDS, NAMES),
    TierJoined: st.builds(TierJoined, SECONDS, NAMES),
    TierAdded: st.builds(TierAdded, SECONDS, TIERS, st.lists(LINKS, max_size=3).map(tuple)),
    TierRemoved: st.builds(TierRemoved, SECONDS, NAMES),
    GoalChanged: st.builds(GoalChanged, SECONDS, GOALS),
    Ready: st.builds(Ready, SECONDS, PLANS, NAMES),
    PrepareFailed: st.builds(PrepareFailed, SECONDS, PLANS, NAMES),
    Tick: st.builds(Tick, SECONDS),
}


NEAR = replace(chain(VGG).tier("edge"), name="near")
NEAR_LINKS = tuple(Link(*way, 0.0005, FAST) for way in (("end", "near"), ("near", "end")))


def recorded(policy=score, name="score", until_s=20.0) -> EventLog:
    """A throttled link, a lost tier, another goal and a runtime, in a simulated world."""
    whole = chain(VGG)
    state, actions = begin(VGG, whole, GOAL, policy, Settings(), 0.0)
    events = (
        LayerTimesMeasured(3.0, "end", row_of(whole, "end", 0.9)),
        TierLost(9.0, "cloud"),
        TierJoined(11.0, "cloud"),
        GoalChanged(15.0, replace(GOAL, latency_limit_s=2.0)),
        RowDropped(16.0, "end", "onnx", "it is wrong"),
        TierAdded(17.0, NEAR, NEAR_LINKS),
        TierRemoved(18.5, "near"),
    )
    true = with_layer_times(whole, "end", row_of(whole, "end", 0.9)).with_added(NEAR, NEAR_LINKS)
    world = World(true, ((5.0, throttled(true)),), events)
    run = simulate((state, actions), world, until_s, np.random.default_rng(0))
    steps = replay(state, run.events)
    entries = zip(run.events, (actions for _, actions in steps), strict=True)
    return EventLog("0.1.0", "5e55", "w0", name, state, tuple(entries))


LOG = recorded()
LINES = list(lines_of(LOG))


def test_every_kind_of_event_is_tried():
    assert set(KINDS) == set(EVENTS)


@pytest.mark.parametrize("kind", EVENTS, ids=lambda kind: kind.__name__)
def test_every_event_comes_back_as_it_was(kind):
    codec = tagged(EVENTS)

    @settings(deadline=None)
    @given(KINDS[kind])
    def there_and_back(event):
        text = json.dumps(codec.encode(event), allow_nan=False)
        assert codec.decode(json.loads(text)) == event

    there_and_back()


def test_a_recording_comes_back_as_it_was_and_leads_to_the_same_state():
    back = read_lines(LINES)
    assert back == LOG
    events = [event for event, _ in back.entries]
    assert replay(back.start, events)[-1] == replay(LOG.start, events)[-1]
    wanted = {Observed, LinkProbed, TierLost, Ready, Tick, TierAdded, TierRemoved}
    assert {type(event) for event in events} >= wanted


def test_what_was_decided_is_decided_again_and_said():
    played = list(decisions(read_lines(LINES)))
    assert all(one.is_same for one in played)
    said = [(verdict.verb, verdict.reason) for one in played for verdict in one.now]
    assert {verb for verb, _ in said} == {"prepare", "activate", "keep"}
    assert all(reason for _, reason in said)
    assert any("link edge->cloud" in reason for verb, reason in said if verb == "prepare")


def test_what_is_decided_otherwise_is_told():
    number = next(n for n, (_, done) in enumerate(LOG.entries) if done)
    entries = list(LOG.entries)
    entries[number] = (entries[number][0], ())
    other = [one for one in decisions(replace(LOG, entries=tuple(entries))) if not one.is_same]
    assert [one.number for one in other] == [number + 1]


@pytest.mark.parametrize("name", ["fastest", "end-only", "end:0-8 | edge:8-16"])
def test_a_named_policy_comes_back_by_its_name(name):
    log = recorded(policy_named(name, ("end", "edge", "cloud")), name, 4.0)
    back = read_lines(lines_of(log))
    assert all(one.is_same for one in decisions(back))


def test_what_a_named_policy_has_learned_comes_back_with_it(monkeypatch):
    known = TriesOut(took=((TRIED[0], 9.0), (TRIED[1], 8.0)))
    monkeypatch.setitem(PUBLISHED, "tries", Published("tries", "made up", "nothing", TriesOut()))
    log = recorded(known, "tries", 6.0)
    lines = list(lines_of(log))
    back = read_lines(lines)
    assert bare(back.start.policy) == known
    assert all(one.is_same for one in decisions(back))
    head = json.loads(lines[0])
    del head["learned"]  # as in files of before
    first = read_lines([json.dumps(head) + "\n", *lines[1:]])
    assert bare(first.start.policy) == TriesOut()
    assert not all(one.is_same for one in decisions(first))
    for wrong in ({"took": []}, {**head, "policy": 1}, [["x"]]):
        with pytest.raises(EventFileError, match="line 1: "):
            read_lines([json.dumps(head | {"learned": wrong}) + "\n", *lines[1:]])


def test_what_a_policy_has_learned_is_left_out_where_it_is_no_plain_data(monkeypatch):
    @dataclass(frozen=True)
    class Strange(TriesOut):
        memory: object = None

    monkeypatch.setitem(PUBLISHED, "strange", Published("strange", "-", "-", Strange()))
    lines = list(lines_of(recorded(Strange(memory=object()), "strange", 3.0)))
    assert json.loads(lines[0])["learned"] is None
    assert bare(read_lines(lines).start.policy) == Strange()


def test_a_function_as_policy_is_replaced_by_score():
    log = recorded(FixedPlan(plan_along(["end"], [], len(VGG))), "", 4.0)
    back = read_lines(lines_of(log))
    assert back.start.policy is score
    assert not all(one.is_same for one in decisions(back))


def changed(number, change):
    """The lines with one of them read, changed and written again."""
    lines = list(LINES)
    data = json.loads(lines[number - 1])
    change(data)
    lines[number - 1] = json.dumps(data) + "\n"
    return lines


def other(**values):
    return lambda data: data.update(values)


def believing(tier, **values):
    """A state with other figures in a tier's estimate."""

    def change(data):
        [slowdown] = [b["slowdown"] for name, b in data["beliefs"]["tiers"] if name == tier]
        slowdown.update(values)

    return change


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "no recording of events"),
        (["\x80PNG\n"], "no recording of events"),
        (["[" * 100_000], "no recording of events"),
        (changed(1, other(version=1)), "has version 1 of the format, this EdgeSplit reads 6"),
        (changed(1, other(events="all")), "line 1: who recorded what is missing"),
        (changed(1, other(events=True)), "line 1: who recorded what is missing"),
        (changed(1, other(policy="os.system")), "line 1: no policy 'os.system'"),
        (LINES[:1], "line 2 does not end"),
        (LINES[:-1], f"ends after {len(LOG.entries) - 1} of {len(LOG.entries)} events"),
        ([*LINES[:-1], LINES[-1][:-9]], "does not end: the file is cut short"),
        ([*LINES, LINES[-1]], "more follows than"),
        ([*LINES[:2], "{]\n", *LINES[3:]], "line 3 is no JSON"),
        ([*LINES[:2], "[" * 100_000 + "\n", *LINES[3:]], "line 3 is no JSON"),
        ([*LINES[:2], '[["Tick",{"at_s":NaN}],[]]\n', *LINES[3:]], "NaN is not JSON"),
        ([*LINES[:2], '[["Tick",{"at_s":"1"}],[]]\n', *LINES[3:]], "Tick.at_s: expected a number"),
        ([*LINES[:2], '[["Tick",{"at_s":1e999}],[]]\n', *LINES[3:]], "cannot be played"),
        ([*LINES[:2], '[["Tick",{}],[]]\n', *LINES[3:]], "expected the fields at_s"),
        ([*LINES[:2], '[["system",{}],[]]\n', *LINES[3:]], "expected one of Observed"),
        ([*LINES[:2], '[["TierLost",{"at_s":1e8,"tier":"moon"}],[]]\n', *LINES[3:]], "no tier"),
        (changed(2, other(graph=None)), "line 2: graph: expected the fields"),
        (changed(2, other(policy="x", extra=1)), "expected the fields"),
        (changed(2, lambda s: s["graph"]["layers"].pop()), "line 2: graph: no Graph"),
        (changed(2, lambda s: s["beliefs"]["tiers"].pop()), "the tiers believed in cannot be"),
        (changed(2, believing("edge", level=1e6)), "its estimates cannot be"),
        (changed(2, believing("edge", sigma=0)), "its estimates cannot be"),
        (changed(2, believing("edge", weight=2**63)), "weight: expected a whole number"),
        (changed(2, other(lost=["moon"])), "the tiers trusted cannot be"),
        (changed(2, other(removed=[["end", 1.0]])), "the tiers removed cannot be"),
        (changed(2, other(now_s="inf")), "its times cannot be"),
        (changed(2, lambda s: s["pending"]["plan"]["stages"].pop(0)), "must begin at 'end'"),
        (changed(2, lambda s: s["basis"]["profile"]["links"].pop()), "line 2: basis.profile"),
    ],
)  # fmt: skip
def test_what_is_no_recording_is_told_as_such(lines, message):
    with pytest.raises(EventFileError, match=message.replace("(", r"\(")):
        list(decisions(read_lines(lines)))


@settings(deadline=None)
@given(st.data())
def test_a_damaged_recording_is_played_or_refused_with_one_kind_of_error(data):
    lines = SHORT.copy()
    number = data.draw(st.integers(0, len(lines) - 1))
    at = data.draw(st.integers(0, len(lines[number]) - 1))
    lines[number] = lines[number][:at] + data.draw(st.text(max_size=3)) + lines[number][at + 2 :]
    with contextlib.suppress(EventFileError):  # any other error fails the test
        list(decisions(read_lines(lines)))


SHORT = list(lines_of(replace(LOG, entries=LOG.entries[:30])))


def test_an_evaluation_asks_the_policy_once_and_each_look_for_probes_once():
    """So that one tick takes about as long as one decision of the planner."""
    asked = []

    def counting(graph, profile, goal):
        asked.append(goal.latency_limit_s)
        return score(graph, profile, goal)

    for goal in (GOAL, replace(GOAL, latency_limit_s=1.0)):
        state = started(counting, goal=goal, graph=MOBILE, profile=throttled(chain(MOBILE)))
        counts = []
        for tick in range(40):
            asked.clear()
            decided_s = state.decided_s
            state, _ = step(state, Tick(2.0 + tick / 10))
            counts.append((state.decided_s != decided_s, len(asked)))
        assert [count for decides, count in counts if decides] == [1] * 4
        assert max(count for decides, count in counts if not decides) == 1


def test_actions_come_back_as_they_were():
    codec = tagged(ACTIONS)
    action = MeasureTier("end", 0, 3, "onnx")
    assert codec.decode(codec.encode(action)) == action
