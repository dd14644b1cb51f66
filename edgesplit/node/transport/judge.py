"""What may be the answer to a request: what a peer says is believed as far as it fits, no further.

Judged from a reply's header, before memory is taken for its body. What does not fit is malformed,
and the tier that holds the payload fails over.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from edgesplit.core.layer_times import TORCH
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import WireError
from edgesplit.node.transport import wire
from edgesplit.node.transport.tensor_form import Form, Forms, TensorForm

_MOST_J = 1e12  # a million watts for the longest time limit
_MOST_BYTES = 1 << 48


@dataclass(frozen=True)
class AnswerForm:
    """The payload at the last cut. are_sizes_fixed: else sizes of tensors depend on values."""

    forms: Forms
    are_sizes_fixed: bool

    @cached_property
    def body_bytes(self) -> int | None:
        """Bytes of a frame's body that holds it; None where they depend on values."""
        if not self.are_sizes_fixed:
            return None
        tensors = [form for form in self.forms if isinstance(form, TensorForm)]
        return sum(wire.padded(form.sent_bytes) for form in tensors)

    def check(self, values: Sequence[wire.ValueSpec]) -> None:
        """Raise WireError where these cannot be the model's outputs."""
        if len(values) != len(self.forms):
            raise WireError(f"{len(values)} values, the model has {len(self.forms)}")
        for number, (value, form) in enumerate(zip(values, self.forms, strict=True)):
            if not self._fits(value, form):
                raise WireError(f"value {number} is {value!r}, the model's is {form!r}")

    def _fits(self, value: wire.ValueSpec, form: Form) -> bool:
        if not isinstance(form, TensorForm):
            return type(value) is type(form)
        if not isinstance(value, wire.TensorSpec) or value.codec != AS_IS:
            return False  # answers travel as they are
        if value.dtype != form.dtype:
            return False
        if self.are_sizes_fixed:
            return tuple(value.shape) == form.shape
        return len(value.shape) == len(form.shape)


def check_timings(hops: Sequence[wire.Hop], timings: Sequence[TierTiming]) -> None:
    """Raise WireError where these cannot be the timings of tiers along the hops, in order.

    They may end early where a tier says that it has finished for those behind it.
    """
    if not 0 < len(timings) <= len(hops):
        raise WireError(f"{len(timings)} timings of {len(hops)} tiers")
    last = len(timings) - 1
    for number, timing in enumerate(timings):
        after = hops[number + 1] if number == last and last + 1 < len(hops) else None
        stop = hops[number].stop if after is None else hops[-1].stop
        if not (_is_of(hops[number], stop, timing) and _has_finished(after, timing.failed_over)):
            raise WireError(f"{timing!r} is not of stage {hops[number]!r}")
        if not _is_possible(timing):
            raise WireError(f"{timing!r} is no measurement")


def _is_of(hop: wire.Hop, stop: int, timing: TierTiming) -> bool:
    return (
        timing.tier == hop.tier
        and timing.start == hop.start
        and timing.stop == stop
        # What a tier cannot run as planned it runs in torch.
        and timing.runtime in (TORCH, TORCH if hop.start == hop.stop else hop.runtime)
    )


def _has_finished(after: wire.Hop | None, finished: str) -> bool:
    """Whether it names the tier that failed where the timings end early, and only there."""
    if after is None:
        return not finished
    reasons = (*wire.RECOVERABLE_REASONS, wire.LATE)
    return finished in {f"{after.tier} {reason}" for reason in reasons}


def _is_possible(timing: TierTiming) -> bool:
    """Joules may be NaN: not known. The first payload of a sender comes after an infinite gap."""
    joules, u_j = timing.energy_j, timing.energy_u_j or 0.0
    return (
        0 <= timing.queue_s <= wire.LONGEST_TIMEOUT_S
        and 0 <= timing.compute_s <= wire.LONGEST_TIMEOUT_S
        and 0 <= timing.own_s <= wire.LONGEST_TIMEOUT_S
        and 0 <= timing.codec_s <= wire.LONGEST_TIMEOUT_S
        and 0 <= timing.hop_s <= wire.LONGEST_TIMEOUT_S
        and timing.gap_s >= 0
        and timing.hedged in ("", "won", "lost")
        and (0 <= timing.hedge_j <= _MOST_J or math.isnan(timing.hedge_j))
        and (0 <= joules <= _MOST_J or math.isnan(joules))
        and (0 <= u_j <= _MOST_J or math.isnan(u_j))
        and 0 <= timing.sent_bytes < _MOST_BYTES
        and 0 <= timing.reply_bytes < _MOST_BYTES
    )
