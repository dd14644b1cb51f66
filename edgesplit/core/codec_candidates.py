"""Which loss is worth measuring next: of the codec or runtime that a better plan waits for."""

import math
from dataclasses import dataclass, replace

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import CodecSizes, is_lossy
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.profile import Profile
from edgesplit.core.tier import Tier
from edgesplit.errors import PlanError

MARGIN = 0.01  # relative gain in score below which a loss is not worth measuring


@dataclass(frozen=True)
class LossCandidate:
    """What to measure. plan: the one that would be chosen if nothing unmeasured lost anything.

    name: of a codec that writes the payload at `cut`; or, where cut is None, of the runtime in
    which `tier` runs its layers.
    """

    plan: Plan
    tier: str
    name: str
    cut: int | None = None


def next_to_measure(graph: Graph, profile: Profile, goal: Goal) -> LossCandidate | None:
    """The loss to measure next; None where the best plan that it could allow is no better.

    Nothing is worth measuring where the goal grants no loss. Equal arguments give equal answers.
    """
    if goal.max_accuracy_loss is None:
        return None
    reference = CostModel(graph, profile, goal).score_reference
    profile = replace(profile, score_reference=reference)
    hoped = choose(CostModel(graph, _hopeful(profile), goal)).cost
    found = unmeasured_part(hoped.plan, profile)
    if found is None or not _is_worth(hoped, _best_known(graph, profile, goal)):
        return None
    return found


def _hopeful(profile: Profile) -> Profile:
    """The profile in which what is not measured costs no accuracy."""
    tiers = tuple(map(_hopeful_tier, profile.tiers))
    return replace(profile, tiers=tiers, codecs=tuple(map(_hopeful_sizes, profile.codecs)))


def _hopeful_sizes(sizes: CodecSizes) -> CodecSizes:
    return replace(sizes, loss=tuple(0.0 if loss is None else loss for loss in sizes.loss))


def _hopeful_tier(tier: Tier) -> Tier:
    times = tuple(replace(row, loss=_hoped(row.loss)) for row in tier.layer_times)
    return replace(tier, layer_times=times, loss=_hoped(tier.loss))


def _hoped(loss: float | None) -> float | None:
    return 0.0 if loss == math.inf else loss


def unmeasured_part(plan: Plan, profile: Profile) -> LossCandidate | None:
    """The lossy part of a plan whose loss is not measured; a plan has one lossy part at most.

    None also of a codec that fits no payload there.
    """
    for stage in plan.stages:
        if len(stage) and profile.tier(stage.tier).loss_in(stage.runtime) == math.inf:
            return LossCandidate(plan, stage.tier, stage.runtime)
        sizes = profile.codec(stage.codec)
        if sizes is None or not is_lossy(stage.codec):
            continue
        if sizes.loss[stage.stop] is None and math.isfinite(sizes.payload_bytes[stage.stop]):
            return LossCandidate(plan, stage.tier, stage.codec, stage.stop)
    return None


def _best_known(graph: Graph, profile: Profile, goal: Goal) -> Cost | None:
    try:
        return choose(CostModel(graph, profile, goal)).cost
    except PlanError:  # the entry tier has nothing but what is not measured
        return None


def _is_worth(hoped: Cost, known: Cost | None) -> bool:
    if known is None or (hoped.feasible and not known.feasible):
        return True
    if not known.feasible:  # the fastest is chosen
        return hoped.limited_s < (1 - MARGIN) * known.limited_s
    return hoped.feasible and hoped.score < (1 - MARGIN) * known.score
