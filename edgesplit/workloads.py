"""Which inputs a session has seen: each signature's export, its figures and the plan in force."""

import gc
import logging
import threading
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from edgesplit.active_workload import ActiveWorkload, Loaded
from edgesplit.cluster.keeper import Keeper
from edgesplit.cluster.loop import Activation, Workload
from edgesplit.cluster.session import Session
from edgesplit.cluster.survey import RuntimeSurvey
from edgesplit.cluster.watch import PlanWatch
from edgesplit.core.control.state import Settings
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.policy import Policy
from edgesplit.core.profile import Profile, Tier
from edgesplit.core.row import TORCH
from edgesplit.errors import ClusterError, InputError
from edgesplit.node.form import Forms
from edgesplit.node.model import export
from edgesplit.node.profiler import graph_of, payload_forms
from edgesplit.node.signature import flatten_args

Key = tuple[Any, ...]
_log = logging.getLogger(__name__)


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
        self._exports: list[Loaded] = []
        self._loaded: set[str] = set()  # programs that every tier holds
        self._known: dict[Key, ActiveWorkload] = {}
        self._strangers: dict[Key, ActiveWorkload] = {}  # to the tiers: the caller answers
        self.latest: ActiveWorkload | None = None

    def of(self, given: Given) -> ActiveWorkload:
        """The workload of these arguments. Raises InputError, ExportError, ClusterError.

        Where a tier is lost while one is made, but not the first one, it is one that no tier knows:
        they refuse its requests, so that the caller answers them. The next call makes it anew.
        """
        workload = self._known.get(given.key)
        if workload is None:
            with self._lock:
                workload = self._known.get(given.key) or self._begin(given)
            given.at_s = time.perf_counter()  # the making of a workload is not the request's time
        if given.key in self._known:
            self.latest = workload
        return workload

    def pursue(self, goal: Goal) -> None:
        """Choose plans for that goal from now on, also of workloads yet to come.

        Raises ClusterError, and then nothing has changed.
        """
        with self._lock:
            if self._known:
                self._session.planning.pursue(goal)
            self._wanted = replace(self._wanted, goal=goal)
            for workload in self._known.values():
                workload.pursue(goal)
            self._strangers.clear()

    def _begin(self, given: Given) -> ActiveWorkload:
        loaded = self._export(given)  # goes on while the tiers' processes start
        program = loaded.exported.program
        values = loaded.exported.flatten(given.args, given.kwargs)
        payloads = payload_forms(program, values)
        graph = graph_of(type(self._model).__name__, program, payloads)
        try:
            workload = self._prepared(loaded, values, payloads, graph)
        except ClusterError as error:
            if not (self._known and self._wanted.finishes):
                raise
            _log.warning("a first input of its kind is answered by the caller alone: %s", error)
            return self._stranger(given.key, loaded, graph)
        self._strangers.pop(given.key, None)
        self._known[given.key] = workload
        # An export leaves tracebacks in cycles, whose frames would keep a dropped EdgeSplit alive.
        gc.collect()
        return workload

    def _export(self, given: Given) -> Loaded:
        """The export that takes these arguments; kept, whatever becomes of this workload."""
        for known in self._exports:
            if known.exported.accepts(given.args, given.kwargs):
                return known
        exported = export(self._model, given.args, given.kwargs)
        self._exports.append(Loaded(exported, self._session.new_program_id()))
        return self._exports[-1]

    def _prepared(
        self, loaded: Loaded, values: list[Any], payloads: tuple[Forms, ...], graph: Graph
    ) -> ActiveWorkload:
        """The workload, once all tiers and the scheduler know it. Raises ClusterError."""
        self._session.ready()
        if loaded.program_id not in self._loaded:
            self._session.load(loaded.program_id, loaded.exported.program)
            self._loaded.add(loaded.program_id)
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
            profile = _scaled(self._session.planning.current_profile(like.id), factor)
            work = replace(work, whole_s={t.name: sum(t.layer_s) for t in profile.tiers})
        workload = self._workload(workload_id, loaded, graph, profile)
        self._start(workload)
        if not runtimes_first:  # else they are measured already
            self._threads.survey.add(work, workload.offer)
        return workload

    def _stranger(self, key: Key, loaded: Loaded, graph: Graph) -> ActiveWorkload:
        """One that no tier knows; as planned, the first tier would do everything."""
        if key not in self._strangers:
            profile = _guessed(next(iter(self._known.values())).profile, len(graph))
            first = profile.tiers[0]
            stranger = self._workload(f"{loaded.program_id}-stranger", loaded, graph, profile)
            plan = Plan((Stage(first.name, 0, len(graph), first.runtime),))
            stranger.activate(Activation(0, plan, "not prepared", 0.0, stranger.addresses))
            self._strangers[key] = stranger
        return self._strangers[key]

    def _workload(
        self, workload_id: str, loaded: Loaded, graph: Graph, profile: Profile
    ) -> ActiveWorkload:
        goal, addresses = self._wanted.goal, self._session.addresses()
        return ActiveWorkload(
            workload_id, loaded, graph, profile, goal, addresses, self._wanted.finishes
        )

    def _measured_like(self, loaded: Loaded) -> ActiveWorkload | None:
        """The same program at another batch size, whose profile may be scaled.

        Scaling keeps a last, smaller batch from halting the stream; adaptation corrects it. Other
        runtimes are made for one payload form each: where they come first, nothing is scaled.
        """
        return next((known for known in self._known.values() if known.loaded is loaded), None)

    def _start(self, workload: ActiveWorkload) -> None:
        goal = self._wanted.goal
        first = self._session.planning.begin(
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


def _guessed(profile: Profile, n_layers: int) -> Profile:
    """The tiers of another workload's profile, as if this one took as long, evenly."""
    tiers = tuple(
        replace(tier, layer_s=(sum(tier.layer_s) / n_layers,) * n_layers, source="guessed", rows=())
        for tier in profile.tiers
    )
    return replace(profile, tiers=tiers, norms=None)
