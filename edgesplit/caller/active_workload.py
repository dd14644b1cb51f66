"""A workload as the caller has it: its export and figures, and the plan in force as a route."""

import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from typing import Any

from edgesplit.caller.accuracy.seen_pictures import SeenPictures
from edgesplit.cluster.actors.workload import Activation
from edgesplit.cluster.measure.runtimes import Offered, with_offer
from edgesplit.core.accuracy_loss import granted_loss
from edgesplit.core.cost import CostModel
from edgesplit.core.failover import failover_timeouts
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.hedge import HedgeRule, hedge_rules
from edgesplit.core.layer_times import TORCH
from edgesplit.core.payload_codec import AS_IS, CodecSizes, CodecSpeeds, is_lossy
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.profile import Link, Profile
from edgesplit.core.tier import Tier
from edgesplit.errors import PlanError
from edgesplit.node.program.export.model import ExportedModel
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.runtime.lossy import is_lossy as is_lossy_runtime
from edgesplit.node.transport import wire
from edgesplit.node.transport.judge import AnswerForm

_ROUTES_KEPT = 256  # explicit plans: an experiment may try all of them


@dataclass(frozen=True)
class ShippedProgram:
    """An export, and the name under which tiers hold its program, or are to.

    varying: the dimensions that were to vary, per tensor, beside the batch.
    """

    exported: ExportedModel
    described: DescribedProgram
    program_id: str
    varying: tuple[frozenset[int], ...] = ()


def seen_to_vary(
    known: Sequence[ShippedProgram], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[frozenset[int], ...]:
    """Per tensor, in which dimensions these arguments differ from known ones.

    Nothing where it was tried already that sizes vary so: the model does not allow it.
    """
    found: tuple[frozenset[int], ...] = ()
    tried: list[tuple[frozenset[int], ...]] = []
    for shipped in known:
        differ = shipped.exported.signature.sizes_that_differ(args, kwargs)
        if differ is None:
            continue
        tried.append(shipped.varying)
        before = found or (frozenset[int](),) * len(differ)
        found = tuple(a | b for a, b in zip(before, differ, strict=True))
    return () if found in tried else found


@dataclass(frozen=True)
class Route:
    """A plan as the wire carries it.

    failover_after_s: how long the caller waits for a sign of life of the first tier; 0: no limit.
    hedge: when the caller runs the model beside the tiers; None: never.
    """

    plan: Plan
    hops: list[wire.Hop]
    failover_after_s: float
    hedge: HedgeRule | None = None

    @cached_property
    def text(self) -> str:
        """The plan's."""
        return str(self.plan)

    @cached_property
    def is_torch_alone(self) -> bool:
        """Whether no stage runs in another runtime, whose answers are compared now and then."""
        return all(hop.runtime == TORCH for hop in self.hops)

    @cached_property
    def is_lossy(self) -> bool:
        """Whether it may change results by more than rounding: a codec, or a runtime."""
        return self.rounds_payloads or any(is_lossy_runtime(hop.runtime) for hop in self.hops)

    @cached_property
    def rounds_payloads(self) -> bool:
        """Whether a payload is written in a codec that may change it."""
        return any(is_lossy(codec) for codec in self.plan.codecs)


@dataclass(eq=False)
class ActiveWorkload:
    """What is fixed of a workload, and the plan in force, which the watch replaces.

    answer: the form of the answer. fails_over: whether another tier may run the layers of a
    planned one that fails; hedges: or of one that is late. pictures: that its requests came as, if
    they do. activations: every plan that was in
    force, oldest first. used_s: perf_counter's, of the last request. route: that of the plan in
    force as far as its loss is granted, from activate() on: one reference, so that a request sees
    one plan.
    """

    id: str
    shipped: ShippedProgram
    graph: Graph
    answer: AnswerForm
    profile: Profile
    goal: Goal
    addresses: dict[str, str]
    fails_over: bool
    hedges: bool = False
    activations: list[Activation] = field(default_factory=list)
    used_s: float = 0.0
    pictures: SeenPictures = field(default_factory=SeenPictures)
    route: Route = field(init=False)
    _routes: dict[Plan, Route] = field(default_factory=dict)
    _believed: tuple[Plan | None, Profile | None] = (None, None)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def offer(self, offered: Offered) -> None:
        """Plans may from now on name a runtime that was measured, or no longer one that failed."""
        with self._changing:
            tier = with_offer(self.profile.tier(offered.tier), offered)
            self.profile = self.profile.with_tier(tier)
            self._keep_to_grant()

    def set_codecs(self, codecs: Sequence[CodecSizes], speeds: CodecSpeeds) -> None:
        """Plans may from now on write payloads in these codecs, and in no others."""
        with self._changing:
            self.profile = self.profile.with_codecs(codecs, dict(speeds))
            self._keep_to_grant()

    def join(self, tier: Tier, links: Sequence[Link], address: str) -> None:
        """Plans may from now on name a tier that has joined."""
        with self._changing:
            self.profile = self.profile.with_added(tier, links)
            self.addresses = {**self.addresses, tier.name: address}

    def activate(self, activation: Activation) -> None:
        """Send the next requests along this plan."""
        with self._changing:
            # By this process's clock: the scheduler may run on a machine with another one.
            kept = replace(activation, at_s=time.perf_counter(), believed=None)
            self.activations.append(kept)
            self._believed = activation.plan, activation.believed
            if self.addresses != activation.addresses:
                self.addresses = dict(activation.addresses)
                self._routes.clear()
            self.route = self._made(self._granted(activation.plan), self.hedges)

    def set_goal(self, goal: Goal) -> None:
        """Take another goal: its latency limit bounds how long tiers are waited for."""
        with self._changing:
            self.goal = goal
            self._routes.clear()
            self.route = self._made(self._granted(self.activations[-1].plan), self.hedges)

    def along(self, plan: Plan) -> Route:
        """The route of that plan as it is, without hedges; made once per plan."""
        route = self._routes.get(plan)
        if route is None:
            if len(self._routes) >= _ROUTES_KEPT:
                self._routes.clear()
            route = self._routes[plan] = self._made(plan, hedges=False)
        return route

    def _keep_to_grant(self) -> None:
        if self.activations and (plan := self._granted(self.activations[-1].plan)) != (
            self.route.plan
        ):
            self.route = self._made(plan, self.hedges)

    def _granted(self, plan: Plan) -> Plan:
        """The plan, without what it loses where the goal does not grant that as it is measured.

        So it is until the scheduler has another plan, after another goal or a codec given up.
        """
        try:
            granted_loss(plan, self.profile, self.goal.max_accuracy_loss)
            return plan
        except PlanError:
            stages = tuple(replace(s, runtime=self._exact_runtime(s)) for s in plan.stages)
            codecs = [AS_IS if is_lossy(codec) else codec for codec in plan.codecs]
            return Plan(stages).coded(codecs)

    def _exact_runtime(self, stage: Stage) -> str:
        tier = self.profile.tier(stage.tier)
        if not len(stage) or tier.loss_in(stage.runtime) is None:
            return stage.runtime
        quickest = tier.quickest_runtime
        return TORCH if tier.loss_in(quickest) is not None else quickest

    def _made(self, plan: Plan, hedges: bool) -> Route:
        count = len(plan.stages) + 1  # the caller and each stage
        waits_s = [0.0] * count
        rules: list[HedgeRule | None] = [None] * count
        if self.fails_over:
            model = CostModel(self.graph, self._profile_for(plan), self.goal)
            known = self._known(model, plan)
            longest = wire.LONGEST_TIMEOUT_S
            waits_s = [*(min(s, longest) for s in failover_timeouts(model, known)), 0.0]
            if hedges:
                rules = [*hedge_rules(model, known), None]
        hops = [
            wire.Hop(
                s.tier,
                self.addresses[s.tier],
                s.start,
                s.stop,
                s.runtime,
                wait_s,
                None if rule is None else wire.Hedge(*astuple(rule)),
                s.codec,
            )
            for s, wait_s, rule in zip(plan.stages, waits_s[1:], rules[1:], strict=True)
        ]
        return Route(plan, hops, waits_s[0], rules[0])

    def _profile_for(self, plan: Plan) -> Profile:
        """What to judge by who is late along that plan: as believed when it came into force."""
        of_plan, believed = self._believed
        if believed is None or of_plan != plan:
            return self.profile
        has_all = set(self.profile.names) <= set(believed.names)  # none has joined since
        return believed if has_all else self.profile

    def _known(self, model: CostModel, plan: Plan) -> Plan:
        """The plan with payloads as they are, which take longer, where its codecs are not known.

        So it is where the user names a codec that was not measured, or not granted.
        """
        try:
            model.cost(plan)
        except PlanError:
            return plan.coded([AS_IS] * len(plan.codecs))
        return plan
