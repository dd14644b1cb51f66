"""torch's tensors as the values of a payload; see tensor_kind.py.

After a model has run, the caches are cold and each call of torch costs some 10 us: few are made.
"""

import math
from collections.abc import Sequence
from typing import Any

import torch

from edgesplit.errors import WireError
from edgesplit.node import wire
from edgesplit.node.form import Forms, TensorForm

_DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in wire.ITEM_BYTES}
_DTYPE_NAMES = {dtype: name for name, dtype in _DTYPES.items()}


def pack(values: Sequence[Any]) -> tuple[list[wire.ValueSpec], list[wire.Buffer]]:
    """Specs and buffers of tensors and plain numbers, in order. Dense tensors are not copied.

    Raises WireError for what cannot travel.
    """
    specs: list[wire.ValueSpec] = []
    buffers: list[wire.Buffer] = []
    for value in values:
        if not isinstance(value, torch.Tensor):
            specs.append(wire.number(value))
            continue
        tensor, memory = _memory_of(value)
        name = _dtype_name(tensor.dtype)
        specs.append(wire.TensorSpec(name, list(tensor.shape), list(tensor.stride())))
        buffers.append(memory)
        if missing := -memory.nbytes % wire.ALIGNMENT:
            buffers.append(wire.ZEROS[:missing])
    return specs, buffers


def unpack(specs: Sequence[wire.ValueSpec], body: Any) -> list[Any]:
    """The values of a checked body; its tensors are views of it."""
    values: list[Any] = []
    at = 0
    for spec in specs:
        if not isinstance(spec, wire.TensorSpec):
            values.append(spec)
            continue
        dtype, count = _DTYPES[spec.dtype], math.prod(spec.shape)
        if not count:
            values.append(torch.empty_strided(spec.shape, spec.strides, dtype=dtype))
            continue
        flat = torch.frombuffer(body, dtype=dtype, count=count, offset=at)
        values.append(flat.as_strided(spec.shape, spec.strides))
        at += wire.padded(count * dtype.itemsize)
    return values


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


def dtype_of(name: str) -> torch.dtype:
    """The dtype that torch calls so; the reverse of name_of."""
    dtype: torch.dtype = getattr(torch, name)
    return dtype


def name_of(dtype: torch.dtype) -> str:
    """What torch calls it, as forms and specs hold it: `float32`."""
    return str(dtype).removeprefix("torch.")


def set_threads(threads: int) -> None:
    """torch's intra-op threads of the calling thread.

    Ray sets OMP_NUM_THREADS, and OpenMP keeps the number per thread.
    """
    torch.set_num_threads(threads)


def _memory_of(tensor: torch.Tensor) -> tuple[torch.Tensor, Any]:
    """The tensor, or a dense copy of it, and its memory as a flat array that shares it."""
    try:
        array = tensor.numpy()
    except (RuntimeError, TypeError):  # needs grad, is conjugated or negated, or of bfloat16
        tensor = tensor.detach().resolve_conj().resolve_neg()
    else:
        if array.flags.c_contiguous:
            return tensor, array.reshape(-1)
    tensor = _dense(tensor)
    flat = tensor.as_strided((tensor.numel(),), (1,))
    return tensor, flat.view(torch.uint8).numpy()


def _dense(tensor: torch.Tensor) -> torch.Tensor:
    """The tensor itself if it fills its memory in some order of dimensions, else such a copy.

    The copy keeps the order of dimensions: an exported graph may have a view() baked in that
    only works for that layout.
    """
    if tensor.is_contiguous() or wire.is_dense(tensor.shape, tensor.stride()):
        return tensor
    return tensor.clone(memory_format=torch.preserve_format)


def _dtype_name(dtype: torch.dtype) -> str:
    name = _DTYPE_NAMES.get(dtype)
    if name is None:
        raise WireError(f"tensors of {dtype} cannot travel; expected one of {', '.join(_DTYPES)}")
    return name
