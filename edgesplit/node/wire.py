"""Frames of the data plane: a small typed header and raw tensor bytes. No pickle, nothing executed.

One message is [header, buffer, buffer, ...]. The header is a magic, a version byte and msgpack;
every field is validated before any is used. Tensors travel with shape, dtype and strides.
"""

import itertools
import math
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec
import numpy as np
import torch

from edgesplit.core.sample import Sample
from edgesplit.errors import WireError

MAGIC = b"ESP"
VERSION = 1
DEFAULT_MAX_FRAME_BYTES = 1 << 28  # 256 MiB: 80 times VGG-16's largest payload at batch 1
MAX_VALUES = 4096
_PREFIX = MAGIC + bytes([VERSION])

_DTYPES = {
    str(dtype).removeprefix("torch."): dtype
    for dtype in (
        *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
        *(torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.bool),
        *(torch.complex64, torch.complex128),
    )
}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}

Name = Annotated[str, msgspec.Meta(max_length=128)]
Size = Annotated[int, msgspec.Meta(ge=0, lt=1 << 48)]
Dims = Annotated[list[Size], msgspec.Meta(max_length=32)]


class TensorSpec(msgspec.Struct, frozen=True, array_like=True):
    """How to read one buffer: dtype name, shape and strides (in elements, dense in some order)."""

    dtype: Name
    shape: Dims
    strides: Dims


ValueSpec = TensorSpec | bool | int | float


class Hop(msgspec.Struct, frozen=True, array_like=True):
    """One stage of the route with the address that runs it."""

    tier: Name
    address: Annotated[str, msgspec.Meta(max_length=256)]
    start: Size
    stop: Size


class Request(msgspec.Struct, frozen=True, tag="request", kw_only=True):
    """Run route[at] on the values and send them on. timeout_s: what is left of the time limit."""

    id: Name
    program: Name
    route: Annotated[list[Hop], msgspec.Meta(min_length=1, max_length=64)]
    at: Size
    timeout_s: Annotated[float, msgspec.Meta(gt=0)]
    values: Annotated[list[ValueSpec], msgspec.Meta(max_length=MAX_VALUES)]


class Reply(msgspec.Struct, frozen=True, tag="reply", kw_only=True):
    """The model's outputs and one sample per tier from the replying one to the last, in order."""

    id: Name
    values: Annotated[list[ValueSpec], msgspec.Meta(max_length=MAX_VALUES)]
    samples: Annotated[list[Sample], msgspec.Meta(max_length=64)]


class Refusal(msgspec.Struct, frozen=True, tag="refusal", kw_only=True):
    """Why a message was not served. id is empty where the message could not be read."""

    id: Name
    tier: Name
    reason: str
    message: str


class Probe(msgspec.Struct, frozen=True, tag="probe", kw_only=True):
    """Answer with an Echo at once; the buffer behind it is ballast. sender: the asking tier."""

    id: Name
    sender: Name


class Echo(msgspec.Struct, frozen=True, tag="echo", kw_only=True):
    """The answer to a Probe."""

    id: Name


Message = Request | Reply | Refusal | Probe | Echo
Buffer = Any  # whatever has the buffer protocol: bytes, a numpy array, a zmq frame's memory

_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Message] = msgspec.msgpack.Decoder(Message)


def encode(message: Message) -> bytes:
    """The header frame of `message`."""
    return _PREFIX + _encoder.encode(message)


def decode(header: Buffer) -> Message:
    """The message a header frame holds. Raises WireError naming what is wrong with it."""
    view = memoryview(header)
    if view[:3] != MAGIC:
        raise WireError(
            f"not an EdgeSplit frame: begins with {bytes(view[:4])!r}, expected {_PREFIX!r}"
        )
    if view[3:4] != _PREFIX[3:]:
        given = view[3] if len(view) > 3 else None
        raise WireError(
            f"frame of wire version {given}, this side speaks {VERSION}; "
            "install the same EdgeSplit on all tiers"
        )
    try:
        return _decoder.decode(view[4:])
    except msgspec.MsgspecError as error:
        raise WireError(f"malformed header: {error}") from None


def check_buffers(values: Sequence[ValueSpec], sizes: Sequence[int], max_frame_bytes: int) -> None:
    """Raise WireError unless buffers of these `sizes` (bytes) are what `values` declares."""
    specs = [spec for spec in values if isinstance(spec, TensorSpec)]
    if len(specs) != len(sizes):
        raise WireError(f"header declares {len(specs)} tensors, {len(sizes)} buffers follow")
    if sum(sizes) > max_frame_bytes:
        raise WireError(
            f"frame of {sum(sizes)} bytes is over the limit of {max_frame_bytes}; "
            "raise max_frame_bytes on every tier or send smaller batches"
        )
    for spec, size in zip(specs, sizes, strict=True):
        expected = _n_bytes(spec)
        if size != expected:
            raise WireError(f"tensor {spec} needs {expected} bytes, its buffer has {size}")


def pack_values(values: Sequence[Any]) -> tuple[list[ValueSpec], list[Buffer]]:
    """Specs and buffers of tensors and plain numbers, in order. Dense tensors are not copied."""
    specs: list[ValueSpec] = []
    buffers: list[Buffer] = []
    for value in values:
        if not isinstance(value, torch.Tensor):
            specs.append(value)
            continue
        tensor = _dense(value.detach())
        specs.append(
            TensorSpec(_dtype_name(tensor.dtype), list(tensor.shape), list(tensor.stride()))
        )
        buffers.append(_bytes_of(tensor))
    return specs, buffers


def unpack_values(specs: Sequence[ValueSpec], buffers: Sequence[Buffer]) -> list[Any]:
    """The values that `specs` and checked `buffers` hold, in memory of their own.

    The copy gives torch's alignment, which a received buffer lacks, and frees the frame.
    """
    rest = iter(buffers)
    return [_tensor(spec, next(rest)) if isinstance(spec, TensorSpec) else spec for spec in specs]


def _tensor(spec: TensorSpec, buffer: Buffer) -> torch.Tensor:
    tensor = torch.empty_strided(spec.shape, spec.strides, dtype=_DTYPES[spec.dtype])
    if tensor.numel():
        np.copyto(_bytes_of(tensor), np.frombuffer(buffer, dtype=np.uint8))
    return tensor


def _bytes_of(tensor: torch.Tensor) -> Any:
    """The memory of a dense tensor as a flat uint8 array that shares it."""
    flat = tensor.as_strided((tensor.numel(),), (1,))
    return flat.view(torch.uint8).numpy()


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself if it fills its memory in some order of dimensions, else such a copy.

    The copy keeps the order of dimensions: an exported graph may have a view() baked in that
    only works for that layout.
    """
    tensor = tensor.resolve_conj().resolve_neg()
    if tensor.is_contiguous() or _is_dense(tensor.shape, tensor.stride()):
        return tensor
    return tensor.clone(memory_format=torch.preserve_format)


def _is_dense(shape: Sequence[int], strides: Sequence[int]) -> bool:
    """Whether each element has a place of its own and no place is left over."""
    expected = 1
    for stride, size in sorted(zip(strides, shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def _n_bytes(spec: TensorSpec) -> int:
    dtype = _DTYPES.get(spec.dtype)
    if dtype is None:
        raise WireError(f"dtype {spec.dtype!r} is not one of {', '.join(_DTYPES)}")
    if len(spec.strides) != len(spec.shape):
        raise WireError(f"tensor {spec} has {len(spec.shape)} sizes, {len(spec.strides)} strides")
    count = math.prod(spec.shape)
    if count and not _is_dense(spec.shape, spec.strides):
        raise WireError(f"tensor {spec} is not dense: strides leave gaps or overlap")
    return count * dtype.itemsize


def _dtype_name(dtype: torch.dtype) -> str:
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        raise WireError(f"tensors of {dtype} cannot travel; expected one of {', '.join(_DTYPES)}")
    return name


def request_ids(prefix: str) -> Any:
    """An endless iterator of request ids that share `prefix`."""
    return (f"{prefix}-{n}" for n in itertools.count())
