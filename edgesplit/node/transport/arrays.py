"""numpy's arrays as the values of a payload, where there is no torch; see tensor_kind.py.

numpy lacks bfloat16 and a few more: such tensors keep their bits under a dtype that refuses
arithmetic, so that a relay passes them on and nothing computes on them by mistake.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided
from numpy.typing import NDArray

from edgesplit.core.payload_codec import AS_IS
from edgesplit.errors import WireError
from edgesplit.node.transport import wire
from edgesplit.node.transport.coded_tensor import CodedTensor, coded_view
from edgesplit.node.transport.strides import Places, places
from edgesplit.node.transport.tensor_form import TensorForm

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
    """Specs and buffers of arrays, coded ones too, and plain numbers, in order.

    Dense arrays are not copied.

    Raises WireError for what cannot travel.
    """
    specs: list[wire.ValueSpec] = []
    buffers: list[wire.Buffer] = []
    for value in values:
        if isinstance(value, np.ndarray | np.generic):
            array = _forwards(np.asarray(value))
            name, strides = _dtype_name(array.dtype), _strides(array)
            specs.append(wire.TensorSpec(name, list(array.shape), strides))
            memory = _memory_of(array, strides)
        elif isinstance(value, CodedTensor):
            specs.append(value.spec)
            memory = value.buffer
        else:
            specs.append(wire.number(value))
            continue
        buffers.append(memory)
        if missing := -memory.nbytes % wire.ALIGNMENT:
            buffers.append(wire.ZEROS[:missing])
    return specs, buffers


def unpack(specs: Sequence[wire.ValueSpec], body: Any) -> list[Any]:
    """The values of a checked body; its arrays are views of it.

    Those in a codec stay in it.
    """
    values: list[Any] = []
    at = 0
    for spec in specs:
        if not isinstance(spec, wire.TensorSpec):
            values.append(spec)
            continue
        if spec.codec != AS_IS:
            values.append(coded_view(body, at, spec, unpack))
            at += wire.padded(spec.coded_bytes)
            continue
        found, step = places(spec.shape, spec.strides), wire.ITEM_BYTES[spec.dtype]
        n_bytes = found.count * step
        if found.packed is None:
            values.append(view(body, spec, at))
        else:
            values.append(_spread(body[at : at + n_bytes], spec, found))
        at += wire.padded(n_bytes)
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


def settle(threads: int, flushes_denormals: bool) -> None:
    """Nothing: what computes on arrays is told when it is made."""


def view(memory: NDArray[np.uint8], spec: wire.TensorSpec, offset_bytes: int) -> NDArray[Any]:
    """The tensor that lies in `memory` from there on, as an array that shares it.

    Raises WireError for a dtype that is no array's.
    """
    dtype = _DTYPES.get(spec.dtype)
    if dtype is None:
        raise WireError(f"no array has dtype {spec.dtype!r}; expected one of {', '.join(_DTYPES)}")
    strides = [step * dtype.itemsize for step in spec.strides]
    return np.ndarray(spec.shape, dtype, memory, offset_bytes, strides)


def _forwards(array: NDArray[Any]) -> NDArray[Any]:
    """The array itself where torch could have its strides, else a copy of its order of dims."""
    dims = zip(array.shape, array.strides, strict=True)
    are_torchs = all(size == 1 or (step >= 0 and not step % array.itemsize) for size, step in dims)
    return array if are_torchs or not array.size else array.copy(order="K")


def _memory_of(array: NDArray[Any], strides: Sequence[int]) -> NDArray[np.uint8]:
    """What of the array's memory travels, as a flat array that may share it."""
    found, step = places(array.shape, strides), array.itemsize
    if found.packed is None:
        flat = as_strided(array, (found.count,), (step,))
        return flat.view(np.uint8)
    packed = np.empty(found.count, array.dtype)
    np.copyto(_strided(packed, found.shape, found.packed), _strided(array, found.shape, strides))
    return packed.view(np.uint8)


def _spread(flat: NDArray[np.uint8], spec: wire.TensorSpec, found: Places) -> NDArray[Any]:
    """The tensor whose elements arrived in `flat`, in memory of its own with its strides' gaps."""
    assert found.packed is not None, "it has gaps"
    memory = np.zeros(found.reach * wire.ITEM_BYTES[spec.dtype], np.uint8)
    shape = list(found.shape)
    sent = view(flat, wire.TensorSpec(spec.dtype, shape, list(found.packed)), 0)
    np.copyto(view(memory, wire.TensorSpec(spec.dtype, shape, spec.strides), 0), sent)
    return view(memory, spec, 0)


def _strided(array: NDArray[Any], shape: Sequence[int], strides: Sequence[int]) -> NDArray[Any]:
    return as_strided(array, shape, [stride * array.itemsize for stride in strides])


def _strides(array: NDArray[Any]) -> list[int]:
    """In elements. Those of dimensions of size 1 mean nothing and may be negative in numpy."""
    return [max(0, stride) // array.itemsize for stride in array.strides]


def _dtype_name(dtype: np.dtype[Any]) -> str:
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        raise WireError(f"arrays of {dtype} cannot travel; expected one of {', '.join(_DTYPES)}")
    return name
