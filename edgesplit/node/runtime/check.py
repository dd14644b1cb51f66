"""Whether a prepared range may be used: what it gives beside what eager torch gives.

On torch's tensors and numpy's arrays alike; no torch is imported here.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.errors import InexactRuntimeError

TOLERANCE = 1e-4


@dataclass(frozen=True)
class Exactness:
    """How far a runtime's results may lie from eager torch's; exact: not at all.

    is_lossy: only forms count, and that what is finite stays so.
    """

    tolerance: float = TOLERANCE
    exact: bool = False
    is_lossy: bool = False


Run = Callable[[Sequence[Any]], Sequence[Any]]


@dataclass(frozen=True, eq=False)
class Trial:
    """A payload at cut 0 that runtimes are judged on.

    make: gives it, the same at every call. run: gives what eager torch makes of it, as a payload at
    the last cut.
    """

    name: str
    make: Callable[[], Sequence[Any]]
    run: Run


def compare(prepared: Run, reference: Run, payload: Sequence[Any]) -> float:
    """The difference() of what both make of a payload."""
    return difference(prepared(payload), reference(payload))


def difference(made: Sequence[Any], expected: Sequence[Any]) -> float:
    """The largest relative difference over all values: max|a - b| / max|b|, 0 if bit-identical.

    Both maxima are over one tensor's finite elements: an element is measured against the largest
    one of its own tensor, so that one that nearly cancels out counts for little. Infinite where a
    NaN, an infinity, a plain number, a whole-number or boolean tensor, a dtype, a shape or strides
    differ, or where a tensor should hold zeros only and does not.
    """
    if len(made) != len(expected):
        return math.inf
    return max((_difference(a, b) for a, b in zip(made, expected, strict=True)), default=0.0)


def error_of(made: Sequence[Any], expected: Sequence[Any], wanted: Exactness) -> float:
    """difference(), as require() takes it; of a lossy runtime infinite for another form only.

    There a whole number, or a tensor that should hold zeros, that differs counts as 1.
    """
    error = difference(made, expected)
    if not (wanted.is_lossy and math.isinf(error)):
        return error
    pairs = zip(made, expected, strict=False)
    is_right = len(made) == len(expected) and all(_is_like(a, b) for a, b in pairs)
    return 1.0 if is_right else math.inf


def require(what: str, trial: str, error: float, wanted: Exactness) -> None:
    """Raise InexactRuntimeError where `what` is that far off on the trial, and may not be."""
    if eligible(error, wanted.tolerance, wanted.exact):
        return
    if math.isinf(error):
        raise InexactRuntimeError(
            f"{what} gives another result than torch on {trial}: not the same shapes, dtypes, "
            "whole numbers, NaNs or zeros; it is not used"
        )
    allowed = "nothing" if wanted.exact else f"{wanted.tolerance:g}"
    raise InexactRuntimeError(
        f"{what} differs from torch by {error:.1e} (relative) on {trial}, {allowed} is allowed; it "
        "is not used"
    )


def eligible(error: float, tolerance: float = TOLERANCE, exact: bool = False) -> bool:
    """Whether a range with that error may be used; exact: only a bit-identical one."""
    return error == 0.0 if exact else error <= tolerance


def _difference(made: Any, expected: Any) -> float:
    if not hasattr(expected, "shape"):
        return 0.0 if type(made) is type(expected) and made == expected else math.inf
    if not _same_form(made, expected):
        return math.inf
    a, b = _numbers(made), _numbers(expected)
    if np.array_equal(a, b, equal_nan=b.dtype.kind in "fc"):
        return 0.0
    is_finite = np.isfinite(b)
    if b.dtype.kind not in "fc" or not np.array_equal(np.isfinite(a), is_finite):
        return math.inf
    if not np.array_equal(a[~is_finite], b[~is_finite], equal_nan=True):
        return math.inf
    largest = np.abs(b[is_finite]).max(initial=0.0)
    difference = np.abs(a[is_finite] - b[is_finite]).max(initial=0.0)
    return float(difference / largest) if largest else math.inf


def _is_like(made: Any, expected: Any) -> bool:
    """Of the same form, and finite where it should be."""
    if not hasattr(expected, "shape"):
        return type(made) is type(expected)
    if not _same_form(made, expected):
        return False
    return bool((np.isfinite(_numbers(made)) | ~np.isfinite(_numbers(expected))).all())


def _same_form(made: Any, expected: Any) -> bool:
    """Same type, dtype, shape and strides; those of a dimension of size 1 mean nothing."""
    if type(made) is not type(expected) or made.dtype != expected.dtype:
        return False
    if made.shape != expected.shape:
        return False
    dims = zip(expected.shape, _strides(made), _strides(expected), strict=True)
    return 0 in expected.shape or all(size == 1 or a == b for size, a, b in dims)


def _strides(value: Any) -> tuple[int, ...]:
    return tuple(value.strides) if isinstance(value, np.ndarray) else tuple(value.stride())


def _numbers(value: Any) -> NDArray[Any]:
    """The elements, floating-point ones in double precision, so that none is lost in between."""
    if not isinstance(value, np.ndarray):
        value = value.detach().resolve_conj().resolve_neg()
        value = (value.double() if value.is_floating_point() else value).numpy()
    array: NDArray[Any] = value
    return array.astype(np.float64) if array.dtype.kind == "f" else array
