"""Frames: what goes in comes out, and nothing malformed gets through."""

import contextlib

import msgspec
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from inside_node import prefix

from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import WireError
from edgesplit.node.transport import arrays, tensors, wire

HOP = wire.Hop("end", "tcp://127.0.0.1:1", 0, 3)
SAMPLE = TierTiming("end", 0, 3, 0.1, 0.2, 0.3, 0.4, float("inf"), 10, 20, 1.5)
MESSAGES = [
    wire.Request(id="r", program="p", route=[HOP], at=0, timeout_s=1.0, values=[1, True, 2.5]),
    wire.Reply(id="r", values=[], timings=[SAMPLE]),
    wire.Refusal(id="", tier="end", reason="busy", message="later"),
    wire.Probe(id="p", sender="end"),
    wire.Echo(id="p"),
]
TENSORS = [
    torch.randn(2, 3, 4).permute(2, 0, 1),
    torch.randn(1, 3, 8, 8).to(memory_format=torch.channels_last),
    torch.randn(4, 1).expand(4, 5),
    torch.randn(6, 6)[::2, 1:],
    torch.randn(3, 0),
    torch.tensor(3.0),
    torch.randn(4, 4, dtype=torch.bfloat16),
    torch.tensor([True, False]),
    torch.arange(5, dtype=torch.int64),
    torch.randn(3, dtype=torch.complex64).conj(),
    torch.arange(5).to(torch.uint16),
    torch.randn(3, 2).to(torch.float8_e5m2).t(),
    torch.tensor([float("nan"), float("inf"), -0.0]),
]

BITS_ONLY = (torch.bfloat16, torch.float8_e5m2)  # numpy has no such numbers


def travel(values, sender=tensors, receiver=tensors):
    specs, buffers = sender.pack(values)
    sent = b"".join(memoryview(buffer).cast("B") for buffer in buffers if buffer.nbytes)
    wire.check_body(specs, len(sent), wire.DEFAULT_MAX_FRAME_BYTES)
    body = wire.new_body(len(sent))
    memoryview(body)[:] = sent
    return receiver.unpack(specs, body)


def read(frame, max_frame_bytes=wire.DEFAULT_MAX_FRAME_BYTES):
    header_bytes, _ = wire.read_prefix(frame[: wire.PREFIX_BYTES], max_frame_bytes)
    return wire.decode(frame[wire.PREFIX_BYTES :][:header_bytes])


@pytest.mark.parametrize("message", MESSAGES, ids=lambda m: type(m).__name__)
def test_every_message_comes_back_equal(message):
    assert read(wire.encode(message)) == message


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype}{list(t.shape)}")
def test_tensors_keep_bits_shape_and_dtype(tensor):
    (back,) = travel([tensor])
    assert back.dtype == tensor.dtype
    assert back.shape == tensor.shape
    if tensor.dtype.itemsize == 1:
        back, tensor = back.to(torch.float32), tensor.to(torch.float32)
    assert torch.equal(torch.nan_to_num(back), torch.nan_to_num(tensor))
    assert torch.equal(back.isnan(), tensor.isnan())


@pytest.mark.parametrize("tensor", TENSORS[:2], ids=["permuted", "channels last"])
def test_dense_tensors_keep_strides_and_are_not_copied(tensor):
    _, (buffer, *_) = tensors.pack([tensor])
    assert buffer.__array_interface__["data"][0] == tensor.data_ptr()
    assert travel([tensor])[0].stride() == tensor.stride()


def test_tensors_arrive_aligned():
    for tensor in travel([torch.ones(3), torch.ones(5, dtype=torch.uint8), torch.ones(7)]):
        assert tensor.data_ptr() % wire.ALIGNMENT == 0


def test_numbers_keep_their_type():
    assert [(type(v), v) for v in travel([7, True, 0.5])] == [(int, 7), (bool, True), (float, 0.5)]


@given(st.lists(st.integers(1, 5), max_size=5), st.randoms(use_true_random=False))
@settings(max_examples=100, deadline=None)
def test_any_order_of_dimensions_keeps_its_strides(shape, random):
    dims = list(range(len(shape)))
    random.shuffle(dims)
    tensor = torch.randn(shape).permute(dims)
    (back,) = travel([tensor])
    assert back.stride() == tensor.stride()
    assert torch.equal(back, tensor)


def views():
    x = torch.arange(210.0).reshape(5, 6, 7)
    return {
        "gaps": x[:, ::2, 1:3],
        "a column": x[:, 0, :],
        "expanded": x[:1].expand(4, 6, 7),
        "expanded with gaps": x[:, :1, ::3].expand(5, 8, 3),
        "all one": torch.ones(()).expand(3, 3),
        "windows": x[0, 0].unfold(0, 3, 1),
        "windows with gaps": x[:, 0].unfold(1, 3, 2),
        "odd single": x.as_strided((1, 6, 7), (3, 7, 1)),
        "bfloat16": x.bfloat16().transpose(0, 2)[::2],
    }


@pytest.mark.parametrize("name", views())
@pytest.mark.parametrize("relay", [None, arrays], ids=["directly", "by way of arrays"])
def test_strides_with_gaps_or_repetitions_arrive_as_they_were(name, relay):
    tensor = views()[name]
    values = [tensor] if relay is None else travel([tensor], receiver=relay)
    (back,) = travel(values, sender=relay or tensors)
    assert (back.shape, back.stride(), back.dtype) == (tensor.shape, tensor.stride(), tensor.dtype)
    assert torch.equal(back, tensor)


@pytest.mark.parametrize("kind", [tensors, arrays])
def test_only_elements_travel_each_once(kind):
    for name, elements in {"gaps": 30, "expanded": 42, "all one": 1, "windows": 7}.items():
        values = [views()[name]] if kind is tensors else travel([views()[name]], receiver=kind)
        _, (buffer, *_) = kind.pack(values)
        assert memoryview(buffer).nbytes == 4 * elements
        (form,) = tensors.forms_of([views()[name]])
        assert form.sent_bytes == 4 * elements


def test_another_version_is_named():
    frame = bytearray(wire.encode(MESSAGES[-1]))
    frame[3] = 9
    with pytest.raises(WireError, match=f"wire version 9, this side speaks {wire.VERSION}"):
        read(frame)


@pytest.mark.parametrize("frame", [b"GET / HTTP/1.1\r\n", b"\x00" * 64], ids=["http", "zeros"])
def test_foreign_bytes_are_refused(frame):
    with pytest.raises(WireError, match="not an EdgeSplit frame"):
        read(frame)


def test_lengths_over_the_limits_are_refused_before_anything_is_taken_in():
    with pytest.raises(WireError, match="frame of 100 bytes is over the limit of 99"):
        read(wire.encode(MESSAGES[0], 100), max_frame_bytes=99)
    huge = prefix(wire.MAGIC, wire.VERSION, wire.MAX_HEADER_BYTES + 1, 0)
    with pytest.raises(WireError, match="header of 1048577 bytes is over the limit"):
        read(huge)


@given(st.sampled_from(MESSAGES), st.data())
@settings(max_examples=1000, deadline=None)
def test_changed_headers_raise_only_wire_errors(message, data):
    header = bytearray(wire.encode(message)[wire.PREFIX_BYTES :])
    for _ in range(data.draw(st.integers(1, 8))):
        at = data.draw(st.integers(0, len(header) - 1))
        header[at] = data.draw(st.integers(0, 255))
    with contextlib.suppress(WireError):
        wire.decode(bytes(header[: data.draw(st.integers(0, len(header)))]))


@pytest.mark.parametrize(
    "header",
    [
        b"\x82\xa4type\xa5probe\xa2id\xa2\xff\xfe",  # no UTF-8
        b"\x82\xa4type\xa5probe\xa1x" + b"\x91" * 100_000,  # nested too deeply
    ],
    ids=["text", "depth"],
)
def test_headers_that_break_the_decoder_are_malformed(header):
    with pytest.raises(WireError, match="malformed header"):
        wire.decode(header)


@pytest.mark.parametrize(
    "change",
    [
        {"timeout_s": 0},
        {"timeout_s": float("inf")},
        {"at": -1},
        {"route": []},
        {"values": ["text"]},
        {"id": "x" * 200},
    ],
    ids=str,
)
def test_fields_out_of_range_are_refused(change):
    fields = {"type": "request", **msgspec.to_builtins(MESSAGES[0]), **change}
    with pytest.raises(WireError, match="malformed header"):
        wire.decode(msgspec.msgpack.encode(fields))


@pytest.mark.parametrize(
    ("spec", "size", "message"),
    [
        (wire.TensorSpec("float32", [2, 2], [2, 1]), 15, r"declares 64 bytes .* the body has 15"),
        (wire.TensorSpec("float99", [2], [1]), 8, "dtype 'float99' is not one of"),
        (wire.TensorSpec("float32", [2, 2], [1]), 16, "2 sizes, 1 strides"),
        (wire.TensorSpec("float32", [2, 2], [0, 1]), 16, "declares 64 .* 16"),
        (wire.TensorSpec("float32", [2, 1 << 20], [0, 1]), 1 << 22, "make 8388608 bytes of the"),
        (wire.TensorSpec("float32", [1 << 40], [0]), 64, "strides make 4398046511104 bytes"),
        (wire.TensorSpec("float32", [2], [1 << 40]), 64, "strides make 4398046511108 bytes"),
        (wire.TensorSpec("float32", [1 << 40, 1 << 40], [1 << 40, 1]), 16, "declares"),
        (wire.TensorSpec("float32", [1 << 40, 1 << 40, 0], [1, 1, 1]), 0, "no tensor can have"),
    ],
)
def test_tensor_headers_must_fit_the_body(spec, size, message):
    with pytest.raises(WireError, match=message):
        wire.check_body([spec], size, 1 << 22)


def test_a_dtype_that_cannot_travel_is_named():
    with pytest.raises(WireError, match="float8"):
        tensors.pack([torch.zeros(2).to(torch.float8_e4m3fnuz)])


def test_what_is_no_tensor_and_no_number_is_named():
    for kind in (tensors, arrays):
        with pytest.raises(WireError, match="a str cannot travel"):
            kind.pack(["text"])


# Arrays


@pytest.mark.parametrize("tensor", TENSORS, ids=lambda t: f"{t.dtype}{list(t.shape)}")
def test_tensors_come_through_arrays_as_they_were(tensor):
    (array,) = travel([tensor], receiver=arrays)
    (back,) = travel([array], sender=arrays)
    (direct,) = travel([tensor])
    assert (back.dtype, back.shape, back.stride()) == (direct.dtype, direct.shape, direct.stride())
    assert back.stride() == tensor.stride()
    assert bytes(tensors.pack([back])[1][0]) == bytes(tensors.pack([direct])[1][0])


@pytest.mark.parametrize(
    "tensor",
    [t for t in TENSORS if t.dtype not in BITS_ONLY],
    ids=lambda t: f"{t.dtype}{list(t.shape)}",
)
def test_arrays_read_what_tensors_wrote(tensor):
    (array,) = travel([tensor], receiver=arrays)
    assert np.array_equal(array, tensor.resolve_conj().numpy(), equal_nan=array.dtype.kind == "f")


@pytest.mark.parametrize(
    "array",
    [
        np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1),
        np.arange(6, dtype=np.int64)[::-1],
        np.broadcast_to(np.arange(4.0)[:, None], (4, 5)),
        np.arange(36.0).reshape(6, 6)[::2, 1:],
        np.arange(3.0).reshape(1, 3)[::-1],
        np.ones((2, 3), dtype=[("x", np.float32), ("pad", np.uint8)])["x"],
        np.empty((3, 0), np.float16),
        np.float64(2.5),
        np.array(True),
    ],
    ids=lambda a: f"{a.dtype}{a.strides}",
)
def test_any_array_keeps_elements_shape_and_dtype(array):
    (back,) = travel([array], sender=arrays, receiver=arrays)
    assert (back.dtype, back.shape) == (array.dtype, array.shape)
    assert np.array_equal(back, array)
    (tensor,) = travel([array], sender=arrays)
    assert np.array_equal(tensor.numpy(), array)


def test_dense_arrays_keep_strides_and_are_not_copied():
    array = np.arange(24.0).reshape(2, 3, 4).transpose(2, 0, 1)
    _, (buffer, *_) = arrays.pack([array])
    assert np.shares_memory(buffer, array)
    assert travel([array], arrays, arrays)[0].strides == array.strides


@pytest.mark.parametrize("dtype", [np.longdouble, ">f4", "U3", object], ids=str)
def test_an_array_of_a_dtype_that_cannot_travel_is_named(dtype):
    with pytest.raises(WireError, match="cannot travel"):
        arrays.pack([np.zeros(2, dtype)])


def test_nothing_computes_on_bfloat16_by_mistake():
    (array,) = travel([torch.ones(3, dtype=torch.bfloat16)], receiver=arrays)
    for compute in (lambda: array + 1, lambda: array @ array, lambda: array.sum()):
        with pytest.raises(TypeError):
            compute()
