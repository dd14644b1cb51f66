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


def best_static(graph: Graph, requests: Sequence[PastRequest]) -> Plan:
    """The plan of least mean score, of those that could run at each of the requests.

    Exact while pressures stay the same (core/policies/hindsight.py); by the goal of the last.
    """
    profiles, goal = _alike([request.met for request in requests]), requests[-1].goal
    return choose(CostModel(graph, Hindsight(graph, goal, profiles).mean_profile, goal)).plan


def _alike(profiles: Sequence[Profile]) -> tuple[Profile, ...]:
    """The profiles with the tiers, runtimes and codecs that all of them have."""
    kinds = {(repr(one.offered), _codecs(one)): one for one in profiles}.values()
    if len(kinds) == 1:
        return tuple(profiles)
    tiers = {
        name: [runtime for runtime in there if all(runtime in o.offered[name] for o in kinds)]
        for name, there in profiles[-1].offered.items()
        if all(name in one.names for one in kinds)
    }
    codecs = set.intersection(*(set(_codecs(one)) for one in kinds))
    return tuple(_only(one, tiers, codecs) for one in profiles)


def _codecs(profile: Profile) -> tuple[str, ...]:
    return tuple(one.codec for one in profile.codecs)


def _only(profile: Profile, tiers: Mapping[str, Sequence[str]], codecs: Collection[str]) -> Profile:
    """tiers: by name the runtimes that are left; a tier without any is left out too."""
    profile = profile.without_tiers({name for name in profile.names if not tiers.get(name)})
    for name, runtimes in tiers.items():
        tier = profile.tier(name).on(runtimes[0])
        for runtime in set(tier.runtimes) - set(runtimes):
            tier = tier.without_layer_times(runtime)
        profile = profile.with_tier(tier)
    return replace(profile, codecs=tuple(one for one in profile.codecs if one.codec in codecs))
