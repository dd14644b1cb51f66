"""Tries a range on a payload that is made up from its forms. No torch where there is none."""

import time
from collections.abc import Callable
from typing import Any

from edgesplit.node.form import Forms, TensorForm
from edgesplit.node.tensor_kind import kind_here


def made_up(forms: Forms) -> list[Any]:
    """A payload that looks like `forms`, of this host's kind of tensors.

    Zeros: valid as an index, and no slower or faster than numbers for a dense layer.
    """
    kind = kind_here()
    return [kind.zeros(form) if isinstance(form, TensorForm) else form for form in forms]


def measure_segment(segment: Callable[[list[Any]], list[Any]], forms: Forms) -> float:
    """Seconds of one run of a segment on a made-up payload; also warms it up."""
    payload = made_up(forms)
    start_s = time.perf_counter()
    segment(payload)
    return time.perf_counter() - start_s
