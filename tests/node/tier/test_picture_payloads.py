"""Requests that come as picture files, through three real tiers: decoded once, as planned."""

import contextlib
import sys
import tracemalloc
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from faults import until
from hypothesis import given, settings
from hypothesis import strategies as st
from inside_node import room_of
from picture_files import picture
from tiers import tiers

from edgesplit.core.payload_codec import PICTURE, CodecSpeed
from edgesplit.errors import RequestError, RuntimeUnavailableError, WireError
from edgesplit.node.codec.payload import decode, encode
from edgesplit.node.codec.picture_speed import (
    PictureSample,
    measured_picture_speed,
    picture_sample,
)
from edgesplit.node.picture.coded_picture import write
from edgesplit.node.picture.preparation import Preparation
from edgesplit.node.transport import arrays, tensors, wire
from edgesplit.node.transport.coded_tensor import CodedTensor
from edgesplit.node.transport.packed_payload import pack_payload

LIMIT = wire.DEFAULT_MAX_FRAME_BYTES
LONG_S = 60.0
FILE = picture()
NORMALISED = Preparation(64, 64, (0.5,) * 3, (0.25,) * 3)
AT_ONCE = [("end", 0, 0), ("edge", 0, 0), ("cloud", 0, 9)]
EVERYWHERE = {"end": PICTURE, "edge": PICTURE}


def coded(preparation=NORMALISED, data=FILE, shape=None):
    shape = shape or preparation.shape((120, 90))
    strides = torch.empty(shape).stride()
    made = write(data, preparation)
    return CodedTensor(PICTURE, preparation.dtype, shape, strides, made, tensors.unpack)


(X,) = decode([coded()])


@pytest.fixture(scope="module")
def three():
    with tiers() as running:
        yield running


@pytest.mark.parametrize(
    ("stages", "codecs", "decoder"),
    [
        ([("end", 0, 9)], {}, "end"),
        ([("end", 0, 3), ("edge", 3, 9)], {}, "end"),
        ([("end", 0, 0), ("edge", 0, 9)], {}, "end"),
        ([("end", 0, 0), ("edge", 0, 9)], {"end": "zstd"}, "end"),
        ([("end", 0, 0), ("edge", 0, 9)], {"end": PICTURE}, "edge"),
        (AT_ONCE, {"end": PICTURE}, "edge"),
        (AT_ONCE, EVERYWHERE, "cloud"),
    ],
)
def test_the_file_is_decoded_where_its_pixels_are_needed(three, stages, codecs, decoder):
    answer, expected = three.infer([coded(), 7], stages, LONG_S, codecs=codecs), X
    for _, start, stop in stages:
        expected = expected + sum(range(start, stop))
    assert torch.equal(answer.values[0], expected)
    assert answer.values[1] == 43
    order = [timing.tier for timing in answer.timings]
    took = {timing.tier: timing.codec_s for timing in answer.timings}
    assert took[decoder] > 0
    assert all(took[tier] == 0 for tier in order[: order.index(decoder)])
    file_bytes = wire.padded(coded().buffer.nbytes)
    for timing in answer.timings[:-1]:
        is_file = order.index(timing.tier) < order.index(decoder)
        assert (timing.sent_bytes == file_bytes) == is_file


def test_a_picture_without_its_file_travels_as_it_is(three):
    answer = three.infer([X], AT_ONCE, LONG_S, codecs=EVERYWHERE)
    assert torch.equal(answer.values[0], X + 36)
    assert answer.timings[0].sent_bytes == wire.padded(X.nbytes)
    assert encode([X], PICTURE)[0] is X


def test_who_fails_over_decodes_what_it_passed_on(three):
    with tiers() as running:
        running.servers["cloud"].close()
        answer = running.infer(
            [coded()], AT_ONCE, LONG_S, codecs=EVERYWHERE, failover_after_s=LONG_S
        )
        assert torch.equal(answer.values[0], X + 36)
        assert answer.timings[-1].failed_over.startswith("cloud ")


def test_a_broken_file_is_refused_and_gives_its_room_back(three):
    with pytest.raises(RequestError, match="its payload cannot be decoded") as caught:
        three.infer([coded(data=FILE[:-900])], AT_ONCE, LONG_S, codecs=EVERYWHERE)
    assert caught.value.reason == "malformed"
    until(lambda: not any(room_of(server).held_bytes for server in three.servers.values()))


def test_a_host_without_pillow_cannot_and_says_so(three, monkeypatch):
    monkeypatch.setitem(sys.modules, "edgesplit.node.picture.coded_picture", None)
    with pytest.raises(RequestError, match="pip install pillow") as caught:
        three.infer([coded()], [("end", 0, 9)], LONG_S)
    assert caught.value.reason == "unable"
    with pytest.raises(RuntimeUnavailableError, match="pip install pillow"):
        measured_picture_speed([PictureSample(pack_payload([coded()]), b"")])


# Frames


def spec_of(one, **changes):
    return msgspec.structs.replace(one.spec, **changes)


def check(spec, limit=LIMIT):
    wire.check_body([spec], wire.padded(spec.coded_bytes), limit)


@pytest.mark.parametrize("preparation", [Preparation(), Preparation(64, 64), NORMALISED])
def test_what_a_caller_sends_is_well_formed(preparation):
    check(coded(preparation).spec)


RAW = 3 * 64 * 64 * 4


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"dtype": "float64"}, "not float64"),
        ({"dtype": "int8"}, "not int8"),
        ({"shape": [1, 3, 64], "strides": [192, 64, 1]}, r"not float32 of shape \[1, 3, 64\]"),
        ({"shape": [2, 3, 64, 64]}, r"of shape \[2, 3, 64, 64\]"),
        ({"shape": [1, 4, 64, 64]}, r"of shape \[1, 4, 64, 64\]"),
        ({"shape": [1, 3, 0, 64]}, r"of shape \[1, 3, 0, 64\]"),
        ({"strides": [12288, 1, 192, 3]}, "strides"),
        ({"strides": [0, 0, 0, 0]}, "strides"),
        ({"coded_bytes": 0}, "0 bytes for a picture"),
        ({"coded_bytes": RAW}, "expected fewer"),
        ({"coded_bytes": 1 << 40}, "expected fewer"),
    ],
)
def test_headers_that_no_caller_makes(changes, told):
    with pytest.raises(WireError, match=told):
        check(spec_of(coded(), **changes))


def test_the_tensor_counts_for_the_limit_however_small_its_file_is():
    side = 1 << 12
    spec = spec_of(coded(Preparation(64, 64)), shape=[1, 3, side, side],
                   strides=[3 * side * side, side * side, side, 1])  # fmt: skip
    check(spec, 3 * side * side)
    with pytest.raises(WireError, match="over the limit"):
        check(spec, 3 * side * side - 1)
    assert wire.decoded_bytes([spec]) == 3 * side * side


@given(
    shape=st.lists(st.one_of(st.integers(0, 4), st.integers(0, 1 << 40)), max_size=6),
    strides=st.lists(st.integers(0, 1 << 40), max_size=6),
    coded_bytes=st.integers(0, (1 << 48) - 1),
    dtype=st.sampled_from(["uint8", "float32", "int8", "x"]),
)
@settings(max_examples=300, deadline=None)
def test_any_header_is_judged_without_taking_memory(shape, strides, coded_bytes, dtype):
    spec = wire.TensorSpec(dtype, shape, strides, PICTURE, coded_bytes)
    tracemalloc.start()
    try:
        with contextlib.suppress(WireError):
            check(spec)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_arrays_read_what_tensors_do():
    specs, buffers = tensors.pack([coded()])
    body = np.concatenate([np.frombuffer(one, np.uint8) for one in buffers])
    (array,) = decode(arrays.unpack(specs, body))
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, X.numpy())


# How quick a tier is


def test_decoding_is_measured_per_byte_of_the_payload():
    two = picture_sample(coded()), picture_sample(coded(data=picture(seed=1)))
    speed = measured_picture_speed(two)
    assert speed.codec == PICTURE
    assert speed == CodecSpeed(PICTURE, 0.0, 0.0, 0.0, speed.decode_s_per_byte)
    assert 0 < speed.decoding_s(X.nbytes) < LONG_S


def test_a_host_that_decodes_to_other_bits_is_not_sent_files():
    sample = replace(picture_sample(coded()), digest=b"another library's")
    with pytest.raises(RuntimeUnavailableError, match="other pixels here than by their caller"):
        measured_picture_speed([picture_sample(coded()), sample])
    broken = replace(sample, coded=pack_payload([coded(data=FILE[:-900])]))
    with pytest.raises(RuntimeUnavailableError, match="a picture cannot be decoded here"):
        measured_picture_speed([broken])
