"""What each measurement adds to the beliefs: of requests, and of tiers.

A segment's seconds are compared with the tier's layer times; what they differ by is its slowdown,
unless it is the range that differs (shown.py).
"""

from edgesplit.core.control.belief import Beliefs
from edgesplit.core.control.event import TierLoaded, TierMeasured
from edgesplit.core.control.learn_link import learn_transfer
from edgesplit.core.fleet.pressure import pressure_of, settled_share
from edgesplit.core.plan import Stage
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming, transfers

_COMPUTE_LEAST_S = 2e-4  # a shorter segment is mostly call overhead
_WORD_S = 2.0  # hosts speak once a second: after a long silence one word is still only one word


def learn_request(
    beliefs: Beliefs, profile: Profile, timings: tuple[TierTiming, ...], at_s: float
) -> Beliefs:
    """What one request's timings, in route order, add: segments' seconds and links' transfers.

    A tier that failed over ran a cold range: its seconds teach nothing.
    """
    for timing in timings:
        if timing.failed_over:
            continue
        stage = Stage(timing.tier, timing.start, timing.stop, timing.runtime)
        seconds = (timing.compute_s, timing.queue_s)
        beliefs = _learn_range(beliefs, profile, stage, seconds, at_s)
    for transfer in transfers(timings):
        beliefs = learn_transfer(beliefs, transfer, at_s)
    return beliefs


def learn_measure(beliefs: Beliefs, profile: Profile, event: TierMeasured) -> Beliefs:
    """What a measured segment adds."""
    stage = Stage(event.tier, event.start, event.stop, event.runtime)
    return _learn_compute(beliefs, profile, stage, (event.seconds, 0.0), event.at_s)


def learn_load(beliefs: Beliefs, event: TierLoaded, settle_s: float) -> Beliefs:
    """What a host's word adds: its pressures are believed by and by, with that time constant."""
    belief = beliefs.tiers[event.tier]
    share = settled_share(min(_WORD_S, event.at_s - belief.told_s), settle_s)
    pressure = belief.pressure.moved(pressure_of(event.host), share)
    return beliefs.with_pressure(event.tier, pressure, event.at_s)


def _learn_compute(
    beliefs: Beliefs, profile: Profile, stage: Stage, measured: tuple[float, float], at_s: float
) -> Beliefs:
    """Compare with the layer times of the runtime that ran the segment, unless it was dropped.

    measured: seconds of computing, and in the queue before.
    """
    expected_s = _expected_s(beliefs, profile, stage)
    if expected_s < _COMPUTE_LEAST_S or measured[0] <= 0:
        return beliefs
    slowdown = beliefs.tiers[stage.tier].slowdown
    beliefs = beliefs.with_tier_ratio(stage.tier, sum(measured) / expected_s)
    slowdown = slowdown.updated(measured[0] / expected_s * slowdown.value)
    return beliefs.with_tier(stage.tier, slowdown, at_s)


def _learn_range(
    beliefs: Beliefs, profile: Profile, stage: Stage, measured: tuple[float, float], at_s: float
) -> Beliefs:
    """_learn_compute of a request, unless it is its range that differs, not the tier's speed."""
    expected_s = _expected_s(beliefs, profile, stage)
    if measured[0] <= 0 or expected_s < _COMPUTE_LEAST_S:
        return beliefs
    tier, belief = profile.tier(stage.tier), beliefs.tiers[stage.tier]
    shown = belief.shown.ran(stage, expected_s, measured[0])
    if shown.is_confirmed:
        shown, speed = shown.told_apart(tier)
        slowdown = belief.slowdown.replaced(speed)
        return beliefs.with_shown(tier.name, shown).with_tier(tier.name, slowdown, at_s)
    beliefs = beliefs.with_shown(tier.name, shown)
    if shown.is_repeating:
        return beliefs
    return _learn_compute(beliefs, profile, stage, measured, at_s)


def _expected_s(beliefs: Beliefs, profile: Profile, stage: Stage) -> float:
    """What a stage's layers should take; 0 where its runtime was dropped."""
    tier, belief = profile.tier(stage.tier), beliefs.tiers[stage.tier]
    if stage.runtime not in tier.runtimes:
        return 0.0
    layer_s = belief.shown.times(tier, stage.runtime)
    return sum(layer_s[stage.start : stage.stop]) * belief.slowdown.value
