"""What of a plan loses accuracy, and whether the goal grants it.

Losses of two parts do not add up, so that a plan holds one lossy part at most: a hop in a lossy
codec, or a segment in a lossy runtime.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edgesplit.core.payload_codec import is_lossy
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError, UnknownNameError


@dataclass(frozen=True)
class LossyPart:
    """A hop or a segment. loss: the upper end of what it costs; None: not measured yet."""

    name: str
    loss: float | None


def lossy_parts(plan: Plan, profile: Profile) -> Iterator[LossyPart]:
    """The lossy segments and hops of a plan whose tiers and runtimes are the profile's."""
    for stage in plan.stages:
        loss = profile.tier(stage.tier).loss_in(stage.runtime) if len(stage) else None
        if loss is not None:
            known = loss if math.isfinite(loss) else None
            yield LossyPart(f"runtime {stage.runtime!r} on {stage.tier!r}", known)
    for codec, cut in zip(plan.codecs, plan.cuts, strict=True):
        if is_lossy(codec):
            sizes = profile.codec(codec)
            yield LossyPart(f"codec {codec!r} at cut {cut}", sizes.loss[cut] if sizes else None)


def expected_loss(plan: Plan, profile: Profile) -> float:
    """Of its lossy part, the upper end; 0 of an exact plan. NaN: not measured, or of several parts.

    What is not the profile's any more is not known either.
    """
    try:
        losses = [part.loss for part in lossy_parts(plan, profile)]
    except UnknownNameError:  # a tier has left, or a runtime was given up
        return math.nan
    if not losses:
        return 0.0
    return losses[0] if len(losses) == 1 and losses[0] is not None else math.nan


def granted_loss(plan: Plan, profile: Profile, max_loss: float | None) -> float:
    """The loss of a plan's lossy part, 0 of one without. max_loss: the goal's.

    Raises PlanError where that is not granted or not measured, or where there are two such parts.
    """
    parts = list(lossy_parts(plan, profile))
    if not parts:
        return 0.0
    if len(parts) > 1:
        raise PlanError(
            f"plan {plan} has {len(parts)} lossy parts ({', '.join(p.name for p in parts)}): what "
            "they cost together is not known; leave it at one"
        )
    [part] = parts
    if max_loss is None:
        raise PlanError(
            f"plan {plan}: {part.name} is lossy and nothing lossy is granted; grant it with "
            "Goal(max_accuracy_loss=...)"
        )
    if part.loss is None:
        raise PlanError(
            f"plan {plan}: what {part.name} costs in accuracy is not measured yet; "
            f"max_accuracy_loss={max_loss:g} grants only what is"
        )
    if part.loss > max_loss:
        raise PlanError(
            f"plan {plan}: {part.name} costs up to {part.loss:g} of the accuracy as measured, "
            f"max_accuracy_loss={max_loss:g} is granted"
        )
    return part.loss
