"""What each measurement adds to the beliefs: of requests, and of tiers.

A segment's seconds are compared with the tier's layer times; what they differ by is its slowdown,
unless it is the range that differs (shown.py).
"""

from edgesplit.core.control.belief import Beliefs
from edgesplit.core.control.estimate import Estimate
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
    expected_s = _expected_s(beliefs, profile, stage, event.seconds)
    if not expected_s:
        return beliefs.measured_in_vain(event.tier)
    belief, ratio = beliefs.tiers[event.tier], event.seconds / expected_s
    slowdown, _ = _speed(belief.slowdown, (event.seconds, 0.0), expected_s)
    if belief.bears_out(ratio):  # two witnesses
        slowdown = belief.slowdown.replaced(ratio * belief.slowdown.value)
    return beliefs.with_speed(event.tier, slowdown, (ratio, None), event.at_s)


def learn_load(beliefs: Beliefs, event: TierLoaded, settle_s: float) -> Beliefs:
    """What a host's word adds: its pressures are believed by and by, with that time constant.

    The price of demand is believed at once: it moves by little each time. Were it smoothed as well,
    it would have risen too far before the first session has left.
    """
    belief = beliefs.tiers[event.tier]
    share = settled_share(min(_WORD_S, event.at_s - belief.told_s), settle_s)
    pressure = belief.pressure.moved(pressure_of(event.host), share)
    load = belief.load
    if event.host.utilisation is not None and event.host.waiting is None:
        # Of two words, lest one that comes and goes have the tier measured each time.
        before = event.host.utilisation if load is None else load
        load = (before + event.host.utilisation) / 2
    return beliefs.with_pressure(event.tier, pressure, (event.demand_price, load), event.at_s)


def _learn_range(
    beliefs: Beliefs, profile: Profile, stage: Stage, measured: tuple[float, float], at_s: float
) -> Beliefs:
    """What a request's stage adds: to the tier's speed, unless it is its range that differs.

    measured: seconds of computing, and in the queue before.
    """
    expected_s = _expected_s(beliefs, profile, stage, measured[0])
    if not expected_s:
        return beliefs
    tier, belief = profile.tier(stage.tier), beliefs.tiers[stage.tier]
    shown = belief.shown.ran(stage, expected_s, measured[0])
    if shown.is_confirmed:
        shown, speed = shown.told_apart(tier)
        slowdown = belief.slowdown.replaced(speed)
        return beliefs.with_shown(tier.name, shown).with_tier(tier.name, slowdown, at_s)
    if shown.is_repeating:
        return beliefs.with_shown(tier.name, shown)
    slowdown, ratio = _speed(belief.slowdown, measured, expected_s)
    return beliefs.with_speed(tier.name, slowdown, (ratio, shown), at_s)


def _speed(
    slowdown: Estimate, measured: tuple[float, float], expected_s: float
) -> tuple[Estimate, float]:
    """The slowdown after such a measurement, and the ratio for the scatter. measured: as above."""
    ratio = sum(measured) / expected_s
    return slowdown.updated(measured[0] / expected_s * slowdown.value), ratio


def _expected_s(beliefs: Beliefs, profile: Profile, stage: Stage, seconds: float) -> float:
    """What a stage's layers should have taken; 0 where `seconds` teach nothing.

    That is where its runtime was dropped, or where it is too short to tell.
    """
    tier, belief = profile.tier(stage.tier), beliefs.tiers[stage.tier]
    if stage.runtime not in tier.runtimes or seconds <= 0:
        return 0.0
    layer_s = belief.shown.times(tier, stage.runtime)
    expected_s = sum(layer_s[stage.start : stage.stop]) * belief.slowdown.value
    return expected_s if expected_s >= _COMPUTE_LEAST_S else 0.0
