"""What callers give, judged by kind and range. A bool is no number, numpy's numbers are."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import TypeGuard

import numpy as np

Refuse = Callable[[str], Exception]


def is_number(value: object) -> bool:
    """Whether it is a real number that a float can hold; infinity and NaN are."""
    if isinstance(value, (float, np.floating)):
        return True
    return is_whole(value) and abs(value) <= sys.float_info.max


def is_finite(value: object) -> TypeGuard[float]:
    """Whether it is a real number but infinity and NaN."""
    return is_number(value) and math.isfinite(value)  # type: ignore[arg-type]


def is_whole(value: object) -> TypeGuard[int]:
    """Whether it is an integer by its type: 1.0 is none."""
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def is_name(value: object) -> TypeGuard[str]:
    """Whether it is text that is not empty."""
    return isinstance(value, str) and value != ""


def number_above_0(name: str, value: object, refuse: Refuse, most: float = math.inf) -> float:
    """The value as a float. Raises what `refuse` makes of the message."""
    if is_finite(value) and 0 < value <= most:
        return float(value)
    limit = "" if most == math.inf else f" and at most {most:g}"
    raise refuse(f"{name} must be a number above 0{limit}, given {value!r}")


def whole_from_1(name: str, value: object, refuse: Refuse, most: int) -> int:
    """The value as an int. Raises what `refuse` makes of the message."""
    if is_whole(value) and 1 <= value <= most:
        return int(value)
    raise refuse(f"{name} must be a whole number from 1 to {most}, given {value!r}")


def names_in(name: str, value: object, refuse: Refuse) -> tuple[str, ...]:
    """Several names, as a tuple; one alone is a mistake. Raises what `refuse` makes of it."""
    if isinstance(value, Iterable) and not isinstance(value, (str, bytes, Mapping)):
        names = tuple(value)
        if names and all(map(is_name, names)):
            return names
    raise refuse(f"{name} must be several names, as in ('end', 'edge'), given {value!r}")
