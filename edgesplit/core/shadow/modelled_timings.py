"""What tiers would have measured of a request along a plan, by the cost model: nothing scatters."""

import math
from itertools import pairwise

from edgesplit.core.cost import CostModel, PlannedHop
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.tier_timing import TierTiming


def modelled_timings(model: CostModel, plan: Plan) -> tuple[TierTiming, ...]:
    """In route order. Nothing waits. Raises PlanError where the plan cannot run."""
    plan = model.cost(plan).plan
    hops = [model.hop(plan, at) for at in range(len(plan.stages) - 1)]
    around = pairwise([None, *hops, None])
    timings = list[TierTiming]()
    for stage, (came, sent) in reversed(list(zip(plan.stages, around, strict=True))):
        timings.append(_timing(model, stage, (came, sent), timings[-1].own_s if timings else 0.0))
    return tuple(reversed(timings))


def _timing(
    model: CostModel,
    stage: Stage,
    hops: tuple[PlannedHop | None, PlannedHop | None],
    behind_s: float,
) -> TierTiming:
    """hops: by which the payload came, and by which it went on. behind_s: of the tiers behind."""
    tier, (came, sent) = model.profile.tier(stage.tier), hops
    layer_s = tier.layer_s_in(stage.runtime)[stage.start : stage.stop] if len(stage) else ()
    compute_s = sum(layer_s) * tier.slowdown
    codec_s = (came.decode_s if came else 0.0) + (sent.encode_s if sent else 0.0)
    hop_s = sent.link_s + behind_s if sent else 0.0
    return TierTiming(
        tier=stage.tier,
        start=stage.start,
        stop=stage.stop,
        queue_s=0.0,
        compute_s=compute_s,
        own_s=compute_s + codec_s + hop_s,
        hop_s=hop_s,
        gap_s=math.inf,
        sent_bytes=round(sent.sent_bytes) if sent else 0,
        reply_bytes=model.graph.output_bytes,
        energy_j=tier.power.compute_w * (compute_s + codec_s),
        runtime=stage.runtime,
        codec_s=codec_s,
    )
