"""A workload as the caller has it: its export and figures, and the plan in force as a route."""

import threading
import time
from dataclasses import dataclass, field, replace

from edgesplit.cluster.loop import Activation
from edgesplit.cluster.runtimes import Offered, with_offer
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.patience import patience
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.node import wire
from edgesplit.node.model import ExportedModel

_ROUTES_KEPT = 256  # explicit plans: an experiment may try all of them


@dataclass(frozen=True)
class Loaded:
    """An export, and the name under which tiers hold its program, or are to."""

    exported: ExportedModel
    program_id: str


@dataclass(frozen=True)
class Route:
    """A plan as the wire carries it. patience_s: the caller's with the first tier, 0: for ever."""

    plan: Plan
    hops: list[wire.Hop]
    patience_s: float


@dataclass(eq=False)
class ActiveWorkload:
    """What is fixed of a workload, and the plan in force, which the watch replaces.

    finishes: whether another tier may finish what a planned one does not. activations: every plan
    that was in force, oldest first.
    """

    id: str
    loaded: Loaded
    graph: Graph
    profile: Profile
    goal: Goal
    addresses: dict[str, str]
    finishes: bool
    activations: list[Activation] = field(default_factory=list)
    _route: Route | None = None
    _routes: dict[Plan, Route] = field(default_factory=dict)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def offer(self, offered: Offered) -> None:
        """Plans may from now on name a runtime that was measured."""
        tier = with_offer(self.profile.tier(offered.tier), offered)
        self.profile = self.profile.with_tier(tier)

    def activate(self, activation: Activation) -> None:
        """Send the next requests along this plan."""
        with self._changing:
            # By this process's clock: the scheduler may run on a machine with another one.
            self.activations.append(replace(activation, at_s=time.perf_counter()))
            if self.addresses != activation.addresses:
                self.addresses = dict(activation.addresses)
                self._routes.clear()
            self._route = self.along(activation.plan)

    def pursue(self, goal: Goal) -> None:
        """Take another goal: its latency limit bounds how long tiers are waited for."""
        with self._changing:
            self.goal = goal
            self._routes.clear()
            self._route = self.along(self.route.plan)

    @property
    def route(self) -> Route:
        """That of the plan in force: one reference, so that a request sees one plan."""
        assert self._route is not None, "a workload is activated before it is used"
        return self._route

    def along(self, plan: Plan) -> Route:
        """The route of that plan; made once per plan."""
        route = self._routes.get(plan)
        if route is None:
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            route = self._routes[plan] = self._made(plan)
        return route

    def _made(self, plan: Plan) -> Route:
        waits_s = [0.0] * (len(plan.stages) + 1)
        if self.finishes:
            model = CostModel(self.graph, self.profile, self.goal)
            longest = wire.LONGEST_TIMEOUT_S
            waits_s = [*(min(s, longest) for s in patience(model, plan)), 0.0]
        hops = [
            wire.Hop(s.tier, self.addresses[s.tier], s.start, s.stop, s.runtime, wait_s)
            for s, wait_s in zip(plan.stages, waits_s[1:], strict=True)
        ]
        return Route(plan, hops, waits_s[0])
