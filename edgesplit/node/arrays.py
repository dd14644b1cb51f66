"""numpy's arrays as the values of a payload, where there is no torch; see tensor_kind.py.

numpy lacks bfloat16 and a few more: such tensors keep their bits under a dtype that refuses
arithmetic, so that a relay passes them on and nothing computes on them by mistake.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.errors import WireError
from edgesplit.node import wire
from edgesplit.node.form import TensorForm

_BITS = {
    "bfloat16": np.uint16,
    "float8_e4m3fn": np.uint8,
    "float8_e5m2": np.uint8,
    "complex32": np.uint32,
}
_DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype([(name, _BITS[name])]) if name in _BITS else np.dtype(name)
    for name in wire.ITEM_BYTES
}
BFLOAT16 = _DTYPES["bfloat16"]
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def pack(values: Sequence[Any]) -> tuple[list[wire.ValueSpec], list[wire.Buffer]]:
    """Specs and buffers of arrays and plain numbers, in order. Dense arrays are not copied.

    Raises WireError for what cannot travel.
    """
    specs: list[wire.ValueSpec] = []
    buffers: list[wire.Buffer] = []
    for value in values:
        if not isinstance(value, np.ndarray | np.generic):
            specs.append(wire.number(value))
            continue
        array = _dense(np.asarray(value))
        name = _dtype_name(array.dtype)
        specs.append(wire.TensorSpec(name, list(array.shape), _strides(array)))
        memory = array.ravel(order="K").view(np.uint8)
        buffers.append(memory)
        if missing := -memory.nbytes % wire.ALIGNMENT:
            buffers.append(wire.ZEROS[:missing])
    return specs, buffers


def unpack(specs: Sequence[wire.ValueSpec], body: Any) -> list[Any]:
    """The values of a checked body; its arrays are views of it."""
    values: list[Any] = []
    at = 0
    for spec in specs:
        if not isinstance(spec, wire.TensorSpec):
            values.append(spec)
            continue
        array = view(body, spec, at)
        values.append(array)
        at += wire.padded(array.nbytes)
    return values


def zeros(form: TensorForm) -> NDArray[Any]:
    """An array of that form, filled with zeros; its strides may leave gaps or overlap.

    Raises WireError for a dtype that is no array's.
    """
    dims = zip(form.shape, form.strides, strict=True)
    last = sum((size - 1) * stride for size, stride in dims if size)
    spec = wire.TensorSpec(form.dtype, list(form.shape), list(form.strides))
    item_bytes = wire.ITEM_BYTES.get(form.dtype, 0)
    return view(np.zeros((last + 1) * item_bytes, np.uint8), spec, 0)


def set_threads(threads: int) -> None:
    """Nothing: what computes on arrays is told its threads when it is made."""


def view(memory: NDArray[np.uint8], spec: wire.TensorSpec, offset_bytes: int) -> NDArray[Any]:
    """The tensor that lies in `memory` from there on, as an array that shares it.

    Raises WireError for a dtype that is no array's.
    """
    dtype = _DTYPES.get(spec.dtype)
    if dtype is None:
        raise WireError(f"no array has dtype {spec.dtype!r}; expected one of {', '.join(_DTYPES)}")
    strides = [step * dtype.itemsize for step in spec.strides]
    return np.ndarray(spec.shape, dtype, memory, offset_bytes, strides)


def _dense(array: NDArray[Any]) -> NDArray[Any]:
    """The array itself if it fills its memory in some order of dimensions, else such a copy.

    The copy keeps the order of dimensions, as tensors.py does.
    """
    if array.flags.c_contiguous:
        return array
    are_whole = not any(stride % array.itemsize for stride in array.strides)
    if are_whole and wire.is_dense(array.shape, [s // array.itemsize for s in array.strides]):
        return array
    return array.copy(order="K")


def _strides(array: NDArray[Any]) -> list[int]:
    """In elements. Those of dimensions of size 1 mean nothing and may be negative in numpy."""
    return [max(0, stride) // array.itemsize for stride in array.strides]


def _dtype_name(dtype: np.dtype[Any]) -> str:
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        raise WireError(f"arrays of {dtype} cannot travel; expected one of {', '.join(_DTYPES)}")
    return name
