"""Hedges: who holds the payload runs the rest where the answer is late; the first one counts."""

import threading
import time
from contextlib import contextmanager

import pytest
import torch
from faults import RemoteTier, until
from tiers import NAMES, Additions, tiers

from edgesplit.core.goal import Goal
from edgesplit.core.hedge import LEAST_S, WINDOW
from edgesplit.core.plan import parse_plan
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.record import Finished, record_of
from edgesplit.node.tier.emulate import LinkShape, TierEmulation
from edgesplit.node.transport import wire

STAGES = [("end", 0, 3), ("edge", 3, 6), ("cloud", 6, 9)]
PAST = [("end", 0, 0), ("edge", 0, 6), ("cloud", 6, 9)]  # the end computes nothing
X = torch.zeros(25_000)  # 100 kB
LONG_S = 60.0
SOON = wire.Hedge(rest_s=0.01, answer_s=0.01, price_s=0.0, sending=1.0, limit_s=0.0)
DEAR = wire.Hedge(rest_s=0.01, answer_s=0.01, price_s=1e5, sending=1.0, limit_s=0.0)
SLOW = TierEmulation(1.0, {"edge": LinkShape(10e3, 0.0)})  # 10 s for X


class Gated(Additions):
    """Ranges that a test holds wait until it lets them go on, each for itself."""

    def __init__(self):
        super().__init__()
        self.held, self.begun, self.ended = {}, [], []

    def hold(self, start, stop):
        self.held[start, stop] = threading.Event()

    def segment(self, start, stop, runtime="torch"):
        run = super().segment(start, stop, runtime)

        def gated(values):
            self.begun.append((start, stop))
            if (start, stop) in self.held:
                assert self.held[start, stop].wait(LONG_S)
            made = run(values)
            self.ended.append((start, stop))
            return made

        return gated


@pytest.fixture
def gated():
    program = Gated()
    yield program
    for gate in program.held.values():
        gate.set()


@pytest.fixture
def three(gated):
    with tiers(gated, hedge=1.0) as running:
        yield running
        for gate in gated.held.values():
            gate.set()


@contextmanager
def asking(running, **more):
    """A request under way meanwhile; what it is answered is the list's one item, at the end."""
    answers = []
    thread = threading.Thread(target=lambda: answers.append(infer(running, **more)))
    thread.start()
    yield answers
    thread.join(LONG_S)
    assert len(answers) == 1


def infer(running, x=X, hedges=None, told=None, stages=STAGES):
    """The timings of a request whose answer is right."""
    hedges = {"end": SOON} if hedges is None else hedges
    found = running.infer([x], stages, LONG_S, failover_after_s=40.0, hedges=hedges, told=told)
    assert torch.equal(found.values[0], x + 36)
    return found.timings


def test_what_would_leave_too_slowly_is_run_here(three, gated):
    three.servers["end"].emulate(SLOW)
    (timing,) = infer(three)
    assert (timing.stop, timing.failed_over) == (9, "edge late")
    assert (timing.hedged, timing.hedge_j) == ("", 0.0)  # no layer was run twice
    assert gated.begun == [(0, 3), (3, 9)]
    assert infer(three, torch.zeros(10))[-1].tier == "cloud"  # and holds up nobody


def test_what_is_given_up_says_so_with_all_its_seconds(three):
    three.servers["end"].emulate(TierEmulation(1.0, {"edge": LinkShape(1.0, 0.0)}))
    told = []
    assert infer(three, told=told.append)[0].failed_over == "edge late"
    (word,) = [word for word in told if word.is_over]
    assert word.target == "edge"
    assert word.moving_s > LEAST_S  # though next to nothing has moved


def test_what_is_run_twice_is_a_share_and_requests_run_here_alone_count_too(gated):
    with tiers(gated, hedge=1 / WINDOW) as running:
        running.servers["edge"].emulate(TierEmulation(1.0, {"cloud": LinkShape(200e3, 0.0)}))
        asked = {"edge": SOON}
        assert [infer(running, hedges=asked)[1].hedged for _ in range(2)] == ["won", ""]
        for _ in range(WINDOW - 2):
            running.infer([torch.zeros(1)], [("end", 0, 0), ("edge", 0, 9)], LONG_S)
        assert infer(running, hedges=asked)[1].hedged == "won"


def test_what_is_taken_back_is_run_once_and_needs_no_share(gated):
    with tiers(gated, hedge=0.0) as running:
        running.servers["end"].emulate(SLOW)
        assert [infer(running)[0].failed_over for _ in range(3)] == ["edge late"] * 3


def test_the_rests_of_two_late_requests_are_not_run_at_once(three, gated):
    """While the end is at the first one's, the second has time to arrive."""
    gated.hold(3, 9)
    three.servers["end"].emulate(SLOW)
    with asking(three) as first:
        until(lambda: (3, 9) in gated.begun, LONG_S)
        with asking(three, stages=PAST) as second:
            time.sleep(10 * LEAST_S)  # late by now
            three.servers["end"].emulate(TierEmulation())
            until(lambda: second, LONG_S)
        gated.held[3, 9].set()
    assert [timing.failed_over for timing in second[0]] == ["", "", ""]
    assert [timing.failed_over for timing in first[0]] == ["edge late"]


@pytest.mark.parametrize("error", [MemoryError("no room"), RuntimeError("cannot allocate")])
def test_what_was_taken_back_is_sent_after_all_where_its_rest_cannot_be_run(three, error):
    three.servers["end"].worker.programs["p"] = breaks = Breaks(error)
    three.servers["end"].emulate(TierEmulation(1.0, {"edge": LinkShape(100e3, 0.0)}))  # 1 s
    timings = infer(three)
    assert breaks.has_failed.is_set()
    assert [(t.tier, t.failed_over, t.hedged) for t in timings] == [
        ("end", "", ""), ("edge", "", ""), ("cloud", "", ""),
    ]  # fmt: skip


def test_joules_that_are_worth_more_than_time_forbid_it(three):
    three.servers["end"].emulate(TierEmulation(1.0, {"edge": LinkShape(200e3, 0.0)}))
    assert [timing.hedged for timing in infer(three, hedges={"end": DEAR})] == ["", "", ""]


def test_a_latency_limit_comes_before_joules(three):
    three.servers["end"].emulate(SLOW)
    promised = wire.Hedge(rest_s=0.01, answer_s=0.01, price_s=1e5, sending=1.0, limit_s=5.0)
    (timing,) = infer(three, hedges={"end": promised})
    assert timing.failed_over == "edge late"


def test_the_tier_that_is_nearest_to_the_slow_link_hedges(three):
    three.servers["edge"].emulate(TierEmulation(1.0, {"cloud": LinkShape(10e3, 0.0)}))
    told = []
    far = wire.Hedge(rest_s=0.3, answer_s=0.05, price_s=0.0, sending=1.0, limit_s=0.0)
    end, edge = infer(three, hedges={"end": far, "edge": SOON}, told=told.append)
    assert (end.hedged, edge.hedged, edge.stop) == ("", "won", 9)
    assert {(word.source, word.target) for word in told} <= {("edge", "cloud")}


def test_a_run_that_comes_second_counts_its_joules(three, gated):
    """The cloud computes for long, so the end begins as well; then the cloud answers."""
    gated.hold(6, 9), gated.hold(3, 9)
    with asking(three) as answers:
        until(lambda: (3, 9) in gated.begun, LONG_S)
        gated.held[6, 9].set()
    end, edge, cloud = answers[0]
    assert (end.hedged, end.stop, edge.hedged, cloud.stop) == ("lost", 3, "", 9)
    assert 0 < end.hedge_j < end.energy_j
    gated.held[3, 9].set()  # its end changes nothing any more
    until(lambda: (3, 9) in gated.ended, LONG_S)
    assert infer(three)[-1].tier == "cloud"


def test_the_loser_is_told_and_does_not_begin(three, gated):
    """What waits in a queue when the other one answers never begins; nobody else is disturbed."""
    gated.hold(6, 9)
    with asking(three) as slow:
        until(lambda: (6, 9) in gated.begun, LONG_S)
        with asking(three) as queued:  # behind it on the cloud; both are run by the end
            until(lambda: queued and slow, LONG_S)
    assert {answers[0][0].hedged for answers in (slow, queued)} == {"won"}
    gated.held[6, 9].set()
    gated.held.clear()
    assert infer(three)[-1].tier == "cloud"
    assert gated.begun.count((6, 9)) == 2  # the first and the last


def test_a_tier_that_is_lost_leaves_the_hedge_alone(three, gated):
    gated.hold(3, 9)
    gated.hold(3, 6)
    gated.hold(6, 9)  # so that the cloud is not there before the edge is lost
    with asking(three) as answers:
        until(lambda: {(3, 9), (3, 6)} <= set(gated.begun), LONG_S)
        gated.held[3, 6].set()
        three.servers["edge"].close()
        gated.held[3, 9].set()
    (timing,) = answers[0]
    assert (timing.stop, timing.failed_over.split()[0]) == (9, "edge")
    assert gated.begun.count((3, 9)) == 1


def test_a_frozen_tier_is_given_up_soon_where_no_share_is_left(gated):
    with RemoteTier("cloud") as cloud, tiers(gated, hedge=0.0) as running:
        running.addresses["cloud"] = cloud.address
        infer(running, hedges={})  # which connects
        began_s = time.monotonic()
        cloud.freeze()
        timings = infer(running, hedges={"edge": SOON})
        assert [(t.tier, t.start, t.stop, t.failed_over) for t in timings] == [
            ("end", 0, 3, ""), ("edge", 3, 9, "cloud silent"),
        ]  # fmt: skip
        assert time.monotonic() - began_s < 20.0  # its failover timeout is 40 s
        cloud.wake()
        until(lambda: infer(running, hedges={})[-1].tier == "cloud")


def test_a_tier_that_lives_is_waited_for_where_no_share_is_left(gated):
    gated.hold(6, 9)
    with tiers(gated, hedge=0.0) as running, asking(running, hedges={"edge": SOON}) as answers:
        until(lambda: (6, 9) in gated.begun)
        time.sleep(3.0)  # three times what a silent one gets
        gated.held[6, 9].set()
    assert [(t.tier, t.failed_over) for t in answers[0]] == [
        ("end", ""), ("edge", ""), ("cloud", ""),
    ]  # fmt: skip


def test_a_hedge_that_fails_leaves_it_to_the_other_one(three, gated):
    gated.hold(6, 9)
    three.servers["end"].worker.programs["p"] = breaks = Breaks()
    with asking(three) as answers:
        until(lambda: breaks.has_failed.is_set(), LONG_S)
        gated.held[6, 9].set()
    assert [timing.hedged for timing in answers[0]] == ["lost", "", ""]


class Breaks(Additions):
    """Cannot run what is left behind its own layers."""

    def __init__(self, error=None):
        super().__init__()
        self.error = error or MemoryError("no room")
        self.has_failed = threading.Event()

    def segment(self, start, stop, runtime="torch"):
        if stop == 9:
            self.has_failed.set()
            if not isinstance(self.error, MemoryError):
                return self.fail  # while it runs, not while it is prepared
            raise self.error
        return super().segment(start, stop, runtime)

    def fail(self, values):
        raise self.error


def test_a_cancelled_request_is_given_up_along_the_route(three, gated):
    gated.hold(3, 6)
    request, buffers = three.request([X], STAGES, LONG_S, failover_after_s=40.0)
    later, more = three.request([X], STAGES, LONG_S, failover_after_s=40.0)
    with three.client.channel() as channel:
        channel.send(request, buffers)
        until(lambda: (3, 6) in gated.begun, LONG_S)
        channel.send(later, more)
        channel.cancel(later.id)
        channel.cancel(request.id)
        # Behind them on every connection, and the edge has nothing to compute for it.
        past = [("end", 0, 3), ("edge", 3, 3), ("cloud", 3, 9)]
        third, values = three.request([X], past, LONG_S)
        channel.send(third, values)
        assert torch.equal(channel.receive(third.id, LONG_S).values[0], X + 36)
        assert channel.is_fit  # both were said to be gone
        gated.held[3, 6].set()
    assert infer(three)[-1].tier == "cloud"
    assert gated.begun.count((3, 6)) == 2  # the first, and the last
    assert gated.begun.count((6, 9)) == 1


def test_the_record_says_who_ran_layers_twice(three):
    three.servers["edge"].emulate(TierEmulation(1.0, {"cloud": LinkShape(10e3, 0.0)}))
    timings = infer(three, hedges={"edge": SOON})
    profile, plan = profile_of(NAMES, 9), parse_plan("end:0-3 | edge:3-6 | cloud:6-9")
    record = record_of(Finished("r", 0.0, "m", plan, 1.0, timings), profile, Goal())
    assert (record.hedged, record.why, record.finished_by) == ("edge won", "cloud late", "edge")
    by_caller = Finished("r", 0.0, "m", plan, 1.0, (), "end late", "won")
    assert record_of(by_caller, profile, Goal()).hedged == "caller won"


def profile_of(names, n):
    power = Power(10.0, 5.0, 5.0, 1.0)
    links = [Link(a, b, 0.001, 1e8) for a in names for b in names if a != b]
    return Profile(tuple(Tier(name, (0.001,) * n, power) for name in names), tuple(links))
