"""Static plans in hindsight: which one plan would have been best over all that has been.

A yardstick, no policy: it is told all conditions at once. What adapting gains is gained over it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from edgesplit.core.cost import Array, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import PlanError, ProfileError


@dataclass(frozen=True)
class StaticPlan:
    """A plan and its mean score over all conditions, infinite where some do not let it run."""

    plan: Plan
    score: float


@dataclass(frozen=True)
class Hindsight:
    """Conditions that have been: profiles of the same tiers, and how much each counts.

    weights: by profile, such as seconds or requests; none: all alike. Scores are divided by the
    first profile's reference, whatever the others have. Raises ProfileError where the profiles are
    not alike or a weight is not above 0.
    """

    graph: Graph
    goal: Goal
    profiles: tuple[Profile, ...]
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if not self.profiles:
            raise ProfileError("there is nothing to look back at: give at least one profile")
        first = self.profiles[0]
        if any(one.offered != first.offered for one in self.profiles):
            raise ProfileError("the profiles have other tiers or runtimes than the first of them")
        if self.weights and len(self.weights) != len(self.profiles):
            raise ProfileError(f"{len(self.profiles)} profiles have {len(self.weights)} weights")
        if not all(np.isfinite(weight) and weight > 0 for weight in self.weights):
            raise ProfileError(f"weights of profiles must be above 0, given {self.weights}")

    def mean_score(self, plan: Plan) -> float:
        """Of that plan; infinite where a link that it needs was away."""
        try:
            scores = [model.cost(plan).score for model in self._models]
        except PlanError:
            return float("inf")
        return float(self._shares @ np.array(scores))

    def best_of(self, plans: Iterable[Plan]) -> StaticPlan:
        """The one of least mean score, the first among equals. Raises PlanError for none at all."""
        found = [StaticPlan(plan, self.mean_score(plan)) for plan in plans]
        if not found:
            raise PlanError("there are no plans to choose from; give at least one")
        return min(found, key=lambda one: one.score)

    def best(self) -> StaticPlan:
        """The best of all plans within the goal's limits, over links that were always there.

        Exact where watts, pressures and codecs' sizes stay the same: seconds and joules are then
        linear in layer seconds, latencies and seconds per byte, so the plan of least score under
        their means is the one of least mean score. A latency limit is one on the mean latency.
        """
        plan = choose(CostModel(self.graph, self.mean_profile, self.goal)).plan
        return StaticPlan(plan, self.mean_score(plan))

    @cached_property
    def mean_profile(self) -> Profile:
        """The profile of mean slowdowns, latencies and seconds per byte."""
        first, shares = self.profiles[0], self._shares
        tiers = zip(*(profile.tiers for profile in self.profiles), strict=True)
        pairs = [link.pair for link in first.links]
        always = [pair for pair in pairs if all(p.link(*pair) for p in self.profiles)]
        links = [self._mean_link(pair) for pair in always]
        return replace(
            first,
            tiers=tuple(_mean_tier(each, shares) for each in tiers),
            links=tuple(links),
            score_reference=self._models[0].score_reference,
        )

    def _mean_link(self, pair: tuple[str, str]) -> Link:
        links = [link for profile in self.profiles if (link := profile.link(*pair))]
        latency_s = float(self._shares @ np.array([link.latency_s for link in links]))
        s_per_byte = float(self._shares @ np.array([1 / link.bytes_per_s for link in links]))
        rate = 1 / s_per_byte if s_per_byte else np.inf
        return replace(links[0], latency_s=latency_s, bytes_per_s=rate)

    @cached_property
    def _shares(self) -> Array:
        weights = np.array(self.weights or [1.0] * len(self.profiles))
        shares: Array = weights / weights.sum()
        return shares

    @cached_property
    def _models(self) -> list[CostModel]:
        reference = CostModel(self.graph, self.profiles[0], self.goal).score_reference
        profiles = [replace(one, score_reference=reference) for one in self.profiles]
        return [CostModel(self.graph, profile, self.goal) for profile in profiles]


def _mean_tier(tiers: Sequence[Tier], shares: Array) -> Tier:
    """With the mean slowdown, and the layer seconds that give the mean of all under it."""
    slowdowns = np.array([tier.slowdown for tier in tiers])
    slowdown = float(shares @ slowdowns)

    def mean_s(runtime: str) -> tuple[float, ...]:
        rows = np.array([tier.layer_s_in(runtime) for tier in tiers])
        return tuple(((shares * slowdowns) @ rows / slowdown).tolist())

    first = tiers[0]
    others = tuple(replace(row, layer_s=mean_s(row.runtime)) for row in first.layer_times)
    own = mean_s(first.runtime)
    return replace(first, layer_s=own, slowdown=slowdown, layer_times=others)
