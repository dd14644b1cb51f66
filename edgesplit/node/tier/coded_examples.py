"""Real payloads of a workload, of several sizes, on which codecs are measured."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from edgesplit.node.program.run_slot import RunSlot
from edgesplit.node.tier.tier_workload import TierWorkload
from edgesplit.node.transport.coded_size import ENCODED_DTYPES, LEAST_ELEMENTS
from edgesplit.node.transport.tensor_form import Forms, TensorForm, payload_bytes

_SIZES = 4  # enough for a line, at some 50 ms each
_LARGEST_BYTES = 1 << 23  # beyond it seconds go up with the bytes: the line goes on


def coded_examples(workload: TierWorkload, run_slot: RunSlot) -> dict[int, Sequence[Any]]:
    """The example at a few cuts, the sizes as far apart as they are, by cut.

    Each is computed in a run slot. Without torch, at cut 0 only: ranges of other runtimes would
    have to be built for it.
    """
    known = workload.reference
    assert known is not None, "profile() or expect() comes first"
    if not workload.engine.has_eager:
        return {0: known.values}
    found: dict[int, Sequence[Any]] = {}
    for cut in _cuts(workload.forms[:-1]):
        before = workload.segment(0, cut)
        found[cut] = run_slot(partial(before, list(known.values)))
    return found


def _cuts(forms: Sequence[Forms]) -> list[int]:
    """Cuts before the last whose payloads differ in size, from the smallest to the largest."""
    by_size = {
        payload_bytes(payload): cut
        for cut, payload in enumerate(forms)
        if any(_is_encoded(form) for form in payload)
    }
    sizes = sorted(size for size in by_size if size <= _LARGEST_BYTES) or sorted(by_size)[:1]
    if not sizes:
        return [0]
    last, count = len(sizes) - 1, min(_SIZES, len(sizes))
    places = {round(last * number / max(1, count - 1)) for number in range(count)}
    return [by_size[sizes[place]] for place in sorted(places)]


def _is_encoded(form: Any) -> bool:
    if not isinstance(form, TensorForm) or form.dtype not in ENCODED_DTYPES:
        return False
    return form.sent_bytes >= LEAST_ELEMENTS * ENCODED_DTYPES[form.dtype]
