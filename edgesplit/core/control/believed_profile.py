"""Profiles made of beliefs: as things are held to be, as they may be, and as one may hope."""

from collections.abc import Iterable
from dataclasses import replace

from edgesplit.core.control.belief import Beliefs, LinkBelief, Pair, TierBelief
from edgesplit.core.profile import Link, Profile, Tier


def apply(profile: Profile, beliefs: Beliefs) -> Profile:
    """The calibrated profile with every figure that has been measured since replaced."""
    tiers = tuple(_tier_now(tier, beliefs.tiers[tier.name]) for tier in profile.tiers)
    links = tuple(_link_now(link, beliefs.links[link.pair]) for link in profile.links)
    return replace(profile, tiers=tiers, links=links)


def _tier_now(tier: Tier, belief: TierBelief) -> Tier:
    pressure = belief.pressed
    if belief.slowdown.count == 0 and pressure == tier.pressure:
        return tier
    slowdown = belief.slowdown.value if belief.slowdown.count else tier.slowdown
    return belief.shown.applied(replace(tier, slowdown=slowdown, pressure=pressure))


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


def profile_as_met(profile: Profile, before: Beliefs, after: Beliefs) -> Profile:
    """`profile` with what was measured between the two beliefs as it was measured last.

    So a request's own timings show what it met, by the rules that beliefs are learnt by; what they
    do not show stays as believed.
    """
    tiers, links = list(profile.tiers), list(profile.links)
    for i, tier in enumerate(tiers):
        now = after.tiers[tier.name].slowdown
        if now.count > before.tiers[tier.name].slowdown.count:
            tiers[i] = replace(tier, slowdown=now.last)
    for i, link in enumerate(links):
        old, new = before.links[link.pair], after.links[link.pair]
        if new.rate.count > old.rate.count:
            links[i] = replace(links[i], bytes_per_s=new.rate.last)
        if new.latency.count > old.latency.count:
            links[i] = replace(links[i], latency_s=new.latency.last)
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
