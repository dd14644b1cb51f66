"""How long each sender of a plan waits for a sign of life before it fails over.

Nested: the timeout for a tier covers all that this tier may do, its own waiting for the next one
and then running the remaining layers included. docs/reliability.md gives the formula.
"""

import math
from itertools import pairwise

import numpy as np

from edgesplit.core.cost import CostModel
from edgesplit.core.layer_times import TORCH
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.tier import Tier

SLOW_FACTOR = (
    4.0  # times the predicted seconds: that is a slow tier, or a slow link, not a lost one
)
FLOOR_S = 2.0  # whatever is predicted: a machine's hiccups, a link that has just been throttled
LEAST_FLOOR_S = 0.25  # the floor under the tightest latency limit: scheduling on a busy machine
BUILD_S = 1.0  # to build the range that a tier fails over with: 0.13 s in torch, 5 times slower


def failover_timeouts(model: CostModel, plan: Plan) -> tuple[float, ...]:
    """Seconds per sender: the caller's with the first tier, then each tier's with the next.

    As many as the plan has stages. A latency limit below the floor lowers the floor.
    """
    floor_s = floor(model.goal.latency_limit_s)
    stages = plan.stages
    # Whichever tier decodes a picture: those behind it are waited for as long as well.
    opening_s = model.opening(plan)[1]
    waits_s = [SLOW_FACTOR * (stage_s(model, stages[-1]) + opening_s) + floor_s]
    for stage, after in reversed(list(pairwise(stages))):
        waits_s[-1] += SLOW_FACTOR * _hop_s(model, stage, after)
        left_s = rest_s(model.profile.tier(stage.tier), stage.stop)
        own_s = stage_s(model, stage) + left_s
        waits_s.append(waits_s[-1] + SLOW_FACTOR * own_s + BUILD_S + floor_s)
    return tuple(reversed(waits_s))


def floor(latency_limit_s: float | None) -> float:
    """The least failover timeout in seconds under that limit."""
    if latency_limit_s is None:
        return FLOOR_S
    return min(FLOOR_S, max(LEAST_FLOOR_S, latency_limit_s))


def stage_s(model: CostModel, stage: Stage) -> float:
    """What its tier takes for a stage's layers, as believed."""
    tier = model.profile.tier(stage.tier)
    return _layers_s(tier, stage.runtime, stage.start, stage.stop) if len(stage) else 0.0


def rest_s(tier: Tier, start: int) -> float:
    """What the tier would take for all layers from `start` on, in torch where it has that."""
    runtime = TORCH if TORCH in tier.runtimes else tier.runtime
    return _layers_s(tier, runtime, start, len(tier.layer_s))


def _layers_s(tier: Tier, runtime: str, start: int, stop: int) -> float:
    return float(np.sum(tier.layer_s_in(runtime)[start:stop])) * tier.slowdown


def _hop_s(model: CostModel, stage: Stage, after: Stage) -> float:
    """The payload's way and the reply's, 0 where no link is known: the floor remains."""
    names = model.profile.names
    pair = names.index(stage.tier), names.index(after.tier)
    codecs = (model.coding.index(stage.codec), 0)  # one that was just dropped: as it is
    ways = [float(model.transfer.latency_s[c, *pair, stage.stop]) for c in codecs if c is not None]
    return next((seconds for seconds in ways if math.isfinite(seconds)), 0.0)
