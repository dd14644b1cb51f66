"""The one plan that would have been best for all of some past requests."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from edgesplit.core.cost import CostModel
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.policies.hindsight import Hindsight
from edgesplit.core.profile import Profile
from edgesplit.core.shadow.past_request import PastRequest
from edgesplit.core.tier import Tier


def best_static(graph: Graph, requests: Sequence[PastRequest]) -> Plan:
    """The plan of least mean score, of those over tiers that were there all the time.

    A runtime that was not there yet, or no longer, is the one in use then (Plan.as_offered). Exact
    while pressures stay the same (core/policies/hindsight.py); by the goal of the last request.
    """
    profiles, goal = _alike([request.met for request in requests]), requests[-1].goal
    return choose(CostModel(graph, Hindsight(graph, goal, profiles).mean_profile, goal)).plan


def _alike(profiles: Sequence[Profile]) -> tuple[Profile, ...]:
    """The profiles with the tiers and codecs that all of them have, and the last one's runtimes."""
    kinds = {(repr(one.offered), _codecs(one)): one for one in profiles}.values()
    if len(kinds) == 1:
        return tuple(profiles)
    tiers = {
        name: runtimes
        for name, runtimes in profiles[-1].offered.items()
        if all(name in one.names for one in kinds)
    }
    codecs = set.intersection(*(set(_codecs(one)) for one in kinds))
    return tuple(_only(one, tiers, codecs) for one in profiles)


def _codecs(profile: Profile) -> tuple[str, ...]:
    return tuple(one.codec for one in profile.codecs)


def _only(profile: Profile, tiers: Mapping[str, Sequence[str]], codecs: Collection[str]) -> Profile:
    """tiers: by name their runtimes."""
    profile = profile.without_tiers({name for name in profile.names if name not in tiers})
    for name, runtimes in tiers.items():
        profile = profile.with_tier(_with_runtimes(profile.tier(name), runtimes))
    return replace(profile, codecs=tuple(one for one in profile.codecs if one.codec in codecs))


def _with_runtimes(tier: Tier, runtimes: Sequence[str]) -> Tier:
    """With those alone; one that it lacks takes what the one in use takes."""
    used = tier.times_in(tier.runtime)
    for runtime in set(runtimes) - set(tier.runtimes):
        tier = tier.with_layer_times(replace(used, runtime=runtime))
    tier = tier.on(runtimes[0])
    for runtime in set(tier.runtimes) - set(runtimes):
        tier = tier.without_layer_times(runtime)
    return tier
