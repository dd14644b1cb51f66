"""Which inputs a session has seen: each signature's export, its figures and the plan in force."""

import gc
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from edgesplit.cluster.keeper import Keeper
from edgesplit.cluster.loop import Activation, Workload
from edgesplit.cluster.runtimes import Offered, with_offer
from edgesplit.cluster.session import Session
from edgesplit.cluster.survey import RuntimeSurvey
from edgesplit.cluster.watch import PlanWatch
from edgesplit.core.control.state import Settings
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.patience import patience
from edgesplit.core.plan import Plan
from edgesplit.core.policy import Policy
from edgesplit.core.profile import Profile, Tier
from edgesplit.core.row import TORCH
from edgesplit.errors import InputError
from edgesplit.node import wire
from edgesplit.node.model import ExportedModel, export
from edgesplit.node.profiler import graph_of, payload_forms
from edgesplit.node.signature import flatten_args

Key = tuple[Any, ...]
_ROUTES_KEPT = 256  # explicit plans: an experiment may try all of them


class InfeasibleGoalWarning(UserWarning):
    """No plan meets the goal's limits; the fastest one is used."""


class Given:
    """The arguments of one call: flat, checked, and with the key that tells their signature.

    Raises InputError for what is no input.
    """

    def __init__(self, args: Any, kwargs: Mapping[str, Any]) -> None:
        self.at_s = time.perf_counter()
        self.args, self.kwargs = args, kwargs
        self.leaves, tree = flatten_args(args, kwargs)
        forms = tuple(_form(leaf) for leaf in self.leaves)
        self.key: Key = (tree, forms)


@dataclass(frozen=True)
class Loaded:
    """An export that every tier holds."""

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


@dataclass(frozen=True)
class Wanted:
    """What the user wants of every workload."""

    goal: Goal
    policy: Policy
    settings: Settings
    finishes: bool


@dataclass(frozen=True)
class Threads:
    """The caller's threads beside requests."""

    watch: PlanWatch
    survey: RuntimeSurvey
    keeper: Keeper

    def start(self) -> None:
        """Begin, once the session is open."""
        self.watch.start()
        self.survey.start()
        self.keeper.start()

    def stop(self) -> None:
        """End all of them; nothing of Ray's is called any more when this returns."""
        self.keeper.stop()
        self.survey.stop()
        self.watch.stop()


class Workloads:
    """The workloads of one session, made when their signature is first seen."""

    def __init__(
        self, model: nn.Module, session: Session, threads: Threads, wanted: Wanted
    ) -> None:
        self._model = model
        self._session = session
        self._threads = threads
        self._wanted = wanted
        self._lock = threading.Lock()
        self._loaded: list[Loaded] = []
        self._known: dict[Key, ActiveWorkload] = {}
        self.latest: ActiveWorkload | None = None

    def of(self, given: Given) -> ActiveWorkload:
        """The workload of these arguments. Raises InputError, ExportError, ClusterError."""
        workload = self._known.get(given.key)
        if workload is None:
            with self._lock:
                workload = self._known.get(given.key) or self._begin(given)
            given.at_s = time.perf_counter()  # the making of a workload is not the request's time
        self.latest = workload
        return workload

    def pursue(self, goal: Goal) -> None:
        """Choose plans for that goal from now on, also of workloads yet to come.

        Raises ClusterError, and then nothing has changed.
        """
        with self._lock:
            if self._known:
                self._session.pursue(goal)
            self._wanted = replace(self._wanted, goal=goal)
            for workload in self._known.values():
                workload.pursue(goal)

    def _begin(self, given: Given) -> ActiveWorkload:
        args, kwargs = given.args, given.kwargs
        loaded = next((ld for ld in self._loaded if ld.exported.accepts(args, kwargs)), None)
        # The export goes on while the tiers' processes start.
        exported = loaded.exported if loaded else export(self._model, args, kwargs)
        values = exported.flatten(args, kwargs)
        payloads = payload_forms(exported.program, values)
        graph = graph_of(type(self._model).__name__, exported.program, payloads)
        self._session.ready()
        if loaded is None:
            loaded = Loaded(exported, self._session.load(exported.program))
        workload_id = f"{loaded.program_id}-w{len(self._known)}"
        self._session.describe(workload_id, loaded.program_id, payloads)
        ids = workload_id, loaded.program_id
        work = self._session.work(ids, loaded.exported.program, values)
        runtimes_first = self._session.runtimes().come_first
        like = None if runtimes_first else self._measured_like(loaded)
        if like is None:
            profile = self._session.profile(work)
        else:
            factor = graph.payload_bytes[0] / max(1, like.graph.payload_bytes[0])
            profile = _scaled(self._session.current_profile(like.id), factor)
            work = replace(work, whole_s={t.name: sum(t.layer_s) for t in profile.tiers})
        workload = ActiveWorkload(
            workload_id,
            loaded,
            graph,
            profile,
            self._wanted.goal,
            self._session.addresses(),
            self._wanted.finishes,
        )
        self._start(workload)
        if not runtimes_first:  # else they are measured already
            self._threads.survey.add(work, workload.offer)
        if loaded not in self._loaded:
            self._loaded.append(loaded)
        self._known[given.key] = workload
        # An export leaves tracebacks in cycles, whose frames would keep a dropped EdgeSplit alive.
        gc.collect()
        return workload

    def _measured_like(self, loaded: Loaded) -> ActiveWorkload | None:
        """The same program at another batch size, whose profile may be scaled.

        Scaling keeps a last, smaller batch from halting the stream; adaptation corrects it. Other
        runtimes are made for one payload form each: where they come first, nothing is scaled.
        """
        return next((known for known in self._known.values() if known.loaded is loaded), None)

    def _start(self, workload: ActiveWorkload) -> None:
        goal = self._wanted.goal
        first = self._session.begin(
            Workload(
                workload.id,
                workload.graph,
                workload.profile,
                goal,
                self._wanted.policy,
                self._wanted.settings,
            )
        )
        workload.activate(first)
        self._threads.watch.add(workload.id, first, workload.activate)
        cost = CostModel(workload.graph, workload.profile, goal).cost(first.plan)
        if not cost.feasible:
            warnings.warn(
                f"no plan of {workload.graph.name} meets the goal's limits; using {first.plan} "
                f"with {cost.latency_s * 1e3:.1f} ms expected. explain() says what limits it",
                InfeasibleGoalWarning,
                stacklevel=2,
            )


def _form(leaf: torch.Tensor | None) -> tuple[torch.Size, torch.dtype] | None:
    if leaf is None:
        return None
    if leaf.device.type != "cpu":
        raise InputError(f"inputs must be on the CPU, given one on {leaf.device}; use x.cpu()")
    if leaf.numel() == 0:
        raise InputError(f"an input of shape {tuple(leaf.shape)} is empty; leave it out")
    return leaf.shape, leaf.dtype


def _scaled(profile: Profile, factor: float) -> Profile:
    tiers = tuple(_scaled_tier(tier.on(TORCH), factor) for tier in profile.tiers)
    return replace(profile, tiers=tiers, norms=None)


def _scaled_tier(tier: Tier, factor: float) -> Tier:
    layer_s = tuple(s * factor for s in tier.layer_s)
    source = f"{tier.source.partition(',')[0]}, scaled to another batch size"
    return replace(tier, layer_s=layer_s, source=source, rows=(), unused=())
