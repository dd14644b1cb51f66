"""Inputs that share memory. Payloads do not, so forward must not write into such an input."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import torch

from edgesplit.errors import InputError

Overlaps = tuple[tuple[int, int], ...]
_MOST_WORK = 100_000  # for numpy to find out exactly; past it two are taken to overlap


def overlaps(tensors: Sequence[torch.Tensor]) -> Overlaps:
    """Pairs of positions whose tensors share memory; (n, n): elements of n share it."""
    own = [(n, n) for n, x in enumerate(tensors) if _overlaps_itself(x)]
    if len(tensors) < 2:
        return tuple(own)
    extents = [(x.data_ptr(), x.data_ptr() + _span_bytes(x)) for x in tensors]
    near = [
        (m, n)
        for n, (first, end) in enumerate(extents)
        for m, (other_first, other_end) in enumerate(extents[:n])
        if first < other_end and other_first < end
    ]
    return (*own, *((m, n) for m, n in near if _share(tensors[m], tensors[n])))


def require_apart(shared: Overlaps, written: Collection[int]) -> None:
    """Raise InputError where forward writes into an input that shares memory.

    written: positions of the inputs it writes into.
    """
    for a, b in shared:
        if a in written or b in written:
            raise InputError(
                f"inputs {a} and {b} share memory and forward writes into one of them, so its "
                "result depends on that; pass x.clone() for one of them"
                if a != b
                else f"elements of input {a} share memory and forward writes into it; pass "
                "x.clone() or x.contiguous()"
            )


def _share(x: torch.Tensor, y: torch.Tensor) -> bool:
    """Whether any element is in both; columns of one matrix lie side by side and share none."""
    try:
        array, other = _array(x), _array(y)
        return np.shares_memory(array, other, max_work=_MOST_WORK)  # type: ignore[arg-type]
    except np.exceptions.TooHardError:
        return True


def _array(x: torch.Tensor) -> Any:
    try:
        return x.detach().numpy()
    except TypeError:  # bfloat16 and its kin
        return x.detach().view(torch.int16 if x.element_size() == 2 else torch.int8).numpy()


def _span_bytes(x: torch.Tensor) -> int:
    """From its first byte to the one past its last; 0 for an empty one."""
    if not x.numel():
        return 0
    last = sum((size - 1) * stride for size, stride in zip(x.shape, x.stride(), strict=True))
    return (last + 1) * x.element_size()


def _overlaps_itself(x: torch.Tensor) -> bool:
    return 0 in x.stride() and any(
        not stride and size > 1 for size, stride in zip(x.shape, x.stride(), strict=True)
    )
