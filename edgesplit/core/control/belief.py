"""What is believed of tiers and links, and what each measurement adds to it.

A rate is only learnt from a payload whose time stands out of the latency; where it does not, the
measurement still shows that the rate is at least so much.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from edgesplit.core.control.estimate import Estimate, estimate
from edgesplit.core.control.event import LinkProbed, TierLoaded, TierMeasured, Transferring
from edgesplit.core.control.shown import Shown
from edgesplit.core.fleet.pressure import Pressure, pressure_of, settled_share
from edgesplit.core.plan import Stage
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.scatter import Scatter, assumed_scatter
from edgesplit.core.tier_timing import TierTiming, Transfer, transfers

Pair = tuple[str, str]

_TIER_SIGMA, _LINK_SIGMA = 0.1, 0.3  # of ratios, before the first is measured
_LATENCY_SIGMA = 0.3  # small messages scatter more than bulk: wake-ups, Wi-Fi contention
_LATENCY_LEAST_S = 5e-5  # below, a latency is the kernel's, and no plan depends on it
_COMPUTE_LEAST_S = 2e-4  # a shorter segment is mostly call overhead
_PAYLOAD_LEAST_BYTES = 4096  # a smaller payload is a few packets: its time is latency
_TRANSFER_LEAST_S = 3e-4  # what scheduling jitter can hide on a busy machine
_SURE_S, _SURE_FACTOR = 2.0, 2.0  # so late, and so much too slow, is no jitter: believed at once
_TELLING_S, _TELLING_LEAST_S = 1.0, 0.4  # of a payload that moves: the rate it shows is believed
_AS_FEARED = 4.0  # times the rate of a link that fell: below, this one has fallen with it
_WORD_S = 2.0  # hosts speak once a second: after a long silence one word is still only one word
_TRANSFER_PER_LATENCY = 0.5  # of the round trip's latency: what its jitter can hide


@dataclass(frozen=True)
class TierBelief:
    """slowdown: measured / profiled seconds. seen_s: when it was last measured.

    scatter: of measured seconds, queueing included, around what was believed just before.
    pressure: of its host, smoothed; told_s: when that last said anything.
    shown: what whole ranges took, where that is not the sum of their layers.
    """

    slowdown: Estimate
    seen_s: float
    scatter: Scatter
    pressure: Pressure
    told_s: float
    shown: Shown = field(default_factory=Shown)

    def in_doubt(self, since_s: float) -> bool:
        """True while a change seen at or after since_s is likely but not confirmed."""
        return self.slowdown.suspicious and self.seen_s >= since_s


@dataclass(frozen=True)
class LinkBelief:
    """rate in bytes/s, latency in seconds; seen_s, probed_s: when each was last measured.

    scatter: of the seconds of a payload and its reply, around what was believed just before.
    fell_s: when the rate was last found to be less than half of what was believed.
    """

    rate: Estimate
    latency: Estimate
    seen_s: float
    probed_s: float
    scatter: Scatter
    fell_s: float = -math.inf

    def in_doubt(self, since_s: float) -> bool:
        """True while a change seen at or after since_s is likely but not confirmed."""
        return self.is_rate_in_doubt(since_s) or self.is_latency_in_doubt(since_s)

    def is_rate_in_doubt(self, since_s: float) -> bool:
        """in_doubt, of the rate alone."""
        return self.rate.suspicious and self.seen_s >= since_s

    def is_latency_in_doubt(self, since_s: float) -> bool:
        """in_doubt, of the latency alone."""
        return self.latency.suspicious and self.probed_s >= since_s


@dataclass(frozen=True)
class Beliefs:
    """Of every tier and link. alarms counts the changes found so far."""

    tiers: Mapping[str, TierBelief]
    links: Mapping[Pair, LinkBelief]
    alarms: int = 0

    def with_tier(self, name: str, slowdown: Estimate, at_s: float) -> "Beliefs":
        """The same with one tier's speed measured once more."""
        belief = replace(self.tiers[name], slowdown=slowdown, seen_s=at_s)
        tiers = {**self.tiers, name: belief}
        return replace(self, tiers=tiers, alarms=self.alarms + slowdown.changed)

    def with_shown(self, name: str, shown: Shown) -> "Beliefs":
        """The same with what the ranges of one tier have shown."""
        belief = replace(self.tiers[name], shown=shown)
        return replace(self, tiers={**self.tiers, name: belief})

    def without_runtime(self, name: str, runtime: str) -> "Beliefs":
        """The same where the layer times that a tier's ranges were compared with are no more."""
        belief = self.tiers[name]
        belief = replace(belief, shown=belief.shown.without(runtime))
        return replace(self, tiers={**self.tiers, name: belief})

    def with_pressure(self, name: str, pressure: Pressure, at_s: float) -> "Beliefs":
        """The same with another pressure on one tier."""
        belief = replace(self.tiers[name], pressure=pressure, told_s=at_s)
        return replace(self, tiers={**self.tiers, name: belief})

    def with_tier_ratio(self, name: str, ratio: float) -> "Beliefs":
        """The same with one more ratio of a tier's measured to its believed seconds."""
        belief = self.tiers[name]
        belief = replace(belief, scatter=belief.scatter.updated(ratio))
        return replace(self, tiers={**self.tiers, name: belief})

    def with_link_ratio(self, pair: Pair, ratio: float) -> "Beliefs":
        """The same with one more ratio of a hop's measured to its believed seconds."""
        belief = self.links[pair]
        belief = replace(belief, scatter=belief.scatter.updated(ratio))
        return replace(self, links={**self.links, pair: belief})

    def with_rate(self, pair: Pair, rate: Estimate, at_s: float) -> "Beliefs":
        """The same with one link's rate measured once more."""
        old = self.links[pair]
        fell_s = at_s if rate.changed and 2 * rate.value < old.rate.value else old.fell_s
        links = {**self.links, pair: replace(old, rate=rate, seen_s=at_s, fell_s=fell_s)}
        return replace(self, links=links, alarms=self.alarms + rate.changed)

    def with_latency(self, pair: Pair, latency: Estimate, at_s: float) -> "Beliefs":
        """The same with one link's latency measured once more."""
        links = {**self.links, pair: replace(self.links[pair], latency=latency, probed_s=at_s)}
        return replace(self, links=links, alarms=self.alarms + latency.changed)


def believe(profile: Profile, at_s: float) -> Beliefs:
    """What is believed before the first measurement: the profile as calibrated."""
    return Beliefs(
        {
            tier.name: TierBelief(
                estimate(tier.slowdown), at_s, assumed_scatter(_TIER_SIGMA), tier.pressure, at_s
            )
            for tier in profile.tiers
        },
        {
            link.pair: LinkBelief(
                estimate(link.bytes_per_s),
                estimate(max(link.latency_s, _LATENCY_LEAST_S), _LATENCY_SIGMA),
                at_s,
                at_s,
                assumed_scatter(_LINK_SIGMA),
            )
            for link in profile.links
        },
    )


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
        beliefs = _learn_transfer(beliefs, transfer, at_s)
    return beliefs


def learn_measure(beliefs: Beliefs, profile: Profile, event: TierMeasured) -> Beliefs:
    """What a measured segment adds."""
    stage = Stage(event.tier, event.start, event.stop, event.runtime)
    return _learn_compute(beliefs, profile, stage, (event.seconds, 0.0), event.at_s)


def learn_probe(beliefs: Beliefs, event: LinkProbed, feared_rate: float | None = None) -> Beliefs:
    """What a probed link adds: the latency of both directions, the rate of the probed one.

    feared_rate: to which another link at one of its ends has just fallen (shared_end.py). A rate
    near that is believed at once.
    """
    pair = (event.source, event.target)
    beliefs = _learn_hop(beliefs, pair, (event.sent_bytes, 0), event.seconds)
    latency_s = max(event.latency_s, _LATENCY_LEAST_S)
    for way in (pair, pair[::-1]):
        latency = beliefs.links[way].latency.updated(latency_s)
        beliefs = beliefs.with_latency(way, latency, event.at_s)
    delay_s = 2 * event.latency_s
    seconds = event.seconds - delay_s
    if feared_rate is not None and 0 < event.sent_bytes < _AS_FEARED * feared_rate * seconds:
        rate = beliefs.links[pair].rate.replaced(event.sent_bytes / seconds)
        return beliefs.with_rate(pair, rate, event.at_s)
    return _learn_rate(beliefs, pair, (event.sent_bytes, seconds, delay_s), event.at_s)


def learn_load(beliefs: Beliefs, event: TierLoaded, settle_s: float) -> Beliefs:
    """What a host's word adds: its pressures are believed by and by, with that time constant."""
    belief = beliefs.tiers[event.tier]
    share = settled_share(min(_WORD_S, event.at_s - belief.told_s), settle_s)
    pressure = belief.pressure.moved(pressure_of(event.host), share)
    return beliefs.with_pressure(event.tier, pressure, event.at_s)


def learn_transferring(beliefs: Beliefs, event: Transferring) -> Beliefs:
    """What a payload adds that has not arrived yet: that its link is slower than believed.

    A second of bulk that moves at less than half the rate is believed at once, half a second at a
    quarter of it, and so on. One that was given up, pauses included, puts the rate in doubt, and
    the next one in a row is believed. Of a few packets the rate is at most so much. A faster one
    says so at its end.
    """
    is_bulk = event.sent_bytes >= _PAYLOAD_LEAST_BYTES and event.seconds >= _TRANSFER_LEAST_S
    if not is_bulk and event.seconds < _TELLING_LEAST_S:
        return beliefs
    pair = event.source, event.target
    rate = beliefs.links[pair].rate
    observed = max(event.sent_bytes, _PAYLOAD_LEAST_BYTES) / event.seconds
    telling_s = max(_TELLING_LEAST_S, _TELLING_S * _SURE_FACTOR * observed / rate.value)
    is_sure, is_slow = event.seconds >= telling_s, observed * _SURE_FACTOR < rate.value
    if event.is_over:
        is_sure = rate.suspicious and rate.last * _SURE_FACTOR < rate.value
    if event.is_over or (is_sure and is_slow):
        # Or the slowest would not be in the tail that a promise looks at.
        beliefs = beliefs.with_link_ratio(pair, rate.value / observed)
    if is_sure and is_slow:
        return beliefs.with_rate(pair, rate.replaced(observed), event.at_s)
    if event.is_over and is_slow:
        return beliefs.with_rate(pair, rate.updated(observed), event.at_s)
    return beliefs


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


def _learn_transfer(beliefs: Beliefs, seen: Transfer, at_s: float) -> Beliefs:
    """Charge the round trip to the direction that carried more, the other one as believed."""
    pair, back = (seen.source, seen.target), (seen.target, seen.source)
    beliefs = _learn_hop(beliefs, pair, (seen.sent_bytes, seen.reply_bytes), seen.seconds)
    there_link, back_link = beliefs.links[pair], beliefs.links[back]
    delay_s = _delay_s(there_link) + _delay_s(back_link)
    if seen.sent_bytes >= seen.reply_bytes:
        seconds = seen.seconds - delay_s - seen.reply_bytes / back_link.rate.value
        seconds = min(seconds, seen.gap_s)
        return _learn_rate(beliefs, pair, (seen.sent_bytes, seconds, delay_s), at_s)
    seconds = seen.seconds - delay_s - seen.sent_bytes / there_link.rate.value
    return _learn_rate(beliefs, back, (seen.reply_bytes, seconds, delay_s), at_s)


def _learn_hop(beliefs: Beliefs, pair: Pair, sizes: tuple[int, int], seconds: float) -> Beliefs:
    """Compare a payload's way and the reply's back with what is believed, where they stand out.

    sizes: bytes there and back.
    """
    out, back = beliefs.links[pair], beliefs.links[pair[::-1]]
    busy_s = sizes[0] / out.rate.value + sizes[1] / back.rate.value
    delay_s = out.latency.value + back.latency.value
    least_s = max(_TRANSFER_LEAST_S, _TRANSFER_PER_LATENCY * delay_s)
    if max(sizes) < _PAYLOAD_LEAST_BYTES or max(busy_s, seconds - delay_s) < least_s:
        return beliefs
    return beliefs.with_link_ratio(pair, seconds / (busy_s + delay_s))


def _delay_s(link: LinkBelief) -> float:
    """The latency to take off: one in doubt as last probed, lest it pass for a slower rate."""
    return link.latency.last if link.latency.suspicious else link.latency.value


def _learn_rate(
    beliefs: Beliefs, pair: Pair, measured: tuple[int, float, float], at_s: float
) -> Beliefs:
    """measured: bytes, seconds that they took, seconds of latency taken off before."""
    size_bytes, seconds, delay_s = measured
    if size_bytes < _PAYLOAD_LEAST_BYTES:
        return beliefs
    rate = beliefs.links[pair].rate
    least_s = max(_TRANSFER_LEAST_S, _TRANSFER_PER_LATENCY * delay_s)
    observed = size_bytes / max(seconds, least_s)
    if seconds < least_s:
        observed = max(observed, rate.value)  # at least so fast; no evidence against faster
    expected_s = size_bytes / rate.value
    is_sure = seconds > max(expected_s + _SURE_S, _SURE_FACTOR * expected_s)
    now = rate.replaced(observed) if is_sure else rate.updated(observed)
    return beliefs.with_rate(pair, now, at_s)


def apply(profile: Profile, beliefs: Beliefs) -> Profile:
    """The calibrated profile with every figure that has been measured since replaced."""
    tiers = tuple(_tier_now(tier, beliefs.tiers[tier.name]) for tier in profile.tiers)
    links = tuple(_link_now(link, beliefs.links[link.pair]) for link in profile.links)
    return replace(profile, tiers=tiers, links=links)


def _tier_now(tier: Tier, belief: TierBelief) -> Tier:
    if belief.slowdown.count == 0 and belief.pressure == tier.pressure:
        return tier
    slowdown = belief.slowdown.value if belief.slowdown.count else tier.slowdown
    return belief.shown.applied(replace(tier, slowdown=slowdown, pressure=belief.pressure))


def _link_now(link: Link, belief: LinkBelief) -> Link:
    if belief.rate.count == 0 and belief.latency.count == 0:
        return link
    latency_s = belief.latency.value if belief.latency.count else link.latency_s
    rate = belief.rate.value if belief.rate.count else link.bytes_per_s
    return replace(link, latency_s=latency_s, bytes_per_s=rate, provenance="observed")


def with_scatter(profile: Profile, beliefs: Beliefs) -> Profile:
    """`profile` with what is believed of how measured seconds lie around expected ones."""
    tiers = tuple(replace(t, scatter=beliefs.tiers[t.name].scatter) for t in profile.tiers)
    links = tuple(replace(ln, scatter=beliefs.links[ln.pair].scatter) for ln in profile.links)
    return replace(profile, tiers=tiers, links=links)


def profile_if_suspicions_hold(profile: Profile, beliefs: Beliefs, since_s: float) -> Profile:
    """`profile` as it would be, were the last observation of each figure in doubt true.

    Doubts that were raised before since_s have lapsed: nothing came to confirm them.
    """
    tiers, links = list(profile.tiers), list(profile.links)
    for i, tier in enumerate(tiers):
        seen = beliefs.tiers[tier.name]
        if seen.in_doubt(since_s):
            tiers[i] = replace(tier, slowdown=seen.slowdown.last)
    for i, link in enumerate(links):
        belief = beliefs.links[link.pair]
        if belief.is_rate_in_doubt(since_s):
            links[i] = replace(links[i], bytes_per_s=belief.rate.last)
        if belief.is_latency_in_doubt(since_s):
            links[i] = replace(links[i], latency_s=belief.latency.last)
    return replace(profile, tiers=tuple(tiers), links=tuple(links))


def optimistic_profile(
    calibrated: Profile, now: Profile, stale: Iterable[str | Pair], factor: float
) -> Profile:
    """`now` with the stale tiers and links at the best figures known; rates `factor` above them."""
    names = set(stale)
    tiers = tuple(
        replace(tier, slowdown=min(tier.slowdown, calibrated.tier(tier.name).slowdown))
        if tier.name in names
        else tier
        for tier in now.tiers
    )
    links = tuple(
        replace(
            link,
            bytes_per_s=factor * max(link.bytes_per_s, best.bytes_per_s),
            latency_s=min(link.latency_s, best.latency_s),
        )
        if link.pair in names
        else link
        for link, best in zip(now.links, calibrated.links, strict=True)
    )
    return replace(now, tiers=tiers, links=links)
