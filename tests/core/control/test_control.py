"""The control loop driven by hand: one event in, one state and its actions out."""

import math
from dataclasses import replace
from itertools import pairwise

import pytest
from control_cases import feed, make_ready, of_kind, request, started
from worlds import FAST, GOAL, MOBILE, SLOW, VGG, chain, throttled

from edgesplit.core.control.event import (
    Activate,
    LinkProbed,
    Observed,
    Prepare,
    PrepareFailed,
    ProbeLink,
    Ready,
    Tick,
    TierJoined,
    TierLost,
    TierMeasured,
    Transferring,
)
from edgesplit.core.control.state import ControlState, Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import FixedPlan, score
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import ConfigError, EventError, UnknownNameError

CLOUD = parse_plan("end:0-0 | edge:0-0 | cloud:0-16")  # the best VGG plan on fast links
EDGE = parse_plan("end:0-0 | edge:0-16")  # and without the cloud
END = parse_plan("end:0-16")
EVERYWHERE = parse_plan("end:0-4 | edge:4-8 | cloud:8-16")


def on_edge(settings=None) -> ControlState:
    """Throttled at 1 s, the edge plan active at 8 s: the cloud link is believed slow."""
    slow = throttled(chain(VGG))
    state, _ = feed(started(settings=settings), slow, (1, 2.5, 4, 5.5, 7))
    state, _ = make_ready(state, EDGE, 8.0)
    return state


def probed(at_s: float, rate: float, sent_bytes: int = 65536) -> LinkProbed:
    return LinkProbed(at_s, "edge", "cloud", sent_bytes, 0.001 + sent_bytes / rate, 0.0005)


def test_begin_prepares_the_policy_s_plan_and_activates_it_when_every_tier_is_ready():
    state, actions = begin(VGG, chain(VGG), GOAL, score, Settings(), 5.0)
    assert actions == (Prepare(CLOUD),)
    assert state.active is None
    assert state.profile.score_reference is not None
    for tier in ("cloud", "end"):
        state, actions = step(state, Ready(5.1, CLOUD, tier))
        assert (state.active, actions) == (None, ())
    state, actions = step(state, Ready(5.2, CLOUD, "edge"))
    assert state.active == CLOUD
    assert of_kind(actions, Activate)[0].reason.startswith("first plan: score 0.2")
    assert state.pending is None


def test_a_slow_link_is_believed_after_four_requests_and_the_reason_says_so():
    state, actions = feed(started(), throttled(chain(VGG)), (1, 2.5, 4))
    assert not of_kind(actions, Prepare)
    assert of_kind(actions, ProbeLink)  # more evidence at once, since requests are rare
    state, actions = feed(state, throttled(chain(VGG)), (5.5,))
    assert of_kind(actions, Prepare) == [Prepare(EDGE)]
    state, actions = make_ready(state, EDGE, 5.6)
    reason = of_kind(actions, Activate)[0].reason
    assert reason.startswith("link edge->cloud 40.0 -> 0.6")
    assert "MB/s: score 1." in reason
    assert reason.endswith("-> 0.366")


def test_an_alarm_on_a_tier_shows_in_the_current_profile():
    slow = chain(VGG).with_tier(replace(chain(VGG).tier("edge"), slowdown=2.0))
    state, _ = feed(started(), slow, (1, 1.3, 1.6, 1.9), plan=EVERYWHERE)
    profile = current_profile(state)
    assert profile.tier("edge").slowdown == pytest.approx(2.0)
    assert profile.tier("end").slowdown == pytest.approx(1.0)
    assert profile.link("edge", "cloud").bytes_per_s == pytest.approx(FAST, rel=0.1)


def sample(tier: str, hop_s: float, sent: int, reply: int, gap_s: float = math.inf) -> TierTiming:
    return TierTiming(tier, 0, 0, 0.0, 0.0, hop_s, hop_s, gap_s, sent, reply, 0.0)


EDGE_ANSWER = sample("edge", 0.0, 0, 1000)


@pytest.mark.parametrize(
    ("seconds", "sent", "reply", "gap_s", "there", "back"),
    [
        (1.0, 600_000, 1000, math.inf, 6e5, FAST),  # the payload is charged
        (1.0, 1000, 600_000, math.inf, FAST, 6e5),  # the larger reply is charged
        (1.0, 600_000, 1000, 0.1, 6e6, FAST),  # payloads queue: the gap bounds the time
        (1.0, 2000, 1000, math.inf, FAST, FAST),  # a few packets say nothing of the rate
        (0.0004, 10_000, 1000, math.inf, FAST, FAST),  # within latency's jitter: fast enough
    ],
)
def test_what_a_transfer_says_of_the_rate(seconds, sent, reply, gap_s, there, back):
    hop = (sample("end", 0.001 + seconds, sent, 0), sample("edge", 0.0, 0, reply, gap_s))
    state = started()
    for at_s in (1, 2, 3, 4):
        state, _ = step(state, Observed(at_s, hop))
    rates = [state.beliefs.links[pair].rate.value for pair in (("end", "edge"), ("edge", "end"))]
    assert rates == pytest.approx([there, back], rel=0.01)


def test_a_transfer_that_is_seconds_late_is_believed_at_once():
    late = (sample("end", 20.0, 12_000_000, 0), sample("edge", 0.0, 0, 1000))
    state, _ = step(started(), Observed(21.0, late))
    assert state.beliefs.links["end", "edge"].rate.value == pytest.approx(6e5, rel=0.01)
    assert not state.beliefs.links["end", "edge"].in_doubt(0.0)


def test_a_transfer_that_is_late_by_jitter_is_doubted_first():
    late = (sample("end", 1.5, 900_000, 0), sample("edge", 0.0, 0, 1000))
    state, _ = step(started(), Observed(2.0, late))
    believed = state.beliefs.links["end", "edge"]
    assert believed.rate.value > FAST / 2
    assert believed.in_doubt(0.0)


def test_a_slow_transfer_that_was_expected_to_take_seconds_is_no_change():
    state = started()
    for at_s in (1, 2, 3, 4):
        state, _ = step(state, Observed(at_s, (sample("end", 20.0, 12_000_000, 0), EDGE_ANSWER)))
    before = state.beliefs.links["end", "edge"].rate
    noisy = (sample("end", 23.0, 12_000_000, 0), EDGE_ANSWER)
    state, _ = step(state, Observed(5.0, noisy))
    after = state.beliefs.links["end", "edge"].rate
    assert not after.changed
    assert after.value == pytest.approx(before.value, rel=0.1)


def test_a_probe_tells_latency_from_rate():
    state = started()
    for at_s in (1, 2, 3, 4):
        seconds = 2 * 0.05 + 400_000 / FAST
        state, _ = step(state, LinkProbed(at_s, "edge", "cloud", 400_000, seconds, 0.05))
    profile = current_profile(state)
    assert profile.link("edge", "cloud").latency_s == pytest.approx(0.05, rel=0.1)
    assert profile.link("cloud", "edge").latency_s == pytest.approx(0.05, rel=0.1)
    assert profile.link("edge", "cloud").bytes_per_s == pytest.approx(FAST, rel=0.01)


def test_one_fast_probe_is_doubted_and_asked_again_four_are_believed():
    state = on_edge()
    answers = []
    for i in range(4):
        state, actions = step(state, probed(8.1 + i / 100, FAST))
        answers.append(actions)
    for actions in answers[:3]:
        assert not of_kind(actions, Prepare)
        assert [(a.source, a.target) for a in of_kind(actions, ProbeLink)] == [("edge", "cloud")]
    assert of_kind(answers[3], Prepare) == [Prepare(CLOUD)]


def test_an_unused_slow_link_is_probed_every_half_second_and_briefly():
    state, asked = on_edge(), []
    for i in range(81, 121):
        state, actions = feed(state, throttled(chain(VGG)), (i / 10,))
        for probe in of_kind(actions, ProbeLink):
            asked.append(i / 10)
            assert (probe.source, probe.target) == ("edge", "cloud")
            assert 4096 <= probe.sent_bytes <= 16384
            assert probe.sent_bytes / SLOW <= 0.1
            state, _ = step(state, probed(i / 10, SLOW, probe.sent_bytes))
    assert 5 <= len(asked) <= 9
    assert min(b - a for a, b in pairwise(asked)) >= 0.5 - 1e-9


def test_the_longer_nothing_changes_the_rarer_it_is_asked():
    state, asked = on_edge(), []
    for i in range(81, 3000):
        state, actions = feed(state, throttled(chain(VGG)), (i / 10,))
        for probe in of_kind(actions, ProbeLink):
            asked.append(i / 10)
            state, _ = step(state, probed(i / 10, SLOW, probe.sent_bytes))
    gaps = [(a, b - a) for a, b in pairwise(asked)]
    assert max(gap for at_s, gap in gaps if at_s < 15) < 1.5
    assert all(0.03 * at_s < gap < 0.08 * at_s for at_s, gap in gaps if at_s > 100)


def test_a_probe_without_an_answer_is_repeated_after_two_seconds():
    state, asked = on_edge(), []
    asked = [state.asking["edge", "cloud"].asked_s]
    for i in range(81, 131):
        state, actions = step(state, Tick(i / 10))
        asked += [i / 10 for _ in of_kind(actions, ProbeLink)]
    assert min(b - a for a, b in pairwise(asked)) >= 2 - 1e-9
    assert len(asked) >= 3


def test_nothing_is_asked_while_there_are_no_requests():
    _, actions = step(on_edge(), Tick(30.0))
    assert actions == ()


@pytest.mark.parametrize(
    ("settings", "switches"),
    [
        (Settings(), True),
        (Settings(min_gain=0.9), False),
        (Settings(expected_stay_s=0.1), False),
        (Settings(switch_cost_s=60.0), False),
    ],
    ids=["default", "gain too small", "stay too short", "switch too dear"],
)
def test_a_switch_must_be_worth_it(settings, switches):
    _, actions = feed(started(settings=settings), throttled(chain(VGG)), range(1, 12))
    assert bool(of_kind(actions, Prepare)) == switches


def test_a_broken_latency_limit_bypasses_the_margin():
    settings = Settings(expected_stay_s=0.1)
    state = started(settings=settings, goal=replace(GOAL, latency_limit_s=0.25))
    assert state.active == CLOUD
    state, actions = feed(state, throttled(chain(VGG)), range(1, 8))
    assert of_kind(actions, Prepare)[0] == Prepare(EDGE)
    _, actions = make_ready(state, EDGE, 8.0)
    assert "limit 0.250 s" in of_kind(actions, Activate)[0].reason


def test_a_plan_is_entered_for_its_score_only_with_headroom_below_the_limit():
    goal = Goal(end_energy=0.0, total_energy=1.0, latency=0.0, latency_limit_s=0.41)
    state = replace(started(goal=goal), active=CLOUD)
    assert score(VGG, state.profile, goal) == END  # 0.400 s: within the limit, but barely
    state, actions = step(state, Tick(2.0))
    plan = of_kind(actions, Prepare)[0].plan
    assert plan != END
    assert CostModel(VGG, state.profile, goal).cost(plan).latency_s <= 0.95 * 0.41


def test_a_lost_tier_is_left_at_once_and_taken_back_when_it_joins():
    state, actions = step(started(), TierLost(1.0, "cloud"))
    assert of_kind(actions, Prepare) == [Prepare(EDGE)]
    state, actions = make_ready(state, EDGE, 1.2)
    assert of_kind(actions, Activate)[0].reason.startswith("tier cloud lost: score")
    state, actions = step(state, Tick(3.0))
    assert actions == ()
    state, actions = step(state, TierJoined(4.0, "cloud"))
    assert of_kind(actions, Prepare) == [Prepare(CLOUD)]
    _, actions = make_ready(state, CLOUD, 4.2)
    assert of_kind(actions, Activate)[0].reason.startswith("tier cloud back: score")


def test_losing_a_tier_of_the_pending_plan_gives_the_preparation_up():
    state, _ = begin(VGG, chain(VGG), GOAL, score, Settings(), 0.0)
    state, actions = step(state, TierLost(0.1, "cloud"))
    assert actions == (Prepare(EDGE),)
    state, actions = make_ready(state, CLOUD, 0.2)  # too late
    assert (state.active, actions) == (None, ())
    assert make_ready(state, EDGE, 0.3)[0].active == EDGE


def test_a_tier_that_joins_before_the_switch_cancels_it():
    state, _ = step(started(), TierLost(1.0, "cloud"))
    assert state.pending is not None
    state, actions = step(state, TierJoined(1.1, "cloud"))
    assert (state.pending, state.active, actions) == (None, CLOUD, ())


@pytest.mark.parametrize("failure", [Tick(11.1), PrepareFailed(2.0, EDGE, "edge")])
def test_a_plan_that_cannot_be_prepared_is_tried_again_only_later(failure):
    settings = Settings(prepare_timeout_s=10.0, retry_s=10.0)
    state, _ = step(started(settings=settings), TierLost(1.0, "cloud"))
    state, actions = step(state, failure)
    assert (state.pending, actions) == (None, ())
    state, actions = step(state, Tick(failure.at_s + 9.0))
    assert not of_kind(actions, Prepare)
    state, actions = step(state, Tick(failure.at_s + 10.1))
    assert of_kind(actions, Prepare) == [Prepare(EDGE)]


def test_doubt_raised_while_a_plan_is_prepared_stops_it():
    state = on_edge()
    for i in range(4):
        state, actions = step(state, probed(8.1 + i / 100, FAST))
    assert of_kind(actions, Prepare) == [Prepare(CLOUD)]
    state, _ = step(state, probed(8.2, SLOW))
    state, actions = make_ready(state, CLOUD, 8.3)
    assert not of_kind(actions, Activate)
    assert state.active == EDGE


@pytest.mark.parametrize("plan", [END, EDGE, CLOUD], ids=str)
def test_a_fixed_policy_is_quiet_whatever_happens(plan):
    state = started(policy=FixedPlan(plan))
    state, actions = feed(state, throttled(chain(VGG), SLOW), range(1, 10))
    for event in (TierLost(20.0, "cloud"), Tick(22.0), TierJoined(23.0, "cloud"), Tick(25.0)):
        state, more = step(state, event)
        actions += more
    assert (actions, state.active) == ([], plan)


@pytest.mark.parametrize(
    ("event", "error"),
    [
        (Tick(0.5), EventError),
        (Tick(math.nan), EventError),
        (TierLost(2.0, "mars"), UnknownNameError),
        (TierJoined(2.0, "mars"), UnknownNameError),
        (Ready(2.0, EDGE, "mars"), UnknownNameError),
        (PrepareFailed(2.0, EDGE, "mars"), UnknownNameError),
        (LinkProbed(2.0, "end", "cloud", 1000, 0.1, 0.01), UnknownNameError),
        (LinkProbed(2.0, "end", "edge", 0, 0.1, 0.01), EventError),
        (LinkProbed(2.0, "end", "edge", 1000, 0.1, -0.01), EventError),
        (Transferring(2.0, "end", "cloud", 1000, 0.1), UnknownNameError),
        (Transferring(2.0, "end", "edge", -1, 0.1), EventError),
        (Transferring(2.0, "end", "edge", 1000, math.nan), EventError),
        (TierMeasured(2.0, "mars", 0, 1, 0.1), UnknownNameError),
        (TierMeasured(2.0, "end", 3, 99, 0.1), EventError),
        (TierMeasured(2.0, "end", 0, 1, math.inf), EventError),
        (Observed(2.0, (sample("mars", 0.1, 1, 1),)), UnknownNameError),
        (Observed(2.0, (sample("end", -0.1, 1, 1),)), EventError),
        (Observed(2.0, (sample("end", 0.1, 1, 1), sample("cloud", 0, 1, 1))), UnknownNameError),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.__name__,
)
def test_an_illegal_event_raises_and_changes_nothing(event, error):
    state, _ = step(started(), Tick(1.0))
    before = replace(state)
    with pytest.raises(error):
        step(state, event)
    assert state == before
    assert step(state, Tick(2.0)) == step(before, Tick(2.0))


def test_an_event_of_the_same_instant_is_legal_and_repeats_are_harmless():
    state, _ = step(started(), TierLost(1.0, "cloud"))
    again, actions = step(state, TierLost(1.0, "cloud"))
    assert (again, actions) == (state, ())


def test_settings_refuse_what_is_no_duration():
    with pytest.raises(ConfigError, match="interval_s"):
        Settings(interval_s=-1.0)


def test_mobile_sized_requests_confirm_a_change_without_probes():
    state = started(graph=MOBILE)
    slow = throttled(chain(MOBILE), FAST / 8)
    actions = []
    for i in range(1, 8):
        event = request(state.active, slow, i / 10, MOBILE)
        state, more = step(state, event)
        actions += more
    assert of_kind(actions, Prepare)
    assert not of_kind(actions[: actions.index(of_kind(actions, Prepare)[0])], ProbeLink)


def moving(at_s: float, rate: float, seconds: float, is_over: bool = False) -> Transferring:
    return Transferring(at_s, "edge", "cloud", int(rate * seconds), seconds, is_over)


def test_a_slow_second_of_a_payload_under_way_is_believed():
    state, _ = step(started(), moving(1.0, 0.4 * FAST, 0.7))
    state, _ = step(state, moving(1.1, SLOW, 0.39))
    assert believed_rate(state) == pytest.approx(FAST)
    assert believed_rate(step(state, moving(1.2, 0.4 * FAST, 0.9))[0]) == pytest.approx(0.4 * FAST)
    state, actions = step(state, moving(1.2, SLOW, 0.41))
    assert believed_rate(state) == pytest.approx(SLOW, rel=1e-3)
    assert of_kind(actions, Prepare) == [Prepare(EDGE)]  # while the request is still under way
    state, actions = step(state, moving(1.3, SLOW, 0.51))  # which is no more news
    assert of_kind(actions, Prepare) == []


def test_a_link_is_slow_once_eight_payloads_in_a_row_were_taken_back_from_it_soon():
    """It was cheap to try, and a fade of a second is no slow link."""
    early = Transferring(1.0, "edge", "cloud", 1500, 0.15, is_over=True)
    state, whole = started(), chain(VGG)
    state, _ = feed(state, whole, (0.5, 0.9))
    for number in range(7):
        state, actions = step(state, replace(early, at_s=1.0 + number / 10))
        assert not of_kind(actions, ProbeLink)
    state, _ = feed(state, whole, (2.2,))  # one that came through
    for number in range(7):
        state, _ = step(state, replace(early, at_s=3.0 + number / 10))
    assert believed_rate(state) == pytest.approx(FAST, rel=0.1)
    state, _ = step(state, replace(early, at_s=4.5))
    assert believed_rate(state) == pytest.approx(4096 / 0.15)


def test_a_payload_that_was_given_up_raises_a_doubt_that_is_asked_about():
    state, actions = step(started(), moving(1.0, SLOW, 0.3, is_over=True))
    assert believed_rate(state) > FAST / 2
    assert [ask.target for ask in of_kind(actions, ProbeLink)] == ["cloud"]
    after, actions = step(state, moving(1.1, SLOW, 0.3, is_over=True))  # which is no chance
    assert believed_rate(after) == pytest.approx(SLOW, rel=1e-3)
    assert of_kind(actions, Prepare) == [Prepare(EDGE)]
    refuted, _ = step(state, probed(1.1, FAST))
    refuted, _ = step(refuted, moving(1.2, SLOW, 0.3, is_over=True))
    assert believed_rate(refuted) > FAST / 2


def test_of_a_few_packets_in_seconds_the_rate_is_at_most_so_much():
    state, actions = step(started(), Transferring(1.0, "edge", "cloud", 1000, 2.0))
    assert believed_rate(state) == pytest.approx(4096 / 2.0)
    assert of_kind(actions, Prepare) == [Prepare(EDGE)]


def test_a_link_that_broke_down_is_asked_again_within_patrol_s():
    """A probe of it took 8 s: at 5 % of the time the next one would be due after minutes."""
    state, _ = step(started(), Transferring(1.0, "edge", "cloud", 4096, 2.0))
    state, _ = make_ready(state, EDGE, 1.1)
    asked = []
    for tenth in range(12, 600):
        at_s = tenth / 10
        state, actions = step(state, request(state.active, chain(VGG), at_s))
        if of_kind(actions, ProbeLink):
            asked.append(at_s)
        if asked and at_s == pytest.approx(asked[-1] + 8.0):
            state, _ = step(state, probed(at_s, 2048.0, 16384))
    assert max(b - a for a, b in pairwise(asked)) < Settings().patrol_s + 10
    assert len(asked) >= 4


@pytest.mark.parametrize(
    "event",
    [
        moving(1.0, FAST, 2.0),
        moving(1.0, 0.6 * FAST, 2.0),  # near what is believed: its end will tell
        moving(1.0, 10 * FAST, 2.0),
        Transferring(1.0, "edge", "cloud", 0, 0.0),  # a pause
        Transferring(1.0, "edge", "cloud", 1000, 0.1),  # a packet, soon
        Transferring(1.0, "edge", "cloud", 0, 0.1, is_over=True),
    ],
)
def test_what_says_nothing_of_the_rate_changes_nothing(event):
    state = started()
    assert step(state, event)[0].beliefs == state.beliefs


def believed_rate(state: ControlState) -> float:
    return state.beliefs.links["edge", "cloud"].rate.value
