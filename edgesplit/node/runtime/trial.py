"""Tries a range on a payload that is made up from its forms. No torch where there is none."""

from collections.abc import Callable
from typing import Any

from edgesplit.node.program.run_slot import one_run_s
from edgesplit.node.transport.tensor_form import Forms, TensorForm
from edgesplit.node.transport.tensor_kind import kind_here


def dummy_payload(forms: Forms) -> list[Any]:
    """A payload that looks like `forms`, of this host's kind of tensors.

    Zeros: valid as an index, and no slower or faster than numbers for a dense layer.
    """
    kind = kind_here()
    return [kind.zeros(form) if isinstance(form, TensorForm) else form for form in forms]


def measure_segment(segment: Callable[[list[Any]], list[Any]], forms: Forms) -> float:
    """Seconds of one run of a segment on a made-up payload; also warms it up."""
    return one_run_s(segment, dummy_payload(forms))
