"""The caller's side of faults: sent again, finished in this process, refused late; never lost."""

import threading
import time

import msgspec
import pytest
import torch
from caller import BOUND_S, Whole, X, calling
from faults import Held, RemoteTier, until
from tiers import Additions, tiers

from edgesplit.caller.local_fallback import LocalFallback
from edgesplit.errors import ClosedError, DeadlineExceeded, RequestError
from edgesplit.node.transport import tensors
from edgesplit.node.transport.connection import Connection

FOR_EVER_S = 10_000.0  # of patience: whoever waited for its end would be over the test's time limit


@pytest.fixture
def end():
    with RemoteTier("end") as running:
        yield running


def test_a_first_tier_that_is_killed_is_done_without_at_once(end):
    with calling(end.address) as caller:
        assert caller.infer() == ""
        end.kill()
        assert caller.infer(failover_after_s=FOR_EVER_S) == "end unreachable"


def test_a_connection_that_broke_while_idle_is_made_anew():
    with RemoteTier("end") as first, calling(first.address) as caller:
        caller.infer()
        first.kill()
        with RemoteTier("end", port=int(first.address.split(":")[1])):
            assert caller.infer() == ""


def test_a_frozen_first_tier_is_done_without_and_taken_back(end):
    with calling(end.address) as caller:
        assert caller.infer() == ""
        end.freeze()
        began_s = time.monotonic()
        assert caller.infer() == "end silent"
        assert time.monotonic() - began_s >= 0.3
        assert caller.infer(failover_after_s=FOR_EVER_S) == "end silent"  # it is known to be silent
        end.wake()
        until(lambda: caller.infer() == "")


def test_whoever_is_freed_finds_the_tier_silent(end, monkeypatch):
    """Else the next request, sent at once, would wait for the frozen tier all over again."""
    give_up, found = Connection.give_up, []

    def and_ask_again(connection):
        give_up(connection)
        with pytest.raises(RequestError) as told, caller.client.channel():
            pass
        found.append(told.value.reason)

    with calling(end.address) as caller:
        assert caller.infer() == ""
        monkeypatch.setattr(Connection, "give_up", and_ask_again)
        end.freeze()
        assert caller.infer() == "end silent"
        until(lambda: found)
    assert set(found) == {"silent"}


def test_a_send_that_hangs_is_freed(end):
    with calling(end.address) as caller:
        end.freeze()
        large = torch.zeros(8_000_000)
        with caller.sender() as sender:
            pending = caller.pending()
            specs, pending.buffers = tensors.pack([large])
            pending.request = msgspec.structs.replace(pending.request, values=specs)
            pending.values = [large]
            sender.send(pending)
            assert torch.equal(sender.receive(pending).values[0], large + 36)


def test_a_send_that_hangs_costs_no_more_than_the_time_limit(end):
    with calling(end.address) as caller, caller.sender() as sender:
        end.freeze()
        large = [torch.zeros(8_000_000)]
        pending = caller.pending(failover_after_s=FOR_EVER_S, timeout_s=0.3)
        specs, pending.buffers = tensors.pack(large)
        pending.request = msgspec.structs.replace(pending.request, values=specs)
        sender.send(pending)
        with pytest.raises(DeadlineExceeded):
            sender.receive(pending)


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_all_in_flight_end_right_and_in_order_when_the_first_tier_goes(fault):
    with RemoteTier("end", 0.005) as end, calling(end.address) as caller, caller.sender() as sender:
        waiting = [caller.pending(n) for n in range(40)]
        whys = []
        for n, pending in enumerate(waiting):
            sender.send(pending)
            if n == 15:
                getattr(end, fault)()
        for n, pending in enumerate(waiting):
            outcome = sender.receive(pending)
            assert torch.equal(outcome.values[0], X + n + 36)
            whys.append(outcome.why)
        assert whys[-1] in ("end unreachable", "end silent")


def test_a_caller_finishes_what_a_restarted_tier_does_not_know(end):
    with tiers() as running, calling(running.addresses["end"]) as caller:
        del running.servers["end"].worker.programs["p"]
        assert caller.infer() == "end unknown"


class Failing:
    def __len__(self):
        return 9

    def segment(self, start, stop, runtime="torch"):
        def run(values):
            raise ZeroDivisionError("such luck")

        return run


def test_the_models_own_error_is_clear_wherever_it_is_met(end):
    with (
        tiers(Failing()) as running,
        calling(running.addresses["end"]) as caller,
        pytest.raises(RequestError, match=r"'end' \(failed\).*such luck"),
    ):
        caller.infer()
    end.kill()
    with (
        calling(end.address, Failing()) as caller,
        pytest.raises(RequestError, match=r"failed in the caller's process.*such luck"),
    ):
        caller.infer()


def test_a_plan_that_is_to_be_measured_as_it_is_fails_instead(end):
    with calling(end.address) as caller:
        caller.infer()
        end.kill()
        with pytest.raises(RequestError, match="cannot connect to"):
            caller.infer(failover_after_s=0.0)


def test_64_callers_of_a_tier_that_queues_two_all_get_their_answers():
    with (
        tiers(Additions(seconds_per_layer=0.0005), max_queue=2) as running,
        calling(running.addresses["end"]) as caller,
    ):
        whys = {}

        def call(n):
            whys[n] = [caller.infer(n + 100 * k) for k in range(3)]

        threads = [threading.Thread(target=call, args=(n,)) for n in range(64)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
    assert whys == {n: ["", "", ""] for n in range(64)}


def test_a_tier_that_stays_busy_costs_the_time_limit_and_no_more():
    held = Held()
    with (
        tiers(held, max_queue=1) as running,
        calling(running.addresses["end"]) as caller,
        caller.sender() as sender,
    ):
        blocking = [caller.pending(n, failover_after_s=30.0) for n in range(2)]
        sender.send(blocking[0])
        assert held.begun.acquire(timeout=10)
        sender.send(blocking[1])
        with pytest.raises(
            DeadlineExceeded, match=r"busy until the time limit|no answer within|no time is left"
        ):
            caller.infer(failover_after_s=FOR_EVER_S, timeout_s=0.5)
        held.go_on.set()
        assert all(sender.receive(pending).values for pending in blocking)


def test_a_time_limit_holds_for_the_last_resort_too(end):
    end.kill()
    with (
        calling(end.address, Whole(seconds_per_layer=0.2)) as caller,
        pytest.raises(DeadlineExceeded, match="the caller itself could not finish"),
    ):
        caller.infer(timeout_s=0.3)


def test_a_closed_client_is_no_lost_tier(end):
    with RemoteTier("end", 2.0) as slow, calling(slow.address) as caller:
        closing = threading.Timer(0.3, caller.client.close)
        closing.start()
        with pytest.raises(ClosedError):
            caller.infer(failover_after_s=30.0)
        closing.join(10)


def test_the_last_resort_leaves_the_callers_threads_alone():
    before, resort = torch.get_num_threads(), LocalFallback()
    seen = []

    class Counting(Whole):
        def segment(self, start, stop, runtime="torch"):
            return lambda values: [seen.append(torch.get_num_threads())]

    resort.run(Counting(), [X], 1, BOUND_S)
    resort.close()
    other = []
    thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
    thread.start()
    thread.join(10)
    assert (seen, torch.get_num_threads(), other) == ([1], before, [before])
