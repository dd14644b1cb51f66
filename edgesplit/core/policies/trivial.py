"""Yardsticks that need no paper: a plan drawn at random, and the best of those that were measured.

Everything on one tier is policy.only().
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.planner.choose import choose_fastest
from edgesplit.core.policies.policy import Policy
from edgesplit.core.policies.seeded import draws, pick
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import PlanError

TRIES = 30  # draws until one is feasible


@dataclass(frozen=True)
class RandomPlan:
    """A plan drawn anew for each request, from those within the goal's limits.

    The route is a walk that ends at each tier as likely as it goes on to each neighbour; cuts are
    drawn evenly and sorted. Where TRIES draws break limits, the fastest plan.

    count: requests so far.
    """

    seed: int = 0
    count: int = 0

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan drawn, as of every policy."""
        model = CostModel(graph, profile, goal)
        numbers = draws("random plan", self.seed, self.count)
        drawn = (_cost(model, _draw(model, numbers)) for _ in range(TRIES))
        feasible = (cost.plan for cost in drawn if cost is not None and cost.feasible)
        plan = next(feasible, None)
        return choose_fastest(model).plan if plan is None else plan

    def after(self, graph: Graph, profile: Profile, timings: Sequence[TierTiming]) -> "RandomPlan":
        """The same, which draws another plan next."""
        return replace(self, count=self.count + 1)


def oracle(measured: Mapping[Plan, float]) -> Policy:
    """Of the plans that were measured and can run now, the one of least measured score.

    measured: scores. Of equals the one given first. The policy raises PlanError where none can run.
    """

    def policy(graph: Graph, profile: Profile, goal: Goal) -> Plan:
        model = CostModel(graph, profile, goal)
        for plan in sorted(measured, key=lambda plan: measured[plan]):
            if _cost(model, plan) is not None:
                return plan
        raise PlanError(
            f"none of the {len(measured)} plans measured can run on {', '.join(profile.names)} "
            "now; measure one that can"
        )

    return policy


def _cost(model: CostModel, plan: Plan) -> Cost | None:
    """None for a plan that cannot run."""
    try:
        return model.cost(plan)
    except PlanError:
        return None


def _draw(model: CostModel, numbers: Iterator[float]) -> Plan:
    names, n = model.profile.names, len(model.graph)
    route = [names[0]]
    while onward := [t for t in names if t not in route and model.profile.link(route[-1], t)]:
        at = pick(numbers, len(onward) + 1)
        if at == len(onward):
            break
        route.append(onward[at])
    cuts = sorted(pick(numbers, n + 1) for _ in route[1:])
    return plan_along(route, cuts, n).on(model.profile.runtimes)
