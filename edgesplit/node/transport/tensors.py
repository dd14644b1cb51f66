"""torch's tensors as the values of a payload; see tensor_kind.py.

After a model has run, the caches are cold and each call of torch costs some 10 us: few are made.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgesplit.core.payload_codec import AS_IS
from edgesplit.errors import WireError
from edgesplit.node.transport import wire
from edgesplit.node.transport.coded_tensor import CodedTensor, coded_view
from edgesplit.node.transport.strides import Places, is_dense, places
from edgesplit.node.transport.tensor_form import Forms, TensorForm

_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in wire.ITEM_BYTES}
# Those that torch takes from numpy as they are.
_ARRAY_DTYPES = {name: np.dtype(name) for name in ("float32", "float64", "float16", "int64")}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def pack(values: Sequence[Any]) -> tuple[list[wire.ValueSpec], list[wire.Buffer]]:
    """Specs and buffers of tensors, coded ones too, and plain numbers, in order.

    Only gaps cost a copy.

    Raises WireError for what cannot travel.
    """
    specs: list[wire.ValueSpec] = []
    buffers: list[wire.Buffer] = []
    for value in values:
        memory: Any
        if isinstance(value, torch.Tensor):
            tensor, memory = _memory_of(value)
            name = _dtype_name(tensor.dtype)
            specs.append(wire.TensorSpec(name, list(tensor.shape), list(tensor.stride())))
        elif isinstance(value, CodedTensor):
            memory = value.buffer
            specs.append(value.spec)
        else:
            specs.append(wire.number(value))
            continue
        buffers.append(memory)
        if missing := -memory.nbytes % wire.ALIGNMENT:
            buffers.append(wire.ZEROS[:missing])
    return specs, buffers


def unpack(specs: Sequence[wire.ValueSpec], body: Any) -> list[Any]:
    """The values of a checked body; its tensors are views of it.

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
        layout = _layout(spec.dtype, tuple(spec.shape), tuple(spec.strides))
        values.append(layout.tensor(body, at))
        at += layout.body_bytes
    return values


@dataclass(frozen=True)
class _Layout:
    """How a tensor lies in a body. body_bytes: that it takes there. found: where it is not dense.

    steps: its strides in bytes, as numpy has them.
    """

    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    steps: tuple[int, ...]
    count: int
    body_bytes: int
    found: Places | None

    def tensor(self, body: Any, at: int) -> torch.Tensor:
        """Of that body, from byte `at` on; a view of it unless it has gaps."""
        if self.found is None and self.count and self.dtype in _ARRAY_DTYPES:
            array = np.ndarray(self.shape, _ARRAY_DTYPES[self.dtype], body, at, self.steps)
            return torch.from_numpy(array)  # one call of torch instead of two
        dtype = _DTYPES[self.dtype]
        if not self.count:
            return torch.empty_strided(self.shape, self.strides, dtype=dtype)
        flat = torch.frombuffer(body, dtype=dtype, count=self.count, offset=at)
        if self.found is not None and self.found.packed is not None:
            flat = _spread(flat, self.found, self.strides)
        return flat.as_strided(self.shape, self.strides)


@functools.lru_cache(maxsize=256)  # steady requests bring the same tensors again and again
def _layout(dtype: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> _Layout:
    found = None if is_dense(shape, strides) else places(shape, strides)
    count = math.prod(shape) if found is None else found.count
    item_bytes = wire.ITEM_BYTES[dtype]
    steps = tuple(stride * item_bytes for stride in strides)
    body_bytes = wire.padded(count * item_bytes)
    return _Layout(dtype, shape, strides, steps, count, body_bytes, found)


def laid(value: torch.Tensor, shape: Sequence[int], strides: Sequence[int]) -> torch.Tensor:
    """The value in memory of its own under these strides, which may leave gaps or overlap.

    shape: as the value's, or larger where that is 1, which is repeated.
    """
    memory = torch.empty_strided(shape, strides, dtype=value.dtype)
    own = places(shape, strides).shape
    value = value.expand(shape)[tuple(slice(0, size) for size in own)]
    memory.as_strided(own, strides).copy_(value)
    return memory


def joined(values: Sequence[torch.Tensor], axis: int, strides: Sequence[int]) -> torch.Tensor:
    """The tensors side by side along `axis`, in memory of its own under these strides."""
    shape = list(values[0].shape)
    shape[axis] = sum(value.shape[axis] for value in values)
    if not is_dense(shape, strides):
        return laid(torch.cat(list(values), axis), shape, strides)
    memory = torch.empty_strided(shape, strides, dtype=values[0].dtype)
    return torch.cat(list(values), axis, out=memory)


def part(tensor: torch.Tensor, axis: int, start: int, form: TensorForm) -> torch.Tensor:
    """What begins at `start` along `axis`, as the form has it: a view if its strides allow it."""
    view = tensor.narrow(axis, start, form.shape[axis])
    dims = zip(form.shape, view.stride(), form.strides, strict=True)
    if all(size == 1 or a == b for size, a, b in dims):
        return view.as_strided(form.shape, form.strides)
    return laid(view, form.shape, form.strides)


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor in memory of its own, with its strides."""
    if tensor.is_contiguous() or is_dense(tensor.shape, tensor.stride()):
        return tensor.clone(memory_format=torch.preserve_format)
    return laid(tensor, tensor.shape, tensor.stride())


def copied_values(values: Sequence[Any]) -> list[Any]:
    """A payload whose tensors have memory of their own."""
    return [copied(value) if isinstance(value, torch.Tensor) else value for value in values]


def zeros(form: TensorForm) -> torch.Tensor:
    """A tensor of that form, filled with zeros."""
    return torch.empty_strided(form.shape, form.strides, dtype=dtype_of(form.dtype)).zero_()


def forms_of(payload: Sequence[Any]) -> Forms:
    """What the payload's tensors look like; its plain numbers as they are."""
    return tuple(
        TensorForm(name_of(value.dtype), tuple(value.shape), value.stride())
        if isinstance(value, torch.Tensor)
        else value
        for value in payload
    )


def can_travel(tensor: torch.Tensor) -> bool:
    """Whether it is one that payloads carry: not sparse, nested or quantised."""
    return tensor.layout is torch.strided and not (tensor.is_nested or tensor.is_quantized)


def dtype_of(name: str) -> torch.dtype:
    """The dtype that torch calls so; the reverse of name_of."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def name_of(dtype: torch.dtype) -> str:
    """What torch calls it, as forms and specs hold it: `float32`."""
    return str(dtype).removeprefix("torch.")


def settle(threads: int, flushes_denormals: bool) -> None:
    """How the calling thread computes from now on.

    Ray sets OMP_NUM_THREADS, and OpenMP keeps the number per thread. Whether denormals are flushed
    is a flag of the thread's too; those that OpenMP starts for it take it over.
    """
    torch.set_flush_denormal(flushes_denormals)
    torch.set_num_threads(threads)


def flushes_denormals() -> bool:
    """Whether the calling thread computes with denormals as 0."""
    return bool(torch.tensor(1e-40) * 1 == 0)


def _memory_of(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """The tensor as it lies, and what of its memory travels, as a flat array that may share it."""
    try:
        array = tensor.numpy()
    except (RuntimeError, TypeError):  # needs grad, is conjugated or negated, or of bfloat16
        tensor = tensor.detach().resolve_conj().resolve_neg()
    else:
        if array.flags.c_contiguous:
            return tensor, array.reshape(-1)
    found = places(tensor.shape, tensor.stride())
    flat = tensor
    if found.packed is not None:
        flat = torch.empty_strided(found.shape, found.packed, dtype=tensor.dtype)
        flat.copy_(tensor.as_strided(found.shape, tensor.stride()))
    return tensor, flat.as_strided((found.count,), (1,)).view(torch.uint8).numpy()


def _spread(flat: torch.Tensor, found: Places, strides: Sequence[int]) -> torch.Tensor:
    """Memory in which the elements that arrived in `flat` lie apart, as these strides want it."""
    assert found.packed is not None, "it has gaps"
    memory = torch.zeros(found.reach, dtype=flat.dtype)
    memory.as_strided(found.shape, strides).copy_(flat.as_strided(found.shape, found.packed))
    return memory


def _dtype_name(dtype: torch.dtype) -> str:
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        raise WireError(f"tensors of {dtype} cannot travel; expected one of {', '.join(_DTYPES)}")
    return name
