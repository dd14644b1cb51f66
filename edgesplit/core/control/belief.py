"""What is believed of tiers and links: an estimate per figure, and how they scatter."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgesplit.core.changed import changed
from edgesplit.core.control.estimate import Estimate, estimate
from edgesplit.core.control.shown import Shown
from edgesplit.core.fleet.pressure import Pressure
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.scatter import Scatter, assumed_scatter

Pair = tuple[str, str]

LATENCY_LEAST_S = 5e-5  # below, a latency is the kernel's, and no plan depends on it
_TIER_SIGMA, _LINK_SIGMA = 0.1, 0.3  # of ratios, before the first is measured
_BEYOND_NOISE = 1.25
_OTHER_LOAD = 0.3  # of a host's processors; what a busy minute adds without slowing anybody
_LATENCY_SIGMA = 0.3  # small messages scatter more than bulk: wake-ups, Wi-Fi contention


@dataclass(frozen=True)
class TierBelief:
    """slowdown: measured / profiled seconds. seen_s: when it was last measured.

    scatter: of measured seconds, queueing included, around what was believed just before.
    pressure: of its host, smoothed; told_s: when that last said anything.
    demand_price: of the tier as last told, a part of the pressure of load.
    shown: what whole ranges took, where that is not the sum of their layers.
    """

    slowdown: Estimate
    seen_s: float
    scatter: Scatter
    pressure: Pressure
    told_s: float
    shown: Shown = field(default_factory=Shown)
    demand_price: float = 0.0
    changed_s: float = 0.0
    load: float | None = None
    seen_load: float | None = None

    @property
    def is_outdated(self) -> bool:
        """Whether others' load has changed so much since that the speed may have changed too."""
        return abs((self.load or 0.0) - (self.seen_load or 0.0)) > _OTHER_LOAD

    def bears_out(self, ratio: float) -> bool:
        """Whether that change of the seconds, beyond noise, is what the load would make of them."""
        has_grown = (self.load or 0.0) > (self.seen_load or 0.0)
        slower = ratio if has_grown else 1 / ratio
        return self.is_outdated and slower > _BEYOND_NOISE

    @property
    def is_watched(self) -> bool:
        """Whether its host would say so."""
        return self.load is not None

    @property
    def pressed(self) -> Pressure:
        """The pressure to plan with, price included."""
        if not self.demand_price:
            return self.pressure
        return replace(self.pressure, load=self.pressure.load + self.demand_price)

    def in_doubt(self, since_s: float) -> bool:
        """True while a change seen at or after since_s is likely but not confirmed."""
        return self.slowdown.suspicious and self.seen_s >= since_s


@dataclass(frozen=True)
class LinkBelief:
    """rate in bytes/s, latency in seconds; seen_s, probed_s: when each was last measured.

    scatter: of the seconds of a payload and its reply, around what was believed just before.
    fell_s: when the rate was last found to be less than half of what was believed.
    taken_back: payloads in a row that were taken back since the rate was last measured.
    """

    rate: Estimate
    latency: Estimate
    seen_s: float
    probed_s: float
    scatter: Scatter
    fell_s: float = -math.inf
    changed_s: float = 0.0
    taken_back: int = 0

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
        old = self.tiers[name]
        changed_s = at_s if slowdown.changed else old.changed_s
        belief = changed(
            old, slowdown=slowdown, seen_s=at_s, changed_s=changed_s, seen_load=old.load
        )
        tiers = {**self.tiers, name: belief}
        return changed(self, tiers=tiers, alarms=self.alarms + slowdown.changed)

    def measured_in_vain(self, name: str) -> "Beliefs":
        """The same where a measurement of a tier under its load of now has taught nothing."""
        belief = self.tiers[name]
        return changed(self, tiers={**self.tiers, name: changed(belief, seen_load=belief.load)})

    def with_shown(self, name: str, shown: Shown) -> "Beliefs":
        """The same with what the ranges of one tier have shown."""
        belief = changed(self.tiers[name], shown=shown)
        return changed(self, tiers={**self.tiers, name: belief})

    def without_runtime(self, name: str, runtime: str) -> "Beliefs":
        """The same where the layer times that a tier's ranges were compared with are no more."""
        belief = self.tiers[name]
        belief = changed(belief, shown=belief.shown.without(runtime))
        return changed(self, tiers={**self.tiers, name: belief})

    def with_pressure(
        self, name: str, pressure: Pressure, told: tuple[float, float | None], at_s: float
    ) -> "Beliefs":
        """The same with another pressure on one tier, and another price of demand and load."""
        price, load = told
        belief = changed(
            self.tiers[name], pressure=pressure, demand_price=price, load=load, told_s=at_s
        )
        return changed(self, tiers={**self.tiers, name: belief})

    def with_speed(
        self, name: str, slowdown: Estimate, measured: tuple[float, Shown | None], at_s: float
    ) -> "Beliefs":
        """The same with one tier's speed measured once more, by a ratio to its believed seconds.

        measured: the ratio, and what its ranges have shown with it, None: no more than before.
        """
        ratio, shown = measured
        old = self.tiers[name]
        belief = changed(
            old,
            slowdown=slowdown,
            seen_s=at_s,
            scatter=old.scatter.updated(ratio),
            shown=old.shown if shown is None else shown,
            changed_s=at_s if slowdown.changed else old.changed_s,
            seen_load=old.load,
        )
        tiers = {**self.tiers, name: belief}
        return changed(self, tiers=tiers, alarms=self.alarms + slowdown.changed)

    def with_link_ratio(self, pair: Pair, ratio: float) -> "Beliefs":
        """The same with one more ratio of a hop's measured to its believed seconds."""
        belief = self.links[pair]
        belief = changed(belief, scatter=belief.scatter.updated(ratio))
        return changed(self, links={**self.links, pair: belief})

    def with_rate(self, pair: Pair, rate: Estimate, at_s: float) -> "Beliefs":
        """The same with one link's rate measured once more."""
        old = self.links[pair]
        fell_s = at_s if rate.changed and 2 * rate.value < old.rate.value else old.fell_s
        changed_s = at_s if rate.changed else old.changed_s
        belief = changed(
            old, rate=rate, seen_s=at_s, fell_s=fell_s, changed_s=changed_s, taken_back=0
        )
        links = {**self.links, pair: belief}
        return changed(self, links=links, alarms=self.alarms + rate.changed)

    def with_taken_back(self, pair: Pair) -> "Beliefs":
        """The same with one more payload taken back from that link."""
        old = self.links[pair]
        links = {**self.links, pair: changed(old, taken_back=old.taken_back + 1)}
        return changed(self, links=links)

    def with_latency(self, pair: Pair, latency: Estimate, at_s: float) -> "Beliefs":
        """The same with one link's latency measured once more."""
        old = self.links[pair]
        changed_s = at_s if latency.changed else old.changed_s
        belief = changed(old, latency=latency, probed_s=at_s, changed_s=changed_s)
        links = {**self.links, pair: belief}
        return changed(self, links=links, alarms=self.alarms + latency.changed)


def believe(profile: Profile, at_s: float) -> Beliefs:
    """What is believed before the first measurement: the profile as calibrated."""
    return Beliefs(
        {tier.name: believe_tier(tier, at_s) for tier in profile.tiers},
        {link.pair: believe_link(link, at_s) for link in profile.links},
    )


def believe_tier(tier: Tier, at_s: float) -> TierBelief:
    """The same of one tier."""
    scatter = assumed_scatter(_TIER_SIGMA)
    return TierBelief(estimate(tier.slowdown), at_s, scatter, tier.pressure, at_s, changed_s=at_s)


def believe_link(link: Link, at_s: float) -> LinkBelief:
    """The same of one link."""
    latency = estimate(max(link.latency_s, LATENCY_LEAST_S), _LATENCY_SIGMA)
    rate, scatter = estimate(link.bytes_per_s), assumed_scatter(_LINK_SIGMA)
    return LinkBelief(rate, latency, at_s, at_s, scatter, changed_s=at_s)
