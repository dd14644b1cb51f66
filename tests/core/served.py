"""What the tiers would time of a request, were the world as a profile says."""

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.tier_timing import TierTiming


def served(graph, world, plan, noise=lambda: 1.0, queue_s=0.0):
    """Timings of `plan` in route order. noise: the next factor. queue_s: of all tiers but one."""
    model, timings, own_s = CostModel(graph, world, Goal()), [], 0.0
    for at in reversed(range(len(plan.stages))):
        stage, tier = plan.stages[at], world.tier(plan.stages[at].tier)
        layer_s = tier.layer_s_in(stage.runtime)[stage.start : stage.stop]
        compute_s = sum(layer_s) * tier.slowdown * noise()
        is_last, waited_s = at == len(plan.stages) - 1, queue_s if at else 0.0
        hop_s = 0.0 if is_last else own_s + model.hop(plan, at).link_s * noise()
        own_s = waited_s + compute_s + hop_s
        sizes = (0 if is_last else graph.payload_bytes[stage.stop], graph.output_bytes)
        seconds = (waited_s, compute_s, own_s, hop_s, float("inf"))
        timings.append(
            TierTiming(stage.tier, stage.start, stage.stop, *seconds, *sizes, 0.0, None,
                       stage.runtime)
        )  # fmt: skip
    return tuple(timings[::-1])
