"""Codecs on tensors: what is kept exactly, how far the rest is off, and what is left alone."""

import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from split_law import through_wire

from edgesplit.core.payload_codec import AS_IS, CODECS, is_lossy, parts_of
from edgesplit.node.codec.payload import as_received, coded_bytes, decode, encode
from edgesplit.node.transport import arrays, tensors, wire
from edgesplit.node.transport.coded_size import LEAST_ELEMENTS, LEAST_PER_CHANNEL, scale_grid
from edgesplit.node.transport.coded_tensor import CodedTensor
from edgesplit.node.transport.tensor_form import payload_bytes

PICTURE = torch.randn(2, 3, 24, 20, generator=torch.Generator().manual_seed(0))
RELU = PICTURE.clamp(min=0)


def layouts():
    """Tensors of more than LEAST_ELEMENTS, half of them zeros, by how they lie."""
    wide = RELU.repeat(1, 4, 1, 1)
    return {
        "channels first": RELU,
        "channels last": RELU.contiguous(memory_format=torch.channels_last),
        "many channels last": wide.contiguous(memory_format=torch.channels_last),
        "transposed": wide.permute(3, 0, 2, 1),
        "gaps": wide[:, ::2, 3:, ::3],
        "expanded": RELU[:, :1].expand(2, 5, 24, 20),
        "windows": torch.randn(4000).unfold(0, 7, 3),
        "one dimension": torch.randn(1001),
        "features": torch.randn(1, 4096),
        "tokens": torch.randn(2, 50, 33),
        "frames": torch.randn(1, 5, 3, 12, 11),
        "negative only": -RELU - 0.5,
        "both signs": PICTURE * 1000 + 300,
        "large": PICTURE * 1e30,
        "tiny": PICTURE * 1e-39,
        "zeros": torch.zeros(30, 30),
        "half a channel zero": torch.cat([RELU, torch.zeros_like(RELU)], 1),
    }


ALL = layouts()


def error_bound(tensor, form):
    """How far each element may be off."""
    x = tensor.to(torch.float64)
    if form is None:
        return torch.zeros_like(x)
    if form in ("float16", "bfloat16"):
        bits, least = (11, 2.0**-25) if form == "float16" else (8, 2.0**-134)
        return x.abs() * 2.0**-bits + least
    top = 15 if form.startswith("int4") else 255
    grid = scale_grid(form, tuple(tensor.shape), tuple(tensor.stride()))
    dims = list(range(x.dim()))
    if grid.channels > 1:
        own = 1 if x.dim() in (4, 5) else x.dim() - 1
        dims = [dim for dim in dims if dim != own]
    low, high = x.amin(dims, True).clamp(max=0), x.amax(dims, True).clamp(min=0)
    one_sided = (low == 0) | (high == 0)
    scale = ((high - low) / torch.where(one_sided, top, top - 1)).clamp(min=1.2e-38)
    return (scale * 0.5001).expand_as(x)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("name", ALL)
def test_what_comes_back(name, dtype, codec):
    x = laid_as(ALL[name], dtype)
    (coded,) = encode([x], codec)
    (back,) = as_received([x], codec)
    assert (back.dtype, back.shape, back.stride()) == (x.dtype, x.shape, x.stride())
    form, _ = parts_of(codec)
    if form is None or coded is x:
        assert torch.equal(bits(back), bits(x))
    off = (back.to(torch.float64) - x.to(torch.float64)).abs()
    assert bool((off <= error_bound(x, form)).all())
    assert bool((back[x == 0] == 0).all()), "zero is kept"
    if name != "large" and not (name == "windows" and form is None):
        assert isinstance(coded, CodedTensor) or form is None
    if isinstance(coded, CodedTensor):
        assert coded.buffer.nbytes < payload_bytes(tensors.forms_of([x]))


def laid_as(tensor, dtype):
    """The tensor in that dtype with its strides."""
    if tensor.dtype == dtype:
        return tensor
    last = sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    memory = tensor.as_strided((last + 1,), (1,), tensor.storage_offset())
    return memory.to(dtype).as_strided(tensor.shape, tensor.stride())


def bits(tensor):
    return tensor.contiguous().view(torch.uint8)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("name", ["channels last", "gaps", "both signs", "tokens", "features"])
def test_torch_and_numpy_write_and_read_the_same(name, codec, monkeypatch):
    x = ALL[name]
    (coded,), (array_coded,) = encode([x], codec), encode([x.numpy()], codec)
    (back,) = decode([coded])
    monkeypatch.delitem(sys.modules, "torch")  # as on a host without
    (again,) = encode([x.numpy()], codec)
    (array_back,) = decode([again])
    assert isinstance(array_back, np.ndarray)
    assert np.array_equal(array_back, back.numpy())
    for one in (array_coded, again):
        assert isinstance(one, CodedTensor) == isinstance(coded, CodedTensor)
        if isinstance(one, CodedTensor):
            assert np.array_equal(one.buffer, coded.buffer)


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_stays(codec, bad):
    x = RELU.clone()
    x[1, 2, 3, 4] = bad
    (coded,) = encode([x], codec)
    if is_lossy(codec):
        assert coded is x
    assert torch.equal(bits(decode([coded])[0]), bits(x))


def test_what_float16_would_make_infinite_stays():
    for largest, is_coded in ((65504.0, True), (65519.0, False), (1e6, False)):
        x = torch.linspace(0, largest, 1000)
        assert isinstance(encode([x], "float16")[0], CodedTensor) == is_coded
        assert as_received([x], "float16")[0].isfinite().all()


@pytest.mark.parametrize("codec", CODECS)
def test_what_is_not_encoded_travels_as_it_is(codec):
    values = [
        torch.arange(1000),
        torch.randn(1000).to(torch.bfloat16),
        torch.randn(1000) > 0,
        torch.randn(1000, dtype=torch.complex64),
        torch.randn(LEAST_ELEMENTS - 1),
        torch.tensor(2.5),
        torch.randn(0, 5),
        torch.randn(1, 1).expand(100, 100),
        np.float32(1.5),
        7,
        True,
        0.5,
    ]
    made = encode(values, codec)
    assert all(one is other for one, other in zip(made, values, strict=True))


def test_as_is_and_what_is_coded_already_are_left_alone():
    (coded,) = encode([RELU], "int8")
    assert encode([coded], "lz4") == [coded]
    assert encode([RELU], AS_IS) == [RELU]


def test_what_does_not_get_smaller_travels_as_it_is():
    raw = np.random.default_rng(0).integers(0, 256, 1 << 14, dtype=np.uint8).view(np.float32)
    noise = torch.from_numpy(raw.copy())
    for codec in ("zstd", "lz4"):
        assert encode([noise], codec)[0] is noise
        assert coded_bytes([noise], codec) == noise.nbytes


def test_nothing_that_is_given_is_changed_and_what_comes_has_memory_of_its_own():
    x = RELU.clone()
    (coded,) = encode([x], "int8")
    (back,) = decode([coded])
    back.zero_()
    assert torch.equal(x, RELU)
    assert bool(decode([coded])[0].any())


def test_gradients_are_no_part_of_a_payload():
    x = torch.randn(1000, requires_grad=True)
    assert not as_received([x], "int8")[0].requires_grad


def test_a_channel_has_a_scale_of_its_own_where_it_has_elements_enough():
    far_apart = torch.stack([torch.rand(40, 40), 1000 * torch.rand(40, 40)])[None]
    for memory_format in (torch.contiguous_format, torch.channels_last):
        x = far_apart.contiguous(memory_format=memory_format)
        off = (as_received([x], "int8-channel")[0] - x).abs().amax((0, 2, 3))
        assert off[0] < 0.003
        assert off[1] > 0.1
    (few,) = encode([torch.randn(8, 200)], "int8-channel")
    assert few.buffer.nbytes == 5 + 8 * 200
    (enough,) = encode([torch.randn(LEAST_PER_CHANNEL, 200)], "int8-channel")
    assert enough.buffer.nbytes == 200 * 5 + LEAST_PER_CHANNEL * 200


def test_sizes_are_what_travels():
    payload = [RELU, torch.arange(9), 3, PICTURE[:, :, ::2]]
    for codec in (AS_IS, *CODECS):
        coded = encode(payload, codec)
        _, buffers = tensors.pack(coded)
        padded = sum(memoryview(buffer).nbytes for buffer in buffers)
        assert 0 <= padded + 8 - coded_bytes(payload, codec) < 3 * wire.ALIGNMENT
    assert coded_bytes(payload, AS_IS) == payload_bytes(tensors.forms_of(payload))
    assert coded_bytes([RELU], "int8") == RELU.numel() + 5


@pytest.mark.parametrize("codec", CODECS)
def test_coded_payloads_pass_frames_of_both_kinds(codec):
    values = [RELU, 7, ALL["gaps"], torch.arange(3)]
    coded = encode(values, codec)
    for hops in (((tensors, tensors),), ((tensors, arrays), (arrays, tensors))):
        there = coded
        for sender, receiver in hops:
            specs, buffers = sender.pack(there)
            body = np.concatenate([np.frombuffer(one, np.uint8) for one in buffers])
            wire.check_body(specs, body.nbytes, wire.DEFAULT_MAX_FRAME_BYTES)
            there = receiver.unpack(specs, body)
        for one, other in zip(decode(there), decode(coded), strict=True):
            same = torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other
            assert same
    assert type(through_wire(coded)[0]) is type(coded[0])


@given(
    shape=st.lists(st.integers(1, 9), min_size=1, max_size=5),
    codec=st.sampled_from(CODECS),
    seed=st.integers(0, 1 << 30),
)
@settings(max_examples=150, deadline=None)
def test_any_shape_in_any_order_of_memory(shape, codec, seed):
    rng = np.random.default_rng(seed)
    x = torch.from_numpy(rng.normal(rng.normal(), 10.0 ** rng.integers(-5, 6), shape)).float()
    x = x.permute(*rng.permutation(len(shape)).tolist())
    if rng.random() < 0.5:
        x = x.clamp(min=0)
    if codec.startswith("float16"):
        x = x.clamp(-6e4, 6e4)
    (back,) = as_received([x], codec)
    assert (back.shape, back.stride()) == (x.shape, x.stride())
    off = (back.double() - x.double()).abs()
    assert bool((off <= error_bound(x, parts_of(codec)[0])).all())
    assert bool((back[x == 0] == 0).all())
