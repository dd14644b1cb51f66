"""Policies: functions (graph, profile, goal) -> plan. `score` is the one to use; others compare."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from edgesplit.core.accuracy_loss import lossy_parts
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import AS_IS, is_lossy
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import Decision, choose, choose_fastest, choose_within
from edgesplit.core.planner.route import best_route
from edgesplit.core.planner.shortest import shortest
from edgesplit.core.planner.space import route_space
from edgesplit.core.profile import Profile
from edgesplit.errors import PlanError

Policy = Callable[[Graph, Profile, Goal], Plan]


def decide(graph: Graph, profile: Profile, goal: Goal) -> Decision:
    """The plan of least score within the latency limit, min_end_layers and memory_bytes.

    Tiers, cuts and each tier's runtime are chosen together, whichever is in use in the profile.
    Where no plan meets the latency limit, or none fits the memory limits, the fastest is decided
    for, and its cost says that it is not feasible.
    """
    return choose(CostModel(graph, profile, goal))


@dataclass(frozen=True)
class CostPolicy:
    """A policy that looks at costs alone, so that a cost model that is at hand serves it.

    decision: of a model and a latency limit, which takes the place of the model's goal's.
    """

    name: str
    decision: Callable[[CostModel, float | None], Decision]

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan chosen, as of every policy."""
        return self.decision(CostModel(graph, profile, goal), goal.latency_limit_s).plan


def _least_latency(model: CostModel, limit_s: float | None) -> Decision:
    return choose_fastest(model)


# Least score; see decide. Least latency within min_end_layers and memory_bytes.
score = CostPolicy("score", choose_within)
fastest = CostPolicy("fastest", _least_latency)


def only(tier: str) -> Policy:
    """Everything on one tier in its quickest runtime; the input goes there by the best route.

    That is the route of least score, and so are the codecs along it; of several nodes that play the
    tier, the one of least score. The policy looks at links only, not at limits. It raises
    UnknownNameError or PlanError where the tier does not exist or cannot be reached.
    """

    def policy(graph: Graph, profile: Profile, goal: Goal) -> Plan:
        model, names = CostModel(graph, profile, goal), profile.names
        nodes = [name for name in names if plays(name, tier)] or [profile.tier(tier).name]
        plans = [plan for node in nodes if (plan := _all_on(model, node)) is not None]
        if not plans:
            raise PlanError(f"no links lead from {profile.entry_tier!r} to {tier!r}")
        return min(plans, key=lambda plan: model.cost(plan).score)

    return policy


def plays(name: str, tier: str) -> bool:
    """Whether it names that tier, or a node that plays it, such as edge-2."""
    return name == tier or name.startswith(f"{tier}-")


def _all_on(model: CostModel, node: str) -> Plan | None:
    """The plan with all layers there; None where no links lead to it."""
    names = model.profile.names
    route = best_route(model, 0, names.index(node))
    if route is None:
        return None
    free = replace(model.goal, memory_bytes={}, min_end_layers=0, max_stages=None)
    space = route_space(CostModel(model.graph, model.profile, free), route, route[:-1])
    walk = shortest(space, space.score)
    return None if walk is None else space.plan(walk)


@dataclass(frozen=True)
class FixedPlan:
    """A policy: always that plan, in the runtimes and codecs it names.

    Codecs that are not measured yet are left out until they are; the plan is then gone over to,
    whatever it scores. The policy raises PlanError where the plan does not fit, a tier lacks a
    runtime or a codec, or the goal does not grant what it loses.
    """

    plan: Plan
    is_followed: ClassVar[bool] = True

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan, or what of it can be used by now."""
        model = CostModel(graph, profile, goal)
        try:
            return model.cost(self.plan).plan
        except PlanError:
            meanwhile = self._until_measured(model)
            if meanwhile == self.plan:
                raise
            return model.cost(meanwhile).plan

    def _until_measured(self, model: CostModel) -> Plan:
        """With payloads as they are where the plan's codec may be used once it is measured."""
        profile, is_granted = model.profile, model.goal.max_accuracy_loss is not None
        if sum(1 for _ in lossy_parts(self.plan, profile)) > 1:
            return self.plan
        codecs = list[str]()
        for codec, cut in zip(self.plan.codecs, self.plan.cuts, strict=True):
            sizes = profile.codec(codec)
            is_unmeasured = sizes is None or sizes.loss[cut] is None
            may_wait = is_unmeasured and (is_granted or not is_lossy(codec))
            codecs.append(AS_IS if may_wait else codec)
        return self.plan.coded(codecs)
