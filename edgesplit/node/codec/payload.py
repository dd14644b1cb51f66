"""Payloads in a codec and back: encode() for a link, decode() behind it.

Only dense-enough numbers are encoded: float32 and float64 of LEAST_ELEMENTS or more. All else
travels as it is, and so does a tensor that a codec would change beyond rounding (NaN, infinity, too
large for float16) or not make smaller.
"""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.payload_codec import AS_IS, parts_of
from edgesplit.node.codec import entropy, number_form
from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.coded_size import (
    ENCODED_DTYPES,
    LEAST_ELEMENTS,
    CodedBytes,
    ScaleGrid,
    form_bytes,
    scale_grid,
)
from edgesplit.node.transport.coded_tensor import CodedTensor
from edgesplit.node.transport.tensor_form import SCALAR_BYTES
from edgesplit.node.transport.tensor_kind import TensorKind


def encode(values: Sequence[Any], codec: str) -> list[Any]:
    """The payload with its tensors in that codec, as far as they can be and gain by it.

    codec: of core's CODECS, or AS_IS. Nothing that is given is changed or kept, except what travels
    as it is.

    Example:
        >>> picture = np.ones((1, 3, 224, 224), np.float32)
        >>> encode([picture, 7], "int8")[0].buffer.nbytes
        150533
    """
    if codec == AS_IS:
        return list(values)
    return [_encoded(value, codec) if _can_be_encoded(value) else value for value in values]


def decode(values: Sequence[Any]) -> list[Any]:
    """The payload without codecs: tensors have the dtype, shape and strides that they had.

    Raises WireError for bytes that no encoder makes.
    """
    return [_decoded(value) if isinstance(value, CodedTensor) else value for value in values]


def as_received(values: Sequence[Any], codec: str) -> list[Any]:
    """The payload as whoever it is sent to in that codec computes with it.

    This is the law: a model that is split with a codec gives what the whole one does with this put
    in at the cut.
    """
    return decode(encode(values, codec))


def coded_bytes(values: Sequence[Any], codec: str) -> int:
    """Bytes of the payload in that codec on the wire, as payload_bytes() counts them as it is."""
    return sum(_sent_bytes(value) for value in encode(values, codec))


def _can_be_encoded(value: Any) -> bool:
    if isinstance(value, CodedTensor | bool | int | float) or not hasattr(value, "dtype"):
        return False
    dtype = str(value.dtype).removeprefix("torch.")
    return dtype in ENCODED_DTYPES and math.prod(value.shape) >= LEAST_ELEMENTS


def _encoded(value: Any, codec: str) -> Any:
    kind = _kind_of(value)
    (spec,), (memory, *_) = kind.pack([value])
    assert isinstance(spec, wire.TensorSpec), "it has a dtype"
    form, coder = parts_of(codec)
    grid = scale_grid(form or "", tuple(spec.shape), tuple(spec.strides))
    flat = np.frombuffer(memory, spec.dtype)
    made: CodedBytes | None = flat.view(np.uint8)
    if form is not None:
        made = number_form.write(form, _as_float32(flat), grid)
    if made is not None and coder is not None:
        made = entropy.compress(coder, made, _plane_bytes(form, spec.dtype))
    # Elements that overlap, or are repeated, are fewer than the shape says.
    if grid.count < LEAST_ELEMENTS or made is None or made.nbytes >= flat.nbytes:
        return value
    return CodedTensor(codec, spec.dtype, tuple(spec.shape), tuple(spec.strides), made, kind.unpack)


def _decoded(coded: CodedTensor) -> Any:
    form, coder = parts_of(coded.codec)
    grid = scale_grid(form or "", coded.shape, coded.strides)
    buffer = coded.buffer
    if coder is not None:
        buffer = entropy.decompress(coder, buffer, form_bytes(form, coded.dtype, grid))
    body = wire.new_body(wire.padded(grid.count * ENCODED_DTYPES[coded.dtype]))
    flat = body[: grid.count * ENCODED_DTYPES[coded.dtype]].view(coded.dtype)
    _fill(flat, buffer, coded.codec, grid)
    return coded.unpack([coded.plain_spec], body)[0]


def _fill(flat: NDArray[Any], buffer: CodedBytes, codec: str, grid: ScaleGrid) -> None:
    form, coder = parts_of(codec)
    if form is None:
        entropy.join_planes(buffer, flat.itemsize, flat.view(np.uint8))
        return
    planes = _plane_bytes(form, str(flat.dtype))
    if coder is not None and planes > 1:
        joined = np.empty_like(buffer)
        entropy.join_planes(buffer, planes, joined)
        buffer = joined
    if flat.dtype == np.float32:
        number_form.read(form, buffer, grid, flat)
        return
    rounded = np.empty(grid.count, np.float32)
    number_form.read(form, buffer, grid, rounded)
    np.copyto(flat, rounded)


def _as_float32(flat: NDArray[Any]) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # what is too large becomes infinite, which is not encoded
        made: NDArray[np.float32] = flat.astype(np.float32, copy=False)
    return made


def _plane_bytes(form: str | None, dtype: str) -> int:
    """Of a number that an entropy coder is given as planes; 1: as they are."""
    if form is None:
        return ENCODED_DTYPES[dtype]
    return 2 if form == "bfloat16" else 1


def _kind_of(value: Any) -> TensorKind:
    if isinstance(value, np.ndarray | np.generic):
        return arrays
    from edgesplit.node.transport import tensors  # it is one of torch's, so that is installed

    return tensors


def _sent_bytes(value: Any) -> int:
    if isinstance(value, CodedTensor):
        return value.buffer.nbytes
    if isinstance(value, bool | int | float):
        return SCALAR_BYTES
    _, (memory, *_) = _kind_of(value).pack([value])
    return int(memoryview(memory).nbytes)
