"""Values of the form a range expects, laid out in memory as eager torch leaves them. No torch."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.node.transport.tensor_form import Form, TensorForm


def fits(form: Form, value: Any) -> bool:
    """Whether the value is a tensor or array of that shape and dtype, or that very number."""
    if not isinstance(form, TensorForm):
        return type(value) is type(form) and bool(value == form)
    shape = getattr(value, "shape", None)
    return shape == form.shape and str(value.dtype).removeprefix("torch.") == form.dtype


def laid_out(array: NDArray[Any], strides: Sequence[int]) -> NDArray[Any]:
    """The array with these strides, in elements >= 0: itself, a view, or a copy.

    Strides may leave gaps or overlap, as those of a slice or of an expanded tensor do.
    """
    step = array.itemsize
    strides_bytes = tuple(stride * step for stride in strides)
    if array.strides == strides_bytes or not array.size:
        return array
    if _differ_in_single_dims_only(array, strides_bytes):
        return np.ndarray(array.shape, array.dtype, array, strides=strides_bytes)
    last = sum((size - 1) * stride for size, stride in zip(array.shape, strides, strict=True))
    memory = np.zeros(last + 1, array.dtype)
    laid = np.ndarray(array.shape, array.dtype, memory, strides=strides_bytes)
    np.copyto(laid, array)
    return laid


def _differ_in_single_dims_only(array: NDArray[Any], strides_bytes: Sequence[int]) -> bool:
    """Whether they reach the same places: nothing is ever a step along a dimension of size 1."""
    dims = zip(array.shape, array.strides, strides_bytes, strict=True)
    return array.flags.c_contiguous and all(size == 1 or a == b for size, a, b in dims)
