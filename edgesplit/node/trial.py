"""Tries a range on a payload that is made up from its forms. No torch where there is none."""

from collections.abc import Callable
from typing import Any

from edgesplit.node.form import Forms, TensorForm
from edgesplit.node.tensor_kind import kind_here
from edgesplit.node.turn import one_run_s


def made_up(forms: Forms) -> list[Any]:
    """A payload that looks like `forms`, of this host's kind of tensors.

    Zeros: valid as an index, and no slower or faster than numbers for a dense layer.
    """
    kind = kind_here()
    return [kind.zeros(form) if isinstance(form, TensorForm) else form for form in forms]


def measure_segment(segment: Callable[[list[Any]], list[Any]], forms: Forms) -> float:
    """Seconds of one run of a segment on a made-up payload; also warms it up."""
    return one_run_s(segment, made_up(forms))
