"""Coded tensors in frames: what no encoder makes is refused, before it takes any memory."""

import contextlib
import tracemalloc

import lz4.block
import msgspec
import numpy as np
import pytest
import torch
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from edgesplit.core.payload_codec import CODECS
from edgesplit.errors import WireError
from edgesplit.node.codec.payload import decode, encode
from edgesplit.node.transport import arrays, tensors, wire
from edgesplit.node.transport.judge import AnswerForm

LIMIT = wire.DEFAULT_MAX_FRAME_BYTES
SHAPE, STRIDES = [2, 3, 20, 20], [1200, 400, 20, 1]
COUNT = 2400
X = torch.randn(SHAPE, generator=torch.Generator().manual_seed(1)).clamp(min=0)


def coded_spec(codec="int8", coded_bytes=COUNT + 5, **changes):
    spec = wire.TensorSpec("float32", SHAPE, STRIDES, codec, coded_bytes)
    return msgspec.structs.replace(spec, **changes)


def check(spec, limit=LIMIT):
    wire.check_body([spec], wire.padded(spec.coded_bytes), limit)


def read(spec, body):
    """What the body holds, decoded."""
    given = np.zeros(wire.padded(len(body)), np.uint8)
    given[: len(body)] = np.frombuffer(body, np.uint8)
    return decode(tensors.unpack([spec], given))


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_encoded_is_well_formed_and_comes_back_from_a_header(codec):
    specs, buffers = tensors.pack(encode([X], codec))
    wire.check_body(specs, sum(memoryview(one).nbytes for one in buffers), LIMIT)
    request = wire.Request(
        id="r",
        program="p",
        route=[wire.Hop("end", "a:1", 0, 3, codec=codec)],
        at=0,
        timeout_s=1.0,
        values=specs,
    )
    frame = wire.encode(request)
    assert wire.decode(frame[wire.PREFIX_BYTES :]) == request


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        (coded_spec("int9"), "no codec 'int9'"),
        (coded_spec(""), "no codec ''"),
        (coded_spec("int8+int8"), "no codec"),
        (coded_spec(dtype="float16"), "'float16' is not encoded"),
        (coded_spec(dtype="int64"), "'int64' is not encoded"),
        (coded_spec(coded_bytes=COUNT + 4), "makes 2405 bytes, given 2404"),
        (coded_spec(coded_bytes=COUNT + 6), "makes 2405 bytes, given 2406"),
        (coded_spec(coded_bytes=0), "given 0"),
        (coded_spec("float16"), "makes 4800 bytes, given 2405"),
        (coded_spec("bfloat16", 4799), "makes 4800 bytes"),
        (coded_spec("int8-channel"), "makes 2415 bytes, given 2405"),
        (coded_spec("int4-channel"), "makes 1215 bytes, given 2405"),
        (coded_spec("int8+zstd", 0), "before zstd, given 0"),
        (coded_spec("int8+lz4", COUNT + 5 + 26), "before lz4, given 2431"),
        (coded_spec("lz4", 4 * COUNT + 54), "makes 9600 bytes before lz4, given 9654"),
        (coded_spec("zstd", 1 << 40), "makes 9600 bytes before zstd"),
        (coded_spec(shape=[5, 51], strides=[51, 1], coded_bytes=260), "255 elements are not"),
        (coded_spec(shape=[], strides=[], coded_bytes=6), "1 elements are not"),
        (coded_spec(shape=[0, 900], strides=[900, 1], coded_bytes=5), "0 elements are not"),
        (coded_spec(shape=[900], strides=[0], coded_bytes=905), "1 elements are not"),
        (coded_spec("as-is", 9), "is not coded, and has coded bytes"),
    ],
)
def test_headers_that_no_encoder_makes(spec, message):
    with pytest.raises(WireError, match=message):
        check(spec)


def test_the_tensor_counts_for_the_limit_however_small_its_bytes_are():
    side = 1 << 13
    spec = coded_spec("zstd", 100, shape=[side, side], strides=[side, 1])
    check(spec, 4 * side * side)
    with pytest.raises(WireError, match="over the limit"):
        check(spec, 4 * side * side - 1)
    gaps = coded_spec("zstd", 100, shape=[300, 1], strides=[1 << 20, 1])
    with pytest.raises(WireError, match="over the limit"):
        check(gaps, 1 << 22)
    assert wire.decoded_bytes([spec, wire.TensorSpec("float32", [3], [1]), 7]) == 4 * side * side


def written(scale=0.5, zero=0, codes=b"\x01" * COUNT):
    return np.float32(scale).tobytes() + bytes([zero]) + codes


def test_a_right_scale_is_read():
    (back,) = read(coded_spec(), written(0.5, 3))
    assert bool((back == -1.0).all())


@pytest.mark.parametrize(
    "scale", [float("nan"), float("inf"), -float("inf"), -0.5, 0.0, -0.0, 1e-45, 1e38]
)
def test_a_wrong_scale_is_refused(scale):
    with pytest.raises(WireError, match="a scale or a zero that no encoder gives"):
        read(coded_spec(), written(scale))
    channels = np.full(3, 0.5, np.float32)
    channels[1] = scale
    with pytest.raises(WireError, match="a scale or a zero"):
        read(coded_spec("int8-channel", 2415), channels.tobytes() + bytes(3 + COUNT))


def test_a_zero_beyond_the_codes_is_refused():
    body = np.full(3, 0.5, np.float32).tobytes() + bytes([0, 16, 0]) + bytes(COUNT // 2)
    with pytest.raises(WireError, match="a scale or a zero"):
        read(coded_spec("int4-channel", 1215), body)


def zstd(data, **more):
    return zstandard.ZstdCompressor(level=1, **more).compress(data)


def lz4ed(data):
    return lz4.block.compress(data, store_size=False)


GOOD = X.numpy().tobytes()


@pytest.mark.parametrize(
    ("codec", "body"),
    [
        ("zstd", b"\x00" * 50),
        ("zstd", zstd(GOOD)[:-7]),
        ("zstd", zstd(GOOD)[:3]),
        ("zstd", zstd(GOOD) + b"1234"),
        ("zstd", zstd(bytes(4 * COUNT)) * 2),
        ("zstd", zstd(GOOD[:-1])),
        ("zstd", zstd(GOOD + b"1")),
        ("zstd", zstd(b"")),
        ("zstd", zstandard.ZstdCompressor(write_content_size=False).compress(GOOD)),
        ("zstd", b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"),  # a skippable frame
        ("zstd", b"\x28\xb5\x2f\xfd\xe0" + b"\xff" * 8 + b"\x01\x00\x00"),  # 16 EiB
        ("lz4", lz4ed(GOOD)[:-7]),
        ("lz4", lz4ed(GOOD[:-1])),
        ("lz4", lz4ed(GOOD + b"1")),
        ("lz4", b"\x00" * 50),
        ("lz4", b"\xff" * 200),
        ("int8+zstd", zstd(written(float("nan")))),
        ("int8+lz4", lz4ed(written(-1.0))),
        ("int8+zstd", zstd(written()[:-1])),
    ],
)
def test_bytes_that_no_coder_makes(codec, body):
    spec = coded_spec(codec, len(body))
    check(spec)
    with pytest.raises(WireError):
        read(spec, body)


@pytest.mark.parametrize("codec", ["zstd", "lz4", "int8+zstd", "int8+lz4"])
def test_a_bomb_takes_no_more_than_the_tensor_it_declares(codec):
    made = 4 * COUNT if codec in ("zstd", "lz4") else COUNT + 5
    body = zstd(bytes(8192 * made)) if codec.endswith("zstd") else lz4ed(bytes(250 * made))
    spec = coded_spec(codec, len(body))
    check(spec)
    tracemalloc.start()
    try:
        with pytest.raises(WireError):
            read(spec, body)
        assert tracemalloc.get_traced_memory()[1] < 20 * COUNT
    finally:
        tracemalloc.stop()


def test_an_answer_is_not_coded():
    form = AnswerForm(tensors.forms_of([X]), are_sizes_fixed=True)
    form.check([wire.TensorSpec("float32", SHAPE, STRIDES)])
    with pytest.raises(WireError, match="value 0 is"):
        form.check([coded_spec()])


@given(st.sampled_from(CODECS), st.data())
@settings(max_examples=300, deadline=None)
def test_spoilt_bytes_raise_only_wire_errors_and_give_the_declared_form(codec, data):
    (coded,) = encode([X], codec)
    body = bytearray(coded.buffer.tobytes())
    for _ in range(data.draw(st.integers(1, 6))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.one_of(st.just(len(body)), st.integers(1, len(body))))]
    spec = msgspec.structs.replace(coded.spec, coded_bytes=len(body))
    with contextlib.suppress(WireError):
        check(spec)
        (back,) = read(spec, bytes(body))
        assert (back.dtype, back.shape, back.stride()) == (X.dtype, X.shape, X.stride())


@given(
    shape=st.lists(st.integers(0, 1 << 40), max_size=6),
    strides=st.lists(st.integers(0, 1 << 40), max_size=6),
    codec=st.one_of(st.sampled_from(CODECS), st.text(max_size=12)),
    coded_bytes=st.integers(0, (1 << 48) - 1),
    dtype=st.sampled_from(["float32", "float64", "int8", "x"]),
)
@settings(max_examples=300, deadline=None)
def test_any_header_is_judged_without_taking_memory(shape, strides, codec, coded_bytes, dtype):
    spec = wire.TensorSpec(dtype, shape, strides, codec, coded_bytes)
    tracemalloc.start()
    try:
        with contextlib.suppress(WireError):
            check(spec)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_arrays_read_what_tensors_wrote_in_a_codec():
    specs, buffers = tensors.pack(encode([X], "int8-channel+lz4"))
    body = np.concatenate([np.frombuffer(one, np.uint8) for one in buffers])
    (array,) = decode(arrays.unpack(specs, body))
    (tensor,) = decode(tensors.unpack(specs, body))
    assert isinstance(array, np.ndarray)
    assert np.array_equal(array, tensor.numpy())
