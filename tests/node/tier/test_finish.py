"""A tier that is lost, frozen, late or unable: the one before it finishes, exactly once."""

import threading
import time

import pytest
import torch
from faults import BreakingLink, Held, RemoteTier, until
from inside_node import after_freeing, has_unclaimed, jobs_of
from tiers import Additions, tiers

from edgesplit.errors import DeadlineExceeded, RequestError, RuntimeUnavailableError
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.next_tier import NextTier
from edgesplit.node.transport.peer import STUBBORN_FACTOR

ROUTE = [("end", 0, 3), ("edge", 3, 5), ("cloud", 5, 9)]
X = torch.arange(12.0).reshape(3, 4)
RIGHT = X + sum(range(9))
PATIENCE_S = 0.3
BOUND_S = 60.0  # of a request: far above what it takes
FOR_EVER_S = 10_000.0  # of patience: whoever waited for its end would be over the bound


@pytest.fixture
def three():
    with tiers() as running:
        yield running


def finished(running, stages=ROUTE, failover_after_s=PATIENCE_S, x=X, **more):
    """Who finished what, and why, of a request whose answer is right."""
    answer = running.infer([x], stages, BOUND_S, failover_after_s=failover_after_s, **more)
    assert torch.equal(answer.values[0], x + 36)
    return [(s.tier, s.start, s.stop, s.failed_over) for s in answer.timings]


def move(running, tier, address):
    """Let requests take another way to the tier."""
    running.addresses[tier] = address


BY_EDGE = [("end", 0, 3, ""), ("edge", 3, 9, "cloud unreachable")]


def test_nothing_is_finished_elsewhere_where_all_is_well(three):
    assert finished(three) == [(*stage, "") for stage in ROUTE]


def test_a_tier_that_is_gone_before_the_connection_is_made(three):
    three.servers["cloud"].close()
    assert finished(three, failover_after_s=FOR_EVER_S) == BY_EDGE


def test_two_tiers_gone_at_once_leave_the_first(three):
    three.servers["cloud"].close()
    three.servers["edge"].close()
    assert finished(three) == [("end", 0, 9, "edge unreachable")]


def test_a_relay_finishes_too(three):
    three.servers["cloud"].close()
    timings = finished(three, [("end", 0, 0), ("edge", 0, 0), ("cloud", 0, 9)])
    assert timings == [("end", 0, 0, ""), ("edge", 0, 9, "cloud unreachable")]


def test_a_tier_killed_while_it_computes_is_done_without_at_once(three):
    with RemoteTier("cloud", 5.0) as cloud:
        move(three, "cloud", cloud.address)
        threading.Timer(0.2, cloud.kill).start()
        assert finished(three, failover_after_s=FOR_EVER_S) == BY_EDGE


def test_a_frozen_tier_is_done_without_after_the_patience_and_taken_back_when_it_answers(three):
    with RemoteTier("cloud") as cloud:
        move(three, "cloud", cloud.address)
        assert finished(three)[-1] == ("cloud", 5, 9, "")
        cloud.freeze()
        began_s = time.monotonic()
        assert finished(three)[-1] == ("edge", 3, 9, "cloud silent")
        assert time.monotonic() - began_s >= PATIENCE_S
        # Nobody waits for it a second time.
        assert finished(three, failover_after_s=FOR_EVER_S)[-1] == ("edge", 3, 9, "cloud silent")
        cloud.wake()
        until(lambda: finished(three)[-1] == ("cloud", 5, 9, ""))


def test_whoever_is_freed_finds_the_tier_silent(three, monkeypatch):
    """Else the next request, sent on at once, would wait for the frozen tier all over again."""
    found = []

    def ask_again(next_tiers):
        for to in next_tiers:
            if to.tier == "cloud":
                with pytest.raises(TimeoutError, match="it was silent"):
                    to.open(BOUND_S)
                found.append(to)

    after_freeing(monkeypatch, ask_again)
    with RemoteTier("cloud") as cloud:
        move(three, "cloud", cloud.address)
        finished(three)
        cloud.freeze()
        assert finished(three)[-1] == ("edge", 3, 9, "cloud silent")
        until(lambda: found)


def test_a_request_that_is_sent_while_a_tier_is_put_down_finds_it_silent(three, monkeypatch):
    """Its connection is closed under it, by this side: that tells nothing of who listens there."""
    opened = NextTier.open

    def and_put_down(to, wait_s):
        link = opened(to, wait_s)
        if to.tier == "cloud":
            to.peer.put_down()
        return link

    finished(three)
    monkeypatch.setattr(NextTier, "open", and_put_down)
    assert finished(three)[-1] == ("edge", 3, 9, "cloud silent")


def test_a_frozen_tier_whose_buffers_are_full_holds_nobody_up(three):
    """The compute thread hangs in send(); giving the tier up must free it."""
    large = torch.zeros(8_000_000)  # 32 MB, more than any socket takes in
    with RemoteTier("cloud") as cloud:
        move(three, "cloud", cloud.address)
        cloud.freeze()
        timings = finished(three, x=large, failover_after_s=1.0)
    assert timings[-1] == ("edge", 3, 9, "cloud silent")


def test_many_in_flight_to_a_frozen_tier_are_all_finished_in_order(three):
    with RemoteTier("cloud") as cloud, three.client.channel() as channel:
        move(three, "cloud", cloud.address)
        finished(three)
        cloud.freeze()
        requests = [
            three.request([X + n], ROUTE, BOUND_S, failover_after_s=PATIENCE_S) for n in range(20)
        ]
        for request, buffers in requests:
            channel.send(request, buffers, 30.0)
        answers = [channel.receive(request.id, BOUND_S) for request, _ in requests]
    assert all(torch.equal(a.values[0], RIGHT + n) for n, a in enumerate(answers))
    assert {a.timings[-1].failed_over for a in answers} == {"cloud silent"}


@pytest.mark.parametrize("n_bytes", [5, 100, 30_000])
def test_a_link_that_breaks_within_a_frame(three, n_bytes):
    with BreakingLink(three.servers["cloud"].address, n_bytes) as link:
        move(three, "cloud", link.address)
        timings = finished(three, x=torch.ones(20_000), failover_after_s=FOR_EVER_S)
    assert timings == BY_EDGE


def test_a_slow_tier_is_waited_for_as_long_as_it_answers_probes():
    with tiers(Additions(seconds_per_layer=0.1)) as slow:
        timings = finished(slow, [("end", 0, 0), ("edge", 0, 9)], failover_after_s=0.3)
    assert timings[-1] == ("edge", 0, 9, "")  # after 0.9 s


def test_a_queue_on_the_next_tier_is_no_silence():
    with tiers(Additions(seconds_per_layer=0.02)) as slow, slow.client.channel() as channel:
        stages = [("end", 0, 0), ("edge", 0, 9)]
        requests = [slow.request([X], stages, BOUND_S, failover_after_s=0.4) for _ in range(12)]
        for request, buffers in requests:
            channel.send(request, buffers)
        answers = [channel.receive(request.id, BOUND_S) for request, _ in requests]
    assert [a.timings[-1].tier for a in answers] == ["edge"] * 12


def test_a_reply_after_all_patience_is_dropped(three):
    """The tier lives, so it is waited for eight times as long; then its answer is not needed."""
    held, two = Held(), [("end", 0, 3), ("edge", 3, 9)]
    three.servers["edge"].worker.programs["p"] = held
    with three.client.channel() as channel:
        request, buffers = three.request([X], two, BOUND_S, failover_after_s=0.05)
        channel.send(request, buffers, 30.0)
        answer = channel.receive(request.id, BOUND_S)
        assert answer.timings[-1].failed_over == "edge silent"
        assert answer.timings[-1].own_s >= STUBBORN_FACTOR * 0.05
        assert torch.equal(answer.values[0], RIGHT)
        held.go_on.set()
        # The late reply is on its way; the next request's answer is its own all the same.
        request, buffers = three.request([X + 1], two, BOUND_S, failover_after_s=5.0)
        channel.send(request, buffers, 30.0)
        answer = channel.receive(request.id, BOUND_S)
        assert torch.equal(answer.values[0], RIGHT + 1)
        assert answer.timings[-1].tier == "edge"
        assert not has_unclaimed(channel)
    assert not jobs_of(three.servers["end"])


def test_a_tier_that_has_forgotten_the_program_is_done_without(three):
    del three.servers["cloud"].worker.programs["p"]
    assert finished(three) == [("end", 0, 3, ""), ("edge", 3, 9, "cloud unknown")]


def test_a_tier_restarted_at_its_address_is_used_again(three):
    with RemoteTier("cloud") as cloud:
        address = cloud.address
        move(three, "cloud", address)
        finished(three)
    assert finished(three) == BY_EDGE
    with RemoteTier("cloud", port=int(address.split(":")[1])):
        until(lambda: finished(three)[-1] == ("cloud", 5, 9, ""))


class Unable:
    """Cannot be prepared where it is."""

    def segment(self, start, stop, runtime="torch"):
        raise RuntimeUnavailableError("not here")


class Failing:
    """The model's own error; counts how often it was tried."""

    def __init__(self):
        self.runs = 0

    def segment(self, start, stop, runtime="torch"):
        def run(values):
            self.runs += 1
            raise ZeroDivisionError("such luck")

        return run


def test_a_range_that_cannot_be_prepared_there_is_run_here(three):
    three.servers["cloud"].worker.programs["p"] = Unable()
    assert finished(three) == [("end", 0, 3, ""), ("edge", 3, 9, "cloud unable")]


def test_the_models_own_error_comes_back_and_is_not_tried_elsewhere(three):
    failing = Failing()
    three.servers["cloud"].worker.programs["p"] = failing
    with pytest.raises(RequestError, match=r"'cloud' \(failed\).*such luck") as caught:
        finished(three)
    assert caught.value.reason == "failed"
    assert failing.runs == 1


def test_a_plan_that_is_to_be_measured_as_it_is_fails_instead(three):
    three.servers["cloud"].close()
    with pytest.raises(RequestError, match="unreachable"):
        finished(three, failover_after_s=0.0)


class OnlyOnnx(Additions):
    """A tier without torch."""

    def segment(self, start, stop, runtime="torch"):
        if runtime != "onnx":
            raise RuntimeUnavailableError("no torch here")
        return super().segment(start, stop)


def test_a_tier_without_torch_finishes_in_onnx(three):
    edge, cloud = three.servers["edge"], three.servers["cloud"]
    edge.worker.programs["p"] = OnlyOnnx()
    cloud.close()
    stages = [("end", 0, 0), ("edge", 0, 0), ("cloud", 0, 9)]
    assert finished(three, stages)[-1] == ("edge", 0, 9, "cloud unreachable")


def test_energy_and_seconds_of_who_finished_are_of_both_parts():
    with tiers(Additions(seconds_per_layer=0.01)) as running:
        running.servers["cloud"].close()
        answer = running.infer([X], ROUTE, BOUND_S, failover_after_s=1.0)
    edge = answer.timings[-1]
    assert edge.compute_s >= 0.06
    assert edge.energy_j >= 10.0 * edge.compute_s  # the meter is read around both
    assert (edge.hop_s, edge.sent_bytes) == (0.0, 0)


def test_a_request_past_its_limit_is_not_computed():
    held = Held()
    with tiers() as running, running.client.channel() as channel:
        running.servers["end"].worker.programs["p"] = held
        blocking, buffers = running.request([X], [("end", 0, 9)], BOUND_S)
        channel.send(blocking, buffers)
        assert held.begun.acquire(timeout=10)
        late, buffers = running.request([X], [("end", 0, 9)], 0.05)
        channel.send(late, buffers)
        began_s = time.monotonic()
        until(lambda: time.monotonic() > began_s + 0.1)
        held.go_on.set()
        with pytest.raises(DeadlineExceeded, match="queued"):
            channel.receive(late.id, 5.0)
        assert channel.receive(blocking.id, BOUND_S).values
    assert not held.begun.acquire(blocking=False), "the late one was computed in vain"


def test_the_rest_is_not_computed_past_the_limit(three):
    with RemoteTier("cloud") as cloud:
        move(three, "cloud", cloud.address)
        cloud.freeze()
        with pytest.raises(DeadlineExceeded, match=r"tier 'edge'.*no answer from cloud"):
            three.infer([X], ROUTE, 0.4, failover_after_s=FOR_EVER_S)


def test_what_nobody_waits_for_any_more_is_not_computed(three):
    held, end = Held(), three.servers["end"]
    end.worker.programs["p"] = held
    with three.client.channel() as first, three.client.channel() as second:
        for channel in (first, second):
            request, buffers = three.request([X], [("end", 0, 9)], BOUND_S)
            channel.send(request, buffers)
            if channel is first:
                assert held.begun.acquire(timeout=10)
                kept = request.id
        until(lambda: len(jobs_of(end)) == 2)
        second.close()
        until(lambda: sum(job.sender.is_gone for job in jobs_of(end)) == 1)
        held.go_on.set()
        assert torch.equal(first.receive(kept, BOUND_S).values[0], RIGHT)
        until(lambda: not jobs_of(end))
    assert not held.begun.acquire(blocking=False), "the second one was computed in vain"


def test_an_emulated_tier_that_slows_down_tenfold_is_slow_and_not_lost(three):
    for server in three.servers.values():
        server.worker.programs["p"] = Additions(seconds_per_layer=0.005)
    three.servers["cloud"].emulate(TierEmulation(10.0))
    timings = finished(three, failover_after_s=4 * 0.02 + 0.25)
    assert timings == [(*stage, "") for stage in ROUTE]
