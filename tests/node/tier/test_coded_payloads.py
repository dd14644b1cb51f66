"""Payloads in codecs through three real tiers: the law, relays, failover, hedges, refusals."""

import msgspec
import numpy as np
import pytest
import torch
from faults import until
from inside_node import jobs_of, room_of
from liar import Liar, frame, honest
from test_hedges import SLOW, SOON, Gated
from test_joint_runs import Source, all_right, sharing, waiting
from tiers import NAMES, Additions, tiers

from edgesplit.core.payload_codec import CODECS
from edgesplit.errors import RequestError
from edgesplit.node.codec.payload import as_received, coded_bytes, encode
from edgesplit.node.program.export.model import export
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.profiler import payload_forms
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.tier_workload import TierWorkload
from edgesplit.node.transport import arrays, tensors, wire
from experiments.shared.small_net import small_net

ROUTE = [("end", 0, 3), ("edge", 3, 5), ("cloud", 5, 9)]
BOTH = {"end": "int8", "edge": "int8-channel+zstd"}
LONG_S = 60.0
X = torch.randn(1, 8, 20, 20, generator=torch.Generator().manual_seed(0)).clamp(min=0)


@pytest.fixture(scope="module")
def three():
    with tiers() as running:
        yield running


def expected(x, stages=ROUTE, codecs=BOTH):
    """As if the codecs' rounding were layers of the model."""
    for place, (tier, start, stop) in enumerate(stages):
        x = x + sum(range(start, stop))
        if place < len(stages) - 1:
            (x,) = as_received([x], dict(codecs).get(tier, "as-is"))
    return x


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_on_both_hops(three, codec):
    codecs = {"end": codec, "edge": codec}
    answer = three.infer([X, 7], ROUTE, LONG_S, codecs=codecs)
    assert torch.equal(answer.values[0], expected(X, codecs=codecs))
    assert answer.values[0].stride() == X.stride()
    assert answer.values[1] == 43
    end, edge, cloud = answer.timings
    assert end.sent_bytes == wire.padded(coded_bytes([X + 3], codec))
    assert cloud.sent_bytes == 0
    assert min(end.codec_s, edge.codec_s, cloud.codec_s) > 0


def test_without_codecs_nothing_is_spent_on_them(three):
    answer = three.infer([X], ROUTE, LONG_S)
    assert [timing.codec_s for timing in answer.timings] == [0, 0, 0]


class Net:
    """A small net on three tiers, and what each cut's payload is with codecs at the cuts."""

    def __init__(self):
        exported = export(small_net().eval(), (IMAGE,))
        self.program, self.given = exported.program, exported.flatten((IMAGE,))
        self.forms = payload_forms(self.program, self.given)

    def workload(self):
        return TierWorkload("p", TorchEngine(self.program, self.forms, 1), PreparedCache(1e9, 16))

    def expected(self, cuts, codecs):
        values = list(self.given)
        stops = [*cuts, len(self.program)]
        for start, stop, codec in zip([0, *cuts], stops, [*codecs, "as-is"], strict=True):
            values = as_received(self.program.segment(start, stop)(values), codec)
        return values


IMAGE = torch.rand(1, 3, 32, 32)


@pytest.fixture(scope="module")
def net():
    made = Net()
    with tiers(made.workload()) as running:
        yield made, running


@pytest.mark.parametrize(
    "codecs", [("int8", "int4-channel+lz4"), ("float16+zstd", "bfloat16"), ("zstd", "lz4")], ids=str
)
def test_the_law_holds_for_every_cut(net, codecs):
    made, running = net
    n = len(made.program)
    for first in range(n + 1):
        cuts = (first, (first + n) // 2)
        stages = [("end", 0, cuts[0]), ("edge", cuts[0], cuts[1]), ("cloud", cuts[1], n)]
        by_tier = dict(zip(("end", "edge"), codecs, strict=True))
        answer = running.infer(made.given, stages, LONG_S, codecs=by_tier)
        for one, other in zip(answer.values, made.expected(cuts, codecs), strict=True):
            assert torch.equal(one, other), cuts


def test_tiers_of_arrays_decode_the_same_bits():
    with tiers(kinds={"edge": arrays}) as mixed:
        for codec in ("int8", "float16+lz4", "bfloat16+zstd", "int4-channel"):
            codecs = {"end": codec, "edge": codec}
            x = X.contiguous(memory_format=torch.channels_last)
            (y,) = mixed.infer([x], ROUTE, LONG_S, codecs=codecs).values
            assert torch.equal(y, expected(x, codecs=codecs))
            assert y.stride() == x.stride()


# Relays


RELAYED = [("end", 0, 3), ("edge", 3, 3), ("cloud", 3, 9)]


@pytest.mark.parametrize(
    ("codecs", "is_computed"),
    [
        ({"end": "int8", "edge": "int8"}, False),
        ({}, False),
        ({"end": "int8"}, True),
        ({"edge": "int8"}, True),
        ({"end": "lz4", "edge": "int8+zstd"}, True),
    ],
    ids=str,
)
def test_a_relay_touches_what_it_has_to(three, codecs, is_computed):
    worker = three.servers["edge"].worker
    worker.call(lambda: None).result(LONG_S)  # behind what an earlier request has left to count
    before = worker.jobs_done
    answer = three.infer([X], RELAYED, LONG_S, codecs=codecs)
    assert torch.equal(answer.values[0], expected(X, RELAYED, codecs))
    worker.call(lambda: None).result(LONG_S)
    assert worker.jobs_done - before == int(is_computed)
    edge = answer.timings[1]
    assert (edge.start, edge.stop, edge.runtime) == (3, 3, "torch")
    assert (edge.codec_s > 0) == is_computed


def test_a_relay_that_is_the_last_answers_as_it_is(three):
    stages, codecs = [("end", 0, 9), ("edge", 9, 9)], {"end": "int8", "edge": "int8"}
    answer = three.infer([X], stages, LONG_S, codecs=codecs)
    assert torch.equal(answer.values[0], expected(X, stages, codecs))


def test_a_relay_needs_no_program(three):
    program = three.servers["edge"].worker.programs.pop("p")
    try:
        assert three.infer([X], RELAYED, LONG_S, codecs={"end": "int8"}).values
    finally:
        three.servers["edge"].worker.programs["p"] = program


# What cannot be encoded, or not be sent


def test_what_cannot_be_encoded_travels_as_it_is(three):
    spoilt = X.clone()
    spoilt[0, 0, 0, 0] = float("nan")
    for values in ([spoilt], [torch.arange(500)], [torch.ones(3)], [torch.tensor(2.0)], [5]):
        answer = three.infer(values, ROUTE, LONG_S, codecs=BOTH)
        (made,), (given,) = answer.values, values
        if isinstance(given, torch.Tensor):
            assert torch.equal(made.nan_to_num(), expected(given, codecs={}).nan_to_num())
            assert answer.timings[0].sent_bytes == wire.padded(given.nbytes)


def test_an_encoder_that_fails_costs_no_request(three, monkeypatch):
    def broken(values, codec):
        raise MemoryError("no more")

    monkeypatch.setattr("edgesplit.node.tier.coding.encode", broken)
    answer = three.infer([X], ROUTE, LONG_S, codecs=BOTH)
    assert torch.equal(answer.values[0], expected(X, codecs={}))


def test_an_unknown_codec_is_malformed_and_harms_nobody(three):
    with pytest.raises(RequestError, match=r"tier 'end' \(malformed\).*no codec 'int9'"):
        three.infer([X], ROUTE, LONG_S, codecs={"end": "int9"})
    with pytest.raises(RequestError, match=r"tier 'edge' \(malformed\).*no codec"):
        three.infer([X], ROUTE, LONG_S, codecs={"edge": "zstd+int8"})
    assert three.infer([X], ROUTE, LONG_S, codecs=BOTH).values


def spoilt_request(running, change, codec="int8"):
    """A request whose payload's bytes are changed, as the caller sends it."""
    request, _ = running.request([], ROUTE, LONG_S)
    (coded,) = encode([X], codec)
    body = coded.buffer.copy()
    change(body)
    specs, buffers = tensors.pack([coded])
    buffers[0] = body
    return msgspec.structs.replace(request, values=specs), buffers


def with_nan(body):
    body[:4].view(np.float32)[0] = np.nan


def with_noise(body):
    body[:] = np.random.default_rng(0).integers(0, 256, body.size)


@pytest.mark.parametrize(
    ("change", "codec"), [(with_nan, "int8"), (with_noise, "zstd"), (with_noise, "int8+lz4")]
)
def test_bytes_that_cannot_be_decoded_are_malformed_and_harm_nobody(three, change, codec):
    request, buffers = spoilt_request(three, change, codec)
    with three.client.channel() as channel:
        channel.send(request, buffers)
        with pytest.raises(RequestError, match=r"\(malformed\).*cannot be decoded"):
            channel.receive(request.id, LONG_S)
        assert three.infer([X], ROUTE, LONG_S, codecs=BOTH).values
    until(lambda: not jobs_of(three.servers["end"]))
    until(lambda: not room_of(three.servers["end"]).held_bytes)


def test_room_is_held_for_what_is_decoded():
    gated = Gated()
    gated.hold(0, 9)
    x = torch.zeros(1, 1 << 20)
    (coded,) = encode([x], "zstd")
    with tiers(gated) as running:
        request, _ = running.request([], [("end", 0, 9)], LONG_S)
        specs, buffers = tensors.pack([coded])
        request = msgspec.structs.replace(request, values=specs)
        with running.client.channel() as channel:
            channel.send(request, buffers)
            until(lambda: gated.begun)
            assert room_of(running.servers["end"]).held_bytes >= x.nbytes
            gated.held[0, 9].set()
            assert channel.receive(request.id, LONG_S).values
        until(lambda: not room_of(running.servers["end"]).held_bytes)


def test_a_tensor_that_would_be_larger_than_a_frame_is_refused():
    x = torch.zeros(1, 1 << 20)
    (coded,) = encode([x], "zstd")
    with tiers(max_frame_bytes=1 << 20) as running:
        request, _ = running.request([], [("end", 0, 9)], LONG_S)
        specs, buffers = tensors.pack([coded])
        with running.client.channel() as channel:
            channel.send(msgspec.structs.replace(request, values=specs), buffers)
            with pytest.raises(RequestError, match=r"\(malformed\).*over the limit"):
                channel.receive(request.id, LONG_S)


# Others finish


def test_who_finishes_for_a_tier_that_is_gone_computes_on_its_own_payload():
    with tiers() as running:
        running.servers["cloud"].close()
        answer = running.infer([X], ROUTE, LONG_S, failover_after_s=20.0, codecs=BOTH)
        (first,) = as_received([X + 3], "int8")
        assert torch.equal(answer.values[0], first + 7 + 26)
        assert [t.failed_over for t in answer.timings] == ["", "cloud unreachable"]
        assert answer.timings[1].codec_s > 0


def test_a_relay_finishes_with_what_it_passed_on_untouched():
    with tiers() as running:
        running.servers["cloud"].close()
        codecs = {"end": "int8", "edge": "int8"}
        answer = running.infer([X], RELAYED, LONG_S, failover_after_s=20.0, codecs=codecs)
        assert torch.equal(answer.values[0], expected(X, RELAYED, codecs))
        assert answer.timings[1].failed_over == "cloud unreachable"


def test_a_hedge_runs_on_the_payload_that_is_here():
    with tiers(hedge=1.0) as running:
        running.servers["end"].emulate(SLOW)
        x = torch.randn(25_000)
        answer = running.infer(
            [x], ROUTE, LONG_S, failover_after_s=40.0, hedges={"end": SOON}, codecs=BOTH
        )
        assert answer.timings[0].failed_over == "edge late"
        assert torch.equal(answer.values[0], x + 3 + 33)


def test_a_tier_that_answers_in_a_codec_is_malformed():
    def coded(request, values):
        reply, _ = honest(request, values)
        specs, buffers = tensors.pack(encode([X], "int8"))
        body = b"".join(bytes(memoryview(one).cast("B")) for one in buffers)
        return frame(msgspec.structs.replace(reply, values=specs), body)

    with tiers() as running, Liar(coded) as cloud:
        running.addresses["cloud"] = cloud.address
        answer = running.infer([X], ROUTE, LONG_S, failover_after_s=20.0)
        assert answer.timings[1].failed_over == "cloud malformed"
        assert torch.equal(answer.values[0], expected(X, codecs={}))


# Time


def test_a_slower_tier_is_slower_at_codecs_too():
    x = torch.randn(1 << 20)
    with tiers() as running:
        once = running.infer([x], ROUTE, LONG_S, codecs=BOTH).timings[0].codec_s
        running.servers["end"].emulate(TierEmulation(slowdown=50.0))
        assert running.infer([x], ROUTE, LONG_S, codecs=BOTH).timings[0].codec_s > 5 * once


def test_the_codecs_joules_are_the_requests(three):
    x = torch.randn(1 << 20)
    timing = three.infer([x], [("end", 0, 0), *ROUTE[1:]], LONG_S, codecs=BOTH).timings[0]
    assert timing.energy_j > 8.0 * timing.codec_s  # of 10 W; waiting takes 1
    assert timing.codec_s > timing.compute_s


def test_other_runtimes_are_compared_on_what_was_decoded():
    class Watched(Additions):
        def __init__(self):
            super().__init__()
            self.seen = []

        def ran(self, ran):
            self.seen.append(ran)

    program = Watched()
    with tiers(program) as running:
        request, buffers = running.request([X], ROUTE, LONG_S, codecs=BOTH)
        hops = [msgspec.structs.replace(hop, runtime="onnx") for hop in request.route]
        with running.client.channel() as channel:
            channel.send(msgspec.structs.replace(request, route=hops), buffers)
            channel.receive(request.id, LONG_S)
        until(lambda: len(program.seen) == len(NAMES))
    (given,) = as_received([X + 3], "int8")
    by_start = {ran.start: ran for ran in program.seen}
    assert torch.equal(by_start[3].given[0], given)
    assert torch.equal(by_start[3].made[0], given + 7)


def test_requests_that_share_a_run_are_decoded_before_and_encoded_after():
    source = Source()
    with (
        sharing(source) as running,
        tiers(credentials=running.servers["ann"].settings.credentials) as behind,
    ):
        request = running.request

        def coded_request(request_id, timeout_s=10.0):
            made, _ = request(request_id, timeout_s)
            specs, buffers = tensors.pack(encode([X], "int8"))
            cloud = wire.Hop("cloud", behind.addresses["cloud"], 4, 9)
            here = msgspec.structs.replace(made.route[0], codec="lz4")
            return msgspec.structs.replace(made, route=[here, cloud], values=specs), buffers

        running.request = coded_request
        with waiting(running, ann=3) as answers:
            pass
    (given,) = as_received([X], "int8")
    assert source.runs[-1] == (0, 4, 3)
    for one in answers.values():
        for answer in one.values():
            assert torch.equal(answer.values[0], given + 6 + 30)
            assert answer.timings[0].codec_s > 0
            assert answer.timings[0].queue_s > 0
            assert answer.timings[1].codec_s > 0


def test_a_payload_that_cannot_be_decoded_spoils_no_run_of_others():
    source = Source()
    with sharing(source) as running:
        request, spoilt = running.request, []

        def one_spoilt(request_id, timeout_s=10.0):
            made, buffers = request(request_id, timeout_s)
            if request_id.startswith("ben"):
                (coded,) = encode([X], "int8")
                specs, buffers = tensors.pack([coded])
                body = coded.buffer.copy()
                with_nan(body)
                buffers[0] = body
                made = msgspec.structs.replace(made, values=specs)
                spoilt.append(request_id)
            return made, buffers

        running.request = one_spoilt
        with waiting(running, ann=2, ben=1) as answers:
            pass
    assert all_right({"ann": answers["ann"]})
    (error,) = answers["ben"].values()
    assert "cannot be decoded" in str(error)
    assert spoilt
