"""The caller's side of faults: sent again, finished in this process, refused late; never lost."""

import itertools
import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import msgspec
import pytest
import torch
from faults import Held, RemoteTier, until
from tiers import Additions, tiers

from edgesplit.active_workload import Route
from edgesplit.core.plan import parse_plan
from edgesplit.errors import ClosedError, DeadlineExceeded, RequestError
from edgesplit.last_resort import LastResort
from edgesplit.node import tensors, wire
from edgesplit.node.channel import Channel
from edgesplit.node.client import Client
from edgesplit.requests import Asked, Talk

X = torch.arange(12.0).reshape(3, 4)
BOUND_S = 20.0
PLAN = parse_plan("end:0-9")


class Whole(Additions):
    """The program as the caller has it."""

    def __len__(self):
        return 9


class Caller:
    """Asks one tier for the whole sum."""

    def __init__(self, address, program=None):
        self.address, self.client, self.last_resort = address, Client(address), LastResort()
        exported = SimpleNamespace(program=program or Whole())
        self._workload = SimpleNamespace(loaded=SimpleNamespace(exported=exported))
        self._ids = itertools.count()

    def talk(self):
        return Talk(lambda address: self.client, self.last_resort, 1)

    def asked(self, n=0, patience_s=0.3, timeout_s=BOUND_S):
        values, now_s = [X + n], time.perf_counter()
        specs, buffers = tensors.pack(values)
        hops, request_id = [wire.Hop("end", self.address, 0, 9)], f"r{next(self._ids)}"
        request = wire.Request(
            id=request_id, program="p", route=hops, at=0, timeout_s=timeout_s, values=specs
        )
        route = Route(PLAN, hops, patience_s)
        deadline_s = now_s + timeout_s
        return Asked(
            request_id, request, buffers, values, self._workload, route, now_s, deadline_s, True
        )

    def infer(self, n=0, **more):
        """(what came back, why)."""
        with self.talk() as talk:
            asked = self.asked(n, **more)
            talk.send(asked)
            outcome = talk.receive(asked)
        assert torch.equal(outcome.values[0], X + n + 36)
        return outcome.why

    def close(self):
        self.client.close()
        self.last_resort.close()


@contextmanager
def calling(address, program=None):
    caller = Caller(address, program)
    try:
        yield caller
    finally:
        caller.close()


@pytest.fixture
def end():
    with RemoteTier("end") as running:
        yield running


def test_a_first_tier_that_is_killed_is_done_without_at_once(end):
    with calling(end.address) as caller:
        assert caller.infer() == ""
        end.kill()
        began_s = time.monotonic()
        assert caller.infer(patience_s=30.0) == "end unreachable"
        assert time.monotonic() - began_s < 5


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
        assert 0.3 <= time.monotonic() - began_s < 3
        began_s = time.monotonic()
        assert caller.infer(patience_s=30.0) == "end silent"  # it is known to be silent
        assert time.monotonic() - began_s < 2
        end.wake()
        until(lambda: caller.infer() == "")


def test_whoever_is_freed_finds_the_tier_silent(end, monkeypatch):
    """Else the next request, sent at once, would wait for the frozen tier all over again."""
    give_up, found = Channel.give_up, []

    def and_ask_again(channel):
        give_up(channel)
        with pytest.raises(RequestError) as told, caller.client.channel():
            pass
        found.append(told.value.reason)

    with calling(end.address) as caller:
        assert caller.infer() == ""
        monkeypatch.setattr(Channel, "give_up", and_ask_again)
        end.freeze()
        assert caller.infer() == "end silent"
        until(lambda: found)
    assert set(found) == {"silent"}


def test_a_send_that_hangs_is_freed(end):
    with calling(end.address) as caller:
        end.freeze()
        large = torch.zeros(8_000_000)
        with caller.talk() as talk:
            asked = caller.asked()
            specs, asked.buffers = tensors.pack([large])
            asked.request = msgspec.structs.replace(asked.request, values=specs)
            asked.values = [large]
            talk.send(asked)
            assert torch.equal(talk.receive(asked).values[0], large + 36)


def test_a_send_that_hangs_costs_no_more_than_the_time_limit(end):
    with calling(end.address) as caller, caller.talk() as talk:
        end.freeze()
        large, began_s = [torch.zeros(8_000_000)], time.monotonic()
        asked = caller.asked(patience_s=60.0, timeout_s=0.3)
        specs, asked.buffers = tensors.pack(large)
        asked.request = msgspec.structs.replace(asked.request, values=specs)
        talk.send(asked)
        with pytest.raises(DeadlineExceeded):
            talk.receive(asked)
        assert time.monotonic() - began_s < 5


@pytest.mark.parametrize("fault", ["kill", "freeze"])
def test_all_in_flight_end_right_and_in_order_when_the_first_tier_goes(fault):
    with RemoteTier("end", 0.005) as end, calling(end.address) as caller, caller.talk() as talk:
        waiting = [caller.asked(n) for n in range(40)]
        whys = []
        for n, asked in enumerate(waiting):
            talk.send(asked)
            if n == 15:
                getattr(end, fault)()
        for n, asked in enumerate(waiting):
            outcome = talk.receive(asked)
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
        with pytest.raises(RequestError, match="connection to the first tier lost"):
            caller.infer(patience_s=0.0)


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
        caller.talk() as talk,
    ):
        blocking = [caller.asked(n, patience_s=30.0) for n in range(2)]
        talk.send(blocking[0])
        assert held.begun.acquire(timeout=10)
        talk.send(blocking[1])
        began_s = time.monotonic()
        with pytest.raises(
            DeadlineExceeded, match=r"busy until the time limit|no answer within|no time is left"
        ):
            caller.infer(patience_s=30.0, timeout_s=0.5)
        assert time.monotonic() - began_s < 5.0  # and not the 30 s of patience
        held.go_on.set()
        assert all(talk.receive(asked).values for asked in blocking)


def test_a_time_limit_holds_for_the_last_resort_too(end):
    end.kill()
    with (
        calling(end.address, Whole(seconds_per_layer=0.2)) as caller,
        pytest.raises(DeadlineExceeded, match="the caller itself could not finish"),
    ):
        caller.infer(timeout_s=0.3)


def test_a_closed_client_is_no_lost_tier(end):
    with RemoteTier("end", 0.5) as slow, calling(slow.address) as caller:
        closing = threading.Timer(0.3, caller.client.close)
        closing.start()
        with pytest.raises(ClosedError):
            caller.infer(patience_s=30.0)
        closing.join(10)


def test_the_last_resort_leaves_the_callers_threads_alone():
    before, resort = torch.get_num_threads(), LastResort()
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
