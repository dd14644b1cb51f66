"""Tiers over real sockets: routes, relays, refusals, limits, emulation."""

import socket
import threading
import time
from contextlib import contextmanager

import msgspec
import pytest
import torch
from faults import Held, until
from inside_node import awaits_reply, jobs_of, limit_jobs, prefix
from tiers import Additions, tiers

from edgesplit.errors import (
    ClosedError,
    DeadlineExceeded,
    RequestError,
    RuntimeUnavailableError,
)
from edgesplit.node.tier.emulate import LinkShape, TierEmulation
from edgesplit.node.transport import arrays, tensors, wire
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.greeting import greet

ROUTE = [("end", 0, 3), ("edge", 3, 5), ("cloud", 5, 9)]


@pytest.fixture(scope="module")
def three():
    with tiers() as running:
        yield running


@pytest.mark.parametrize(
    "stages",
    [
        [("end", 0, 9)],
        ROUTE,
        [("end", 0, 0), ("cloud", 0, 9)],
        [("end", 0, 0), ("edge", 0, 0), ("cloud", 0, 9)],
        [("end", 0, 4), ("cloud", 4, 6), ("edge", 6, 9)],
    ],
    ids=str,
)
def test_every_route_gives_the_whole_sum(three, stages):
    x = torch.arange(15.0).reshape(3, 5).t()
    answer = three.infer([x, 7], stages)
    assert torch.equal(answer.values[0], x + sum(range(9)))
    assert answer.values[1] == 7 + sum(range(9))
    assert [(s.tier, s.start, s.stop) for s in answer.timings] == stages


def test_samples_nest(three):
    end, edge, cloud = three.infer([torch.randn(10_000)], ROUTE).timings
    assert end.own_s >= end.hop_s >= edge.own_s >= edge.hop_s >= cloud.own_s > cloud.compute_s
    assert cloud.hop_s == 0
    assert end.sent_bytes == edge.sent_bytes == cloud.reply_bytes == 40_000
    assert end.energy_j >= 10.0 * end.compute_s  # the meter is read around it


class Odd:
    """Gives what no frame can carry."""

    def segment(self, start, stop, runtime="torch"):
        return lambda values: [object()]


class Picky(Additions):
    """`onnx` here runs no negative numbers, `cuda` nothing at all; what ran is kept."""

    def __init__(self):
        super().__init__()
        self.shown = []

    def segment(self, start, stop, runtime="torch"):
        run = super().segment(start, stop)
        if runtime == "cuda":
            raise RuntimeUnavailableError("no GPU here")

        def picky(values):
            if runtime == "onnx" and (values[0] < 0).any():
                raise RuntimeUnavailableError("not these")
            return run(values)

        return picky

    def ran(self, ran):
        self.shown.append((ran.start, ran.stop, ran.runtime, ran.made[0] - ran.given[0]))


@pytest.mark.parametrize(
    ("planned", "x", "ran"),
    [
        ("onnx", 1.0, "onnx"),
        ("onnx", -1.0, "torch"),
        ("cuda", 1.0, "torch"),
        ("torch", 1.0, "torch"),
    ],
)
def test_what_cannot_run_as_planned_runs_in_torch_and_says_so(planned, x, ran):
    picky = Picky()
    with tiers(picky) as running, running.client.channel() as channel:
        request, buffers = running.request([torch.full((2,), float(x))], [("end", 0, 9)])
        request.route[0] = msgspec.structs.replace(request.route[0], runtime=planned)
        channel.send(request, buffers)
        answer = channel.receive(request.id, 5.0)
        assert answer.timings[0].runtime == ran
        assert answer.values[0].tolist() == [x + 36] * 2
        # What another runtime has made is looked at once the answer has left: behind it.
        running.servers["end"].worker.call(lambda: None).result(5.0)
    shown = [(*bounds, runtime, made.tolist()) for *bounds, runtime, made in picky.shown]
    assert shown == ([(0, 9, "onnx", [36.0] * 2)] if ran == "onnx" else [])


@pytest.mark.parametrize("stages", [[("end", 0, 3), ("edge", 3, 9)], [("end", 0, 9)]], ids=str)
def test_a_payload_that_cannot_travel_is_refused_and_the_tier_goes_on(three, stages):
    three.servers["end"].worker.programs["odd"] = Odd()
    for _ in range(2):
        with pytest.raises(RequestError, match=r"tier 'end' \(failed\): its payload cannot be"):
            three.infer([torch.ones(1)], stages, program="odd")
    assert three.infer([torch.ones(1)], ROUTE).values[0] == 37


@pytest.mark.parametrize("address", ["x", "127.0.0.1:no", "127.0.0.1:99999999", "é" * 200 + ":1"])
@pytest.mark.parametrize("stop", [0, 3], ids=["relay", "segment"])
def test_an_address_that_is_none_is_refused_and_the_tier_goes_on(three, address, stop):
    request, buffers = three.request([torch.ones(1)], [("end", 0, stop), ("edge", stop, 9)])
    request.route[1] = wire.Hop("edge", address, stop, 9)
    with three.client.channel() as channel:
        channel.send(request, buffers)
        with pytest.raises(RequestError, match="unreachable"):
            channel.receive(request.id, 5.0)
    assert three.infer([torch.ones(1)], ROUTE).values[0] == 37


def test_a_relay_bears_so_many_requests_and_no_more():
    held = Held()
    with tiers(held) as running, running.client.channel() as channel:
        limit_jobs(running.servers["end"], 1)
        relayed = [("end", 0, 0), ("edge", 0, 9)]
        requests = [running.request([torch.ones(1)], relayed, 20.0) for _ in range(10)]
        for request, buffers in requests:
            channel.send(request, buffers)
        for request, _ in requests[4:]:
            with pytest.raises(RequestError, match=r"'end' \(busy\): 4 requests are under way"):
                channel.receive(request.id, 20.0)
        held.go_on.set()
        assert all(channel.receive(request.id, 20.0).values for request, _ in requests[:4])
        assert running.infer([torch.ones(1)], relayed).values


def test_a_second_request_of_the_same_id_is_refused_and_leaves_nothing_behind():
    held = Held()
    with tiers(held) as running:
        end = running.servers["end"]
        request, buffers = running.request([torch.ones(1)], [("end", 0, 0), ("edge", 0, 9)], 20.0)
        with running.client.channel() as first, running.client.channel() as second:
            first.send(request, buffers)
            until(lambda: awaits_reply(end, request.id))
            second.send(request, buffers)
            with pytest.raises(RequestError, match=r"\(malformed\).*is under way already"):
                second.receive(request.id, 20.0)
            held.go_on.set()
            assert first.receive(request.id, 20.0).values
        assert not jobs_of(end)


def test_unknown_program_failing_segment_and_wrong_tier_are_refused(three):
    with pytest.raises(RequestError, match=r"tier 'edge' .*no program 'q'"):
        three.infer([torch.ones(1)], [("end", 0, 0), ("edge", 0, 9)], program="q")
    with pytest.raises(RequestError, match=r"tier 'end' .*failed"):
        three.infer([], [("end", 0, 9)], program="broken")
    assert three.infer([torch.ones(1)], ROUTE).values[0] == 37


@pytest.mark.parametrize(
    "stages", [ROUTE, [("end", 0, 4), ("edge", 4, 4), ("cloud", 4, 9)]], ids=str
)
def test_tiers_of_arrays_and_of_tensors_share_a_route(stages):
    with tiers(kinds={"edge": arrays}) as mixed:
        x = torch.arange(15.0).reshape(3, 5).t()
        (y,) = mixed.infer([x], stages).values
        assert torch.equal(y, x + sum(range(9)))
        assert y.stride() == x.stride()


def test_bfloat16_passes_a_relay_of_arrays_but_is_not_computed_on():
    with tiers(kinds={"edge": arrays}) as mixed:
        x = torch.randn(4, 4).to(torch.bfloat16)
        (y,) = mixed.infer([x], [("end", 0, 1), ("edge", 1, 1), ("cloud", 1, 1)]).values
        assert torch.equal(y, x)
        with pytest.raises(RequestError, match=r"tier 'edge' \(failed\)"):
            mixed.infer([x], [("end", 0, 1), ("edge", 1, 9)])


@pytest.fixture(scope="module", autouse=True)
def _broken_program(three):
    class Broken:
        def segment(self, start, stop, runtime="torch"):
            def run(values):
                raise ZeroDivisionError("no such luck")

            return run

    three.servers["end"].worker.programs["broken"] = Broken()


@contextmanager
def raw(server):
    """A plain socket to a server, for bytes that no client of ours would send."""
    host, port = server.address.split(":")
    with socket.create_connection((host, int(port)), timeout=5.0) as connected:
        greet(connected, "")
        yield connected


def refusal_to(server, data):
    with raw(server) as connected:
        connected.sendall(data)
        message, _ = Connection(connected, 1 << 20, tensors).receive()
        assert isinstance(message, wire.Refusal)
        return message


def test_malformed_frames_get_an_error_and_harm_nobody_else(three):
    end = three.servers["end"]
    request, _ = three.request([torch.ones(4)], [("end", 0, 9)])
    wrong_tier, _ = three.request([], [("edge", 0, 9)])
    for data, reason in [
        (b"GET / HTTP/1.1\r\n\r\n", "not an EdgeSplit frame"),
        (prefix(b"ESP", 7, 0, 0), "wire version 7"),
        (prefix(b"ESP", wire.VERSION, 2, 0) + b"\x93\x01", "malformed header"),
        (wire.encode(request), "declares 64 bytes of tensors, the body has 0"),
        (wire.encode(request, 4) + b"1234", "the body has 4"),
        (wire.encode(wrong_tier), "not for tier 'end'"),
        (wire.encode(wire.Echo(id="x")), "a Echo is not expected here"),
        (prefix(b"ESP", wire.VERSION, 10, 1 << 60), "over the limit"),
    ]:
        assert reason in refusal_to(end, data).message
        assert three.infer([torch.ones(1)], ROUTE).values[0] == 37


def test_a_connection_survives_a_frame_that_could_be_skipped(three):
    request, _ = three.request([torch.ones(4)], [("end", 0, 9)])
    with raw(three.servers["end"]) as connected:
        connection = Connection(connected, 1 << 20, tensors)
        connected.sendall(wire.encode(request, 4) + b"1234")
        assert connection.receive()[0].id == request.id
        connection.send(wire.Probe(id="still", sender="nobody"), [memoryview(b"ballast")])
        assert connection.receive()[0] == wire.Echo(id="still")


def test_half_a_frame_and_a_sudden_end_harm_nobody(three):
    request, buffers = three.request([torch.ones(1000)], ROUTE)
    whole_frame = wire.encode(request, 4000) + bytes(memoryview(buffers[0]))
    for length in (3, 40, 2000):
        with raw(three.servers["end"]) as connected:
            connected.sendall(whole_frame[:length])
    assert three.infer([torch.ones(1)], ROUTE).values[0] == 37


def test_frames_over_the_limit_are_refused_at_once():
    with tiers(max_frame_bytes=1000) as small:
        with pytest.raises(RequestError, match="over the limit of 1000"):
            small.infer([torch.zeros(10_000_000)], [("end", 0, 9)])
        assert small.infer([torch.ones(1)], ROUTE).values[0] == 37


def test_a_full_queue_is_refused():
    held = Held()
    with tiers(held, max_queue=1) as one, one.client.channel() as channel:
        requests = [one.request([torch.ones(1)], [("end", 0, 3)]) for _ in range(4)]
        first, *others = requests
        channel.send(*first)
        assert held.begun.acquire(timeout=20)
        for other in others:
            channel.send(*other)
        for request, _ in others[1:]:
            with pytest.raises(RequestError, match=r"\(busy\)"):
                channel.receive(request.id, 20.0)
        held.go_on.set()
        for request, _ in requests[:2]:
            assert channel.receive(request.id, 20.0).values[0] == 4


def test_a_late_answer_is_refused():
    with (
        tiers(Additions(seconds_per_layer=0.1)) as slow,
        pytest.raises(DeadlineExceeded, match=r"tier 'end' .*no answer from edge"),
    ):
        slow.infer([torch.ones(1)], [("end", 0, 0), ("edge", 0, 9)], timeout_s=0.3)


def test_a_tier_that_is_gone_is_named_at_once():
    with tiers() as running:
        running.infer([torch.ones(1)], ROUTE)
        stages = [("end", 0, 0), ("cloud", 0, 9)]
        request, buffers = running.request([torch.ones(1)], stages, timeout_s=30)
        running.servers["cloud"].close()
        for _ in range(2):
            with running.client.channel() as channel:
                channel.send(request, buffers)
                with pytest.raises(RequestError, match=r"unreachable.*cloud"):
                    channel.receive(request.id, 30)
        assert running.infer([torch.ones(1)], [("end", 0, 3), ("edge", 3, 9)]).values[0] == 37


def test_a_tier_that_goes_while_it_computes_ends_in_an_error():
    with tiers(Additions(seconds_per_layer=0.1)) as running:
        closing = threading.Timer(0.2, running.servers["edge"].close, [0.1])
        closing.start()
        with pytest.raises(RequestError, match="connection to edge lost"):
            running.infer([torch.ones(1)], [("end", 0, 0), ("edge", 0, 9)], timeout_s=30)
        closing.join(10)


def test_many_threads_share_a_client(three):
    failures = []

    def work(seed):
        x = torch.full((1000,), float(seed))
        answers = [three.infer([x], ROUTE).values[0] for _ in range(20)]
        failures.extend(seed for answer in answers if not torch.equal(answer, x + 36))

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert not failures
    assert not any(thread.is_alive() for thread in threads)


def test_emulation_slows_compute_and_shapes_links_while_running():
    with tiers(Additions(seconds_per_layer=0.005)) as running:
        end, edge = running.servers["end"], running.servers["edge"]
        end.emulate(TierEmulation(4.0, {"edge": LinkShape(1e6, 0.02)}))
        edge.emulate(TierEmulation(1.0, {"end": LinkShape(1e9, 0.03)}))
        slowed = running.infer([torch.zeros(5000)], ROUTE)
        assert slowed.timings[0].compute_s >= 4 * 3 * 0.005
        link_s = slowed.timings[0].hop_s - slowed.timings[1].own_s
        assert link_s >= 20_000 / 1e6 + 0.02 + 0.03
        target = wire.Hop("edge", edge.address, 0, 0)
        assert end.probe(target, 50_000, 5.0) >= 0.05 + 0.02 + 0.03
        end.emulate(TierEmulation())
        edge.emulate(TierEmulation())
        until(lambda: end.probe(target, 50_000, 5.0) < 0.1, 60.0)  # once is enough


def test_payloads_queueing_on_a_link_are_bounded_by_their_gap():
    """The second payload waits for the first, but its gap tells its own time on the link."""
    with tiers() as running, running.client.channel() as channel:
        rate = 2e6
        running.servers["end"].emulate(TierEmulation(1.0, {"edge": LinkShape(rate, 0.0)}))
        stages = [("end", 0, 0), ("edge", 0, 9)]
        running.infer([torch.zeros(1)], stages)  # connects: what waits for that may overtake
        own_s = 200_000 / rate

        def is_told():
            """A busy machine stretches some gaps; one as it should be is no chance."""
            requests = [running.request([torch.zeros(50_000)], stages, 60.0) for _ in range(3)]
            for request, buffers in requests:
                channel.send(request, buffers)
            answers = [channel.receive(request.id, 60.0) for request, _ in requests]
            last = answers[-1].timings
            waited = last[0].hop_s - last[1].own_s > 2 * own_s
            return waited and last[1].gap_s == pytest.approx(own_s, rel=0.2)

        until(is_told, 60.0)


def test_a_closed_client_says_so_and_threads_end():
    before = set(threading.enumerate())
    with tiers() as running:
        client = running.client
        running.infer([torch.ones(1)], ROUTE)
    with pytest.raises(ClosedError), client.channel():
        pass
    deadline_s = time.monotonic() + 60
    ours = [t for t in threading.enumerate() if t.name.startswith("edgesplit") and t not in before]
    for thread in ours:
        thread.join(max(0, deadline_s - time.monotonic()))
    assert not any(thread.is_alive() for thread in ours)
