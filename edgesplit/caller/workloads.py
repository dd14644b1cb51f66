"""Which inputs a session has seen: each signature's export, its figures and the plan in force."""

import gc
import itertools
import logging
import threading
import time
import warnings
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from edgesplit.caller.active_workload import ActiveWorkload, ShippedProgram
from edgesplit.caller.call_arguments import CallArguments, SignatureKey
from edgesplit.caller.exports import ModelExports
from edgesplit.caller.like_profiles import guessed, is_scaled, scaled
from edgesplit.caller.progress import Progress
from edgesplit.caller.session_options import SessionOptions
from edgesplit.caller.threads import Threads
from edgesplit.cluster.actors.workload import Activation, Workload
from edgesplit.cluster.measure.runtimes import Offered
from edgesplit.cluster.session.session import Session
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.profile import Profile
from edgesplit.errors import ClusterError, HeadroomError, InputError
from edgesplit.node.process.allocator import return_free_memory
from edgesplit.node.process.headroom import headroom_bytes
from edgesplit.node.program.answer_form import answer_form
from edgesplit.node.program.export.model_watch import GivenModel
from edgesplit.node.program.profiler import graph_of, payload_forms
from edgesplit.node.transport.tensor_form import Forms

_log = logging.getLogger(__name__)


# Lengths of sentences, sizes of pictures: beyond these the one used longest ago is given up; the
# second where this host is short of memory.
WORKLOADS_KEPT, KEPT_WHEN_SHORT = 32, 4
MOST_CALIBRATED = 32  # examples that a lossy runtime is calibrated on
_BENCHMARKED = 4  # workloads of one program that runtimes are measured for; later ones run in torch


class InfeasibleGoalWarning(UserWarning):
    """No plan meets the goal's limits; the fastest plan is used.

    Example:
        >>> warnings.simplefilter("error", InfeasibleGoalWarning)  # raise instead of warn
    """


class Workloads:
    """The workloads of one session, made when their signature is first seen."""

    def __init__(
        self,
        model: GivenModel,
        session: Session,
        threads: Threads,
        wanted: SessionOptions,
        progress: Progress,
    ) -> None:
        self._progress = progress
        self._model_name = model.name
        self._session = session
        self._threads = threads
        self._wanted = wanted
        self._lock = threading.Lock()
        self._exports = ModelExports(
            model, wanted.mode, session.new_program_id, self._wait_for_tiers
        )
        self._loaded: set[str] = set()  # programs that every tier holds
        self._known: dict[SignatureKey, ActiveWorkload] = {}
        self._by_forms: dict[tuple[str, SignatureKey], ActiveWorkload] = {}
        self._numbers = itertools.count()
        self._strangers: dict[SignatureKey, ActiveWorkload] = {}  # to the tiers: the caller answers
        self.latest: ActiveWorkload | None = None

    def of(self, arguments: CallArguments) -> ActiveWorkload:
        """The workload of these arguments. Raises InputError, ExportError, ClusterError.

        Where a tier is lost while one is made, but not the first one, it is one that no tier knows:
        they refuse its requests, so that the caller answers them. The next call makes it anew.
        """
        workload = self._known.get(arguments.key)
        if workload is None:
            with self._lock, self._progress.shown("exporting the model"):
                workload = self._known.get(arguments.key) or self._begin(arguments)
            # The making of a workload is not the request's time.
            arguments.at_s = time.perf_counter()
        workload.used_s = arguments.at_s
        if arguments.key in self._known:
            self.latest = workload
        return workload

    def look(self) -> str:
        """What has changed in the model since the first input, if that was not said before."""
        return self._exports.look()

    def close(self) -> None:
        """Use no program of this host any more."""
        self._exports.close()

    def set_goal(self, goal: Goal) -> None:
        """Choose plans for that goal from now on, also of workloads yet to come.

        Raises ClusterError, and then nothing has changed.
        """
        with self._lock:
            if self._known:
                self._session.planning.set_goal(self._session.tiers.goal_here(goal))
            self._wanted = replace(self._wanted, goal=goal)
            for workload in self._known.values():
                workload.set_goal(self._session.tiers.goal_here(goal))
            self._threads.codecs.goal_changed()
            self._strangers.clear()

    def _begin(self, arguments: CallArguments) -> ActiveWorkload:
        n_exports = self._exports.count
        shipped = self._exports.of(arguments)  # goes on while the tiers' processes start
        same = self._by_forms.get((shipped.program_id, arguments.payload_key))
        if same is not None:  # called in other surroundings, which this model does not look at
            self._known[arguments.key] = same
            return same
        program = shipped.exported.program
        values = shipped.exported.flatten(arguments.args, arguments.kwargs)
        with torch.random.fork_rng(devices=[]):  # the draws of a random model are not the caller's
            payloads = payload_forms(program, values)
        graph = graph_of(self._model_name, program, payloads)
        try:
            workload = self._prepared(shipped, arguments, payloads, graph)
        except ClusterError as error:
            if not (self._known and self._wanted.fails_over):
                raise
            _log.warning("a first input of its kind is answered by the caller alone: %s", error)
            return self._stranger(arguments.key, shipped, payloads, graph)
        self._strangers.pop(arguments.key, None)
        workload.used_s = arguments.at_s
        self._known[arguments.key] = workload
        self._by_forms[shipped.program_id, arguments.payload_key] = workload
        self.latest = workload
        kept = WORKLOADS_KEPT if headroom_bytes() > 0 else KEPT_WHEN_SHORT
        while len(self._by_forms) > kept and (oldest := self._oldest()):
            self._give_up(oldest)
        if self._exports.count != n_exports:
            # An export leaves tracebacks in cycles, whose frames would keep a dropped EdgeSplit
            # alive.
            gc.collect()
        return_free_memory()  # runs at many sizes leave holes of as many sizes
        return workload

    def _oldest(self, beside: ShippedProgram | None = None) -> ActiveWorkload | None:
        """The workload used longest ago, neither the latest nor of that program; None: no such."""
        others = [
            known
            for known in self._by_forms.values()
            if known is not self.latest and known.shipped is not beside
        ]
        return min(others, key=lambda known: known.used_s, default=None)

    def _give_up(self, gone: ActiveWorkload) -> None:
        """Have everybody forget a workload, and its program with the last workload of it."""
        for known in (self._known, self._by_forms):
            for key in [key for key, workload in known.items() if workload is gone]:
                del known[key]
        self._threads.watch.drop(gone.id)
        self._threads.benchmark.drop(gone.id)
        self._threads.verdicts.drop(gone.id)
        self._threads.joining.drop(gone.id)
        self._threads.codecs.drop(gone.id)
        programs = []
        if not any(known.shipped is gone.shipped for known in self._known.values()):
            self._exports.drop(gone.shipped)
            self._loaded.discard(gone.shipped.program_id)
            programs.append(gone.shipped.program_id)
        try:
            self._session.forget([gone.id], programs)
        except ClusterError as error:
            _log.warning("workload %s is not forgotten everywhere: %s", gone.id, error)

    def _wait_for_tiers(self) -> None:
        self._progress.say("waiting for the tiers to start")
        self._session.ready()

    def _prepared(
        self,
        shipped: ShippedProgram,
        arguments: CallArguments,
        payloads: tuple[Forms, ...],
        graph: Graph,
    ) -> ActiveWorkload:
        """The workload, once all tiers and the scheduler know it. Raises ClusterError."""
        values = shipped.exported.flatten(arguments.args, arguments.kwargs)
        self._wait_for_tiers()
        self._progress.say("sending the model to the tiers")
        self._load(shipped)
        workload_id = f"{shipped.program_id}-w{next(self._numbers)}"
        self._session.describe(workload_id, shipped.program_id, payloads)
        ids = workload_id, shipped.program_id
        program, calibration = shipped.exported.program, self._calibration(shipped, arguments)
        task = self._session.task(ids, program, values, calibration)
        runtimes_first = self._session.runtimes().come_first
        like = None if runtimes_first else self._measured_like(graph)
        self._progress.say("measuring layers and links")
        if like is None:
            profile = self._session.profile(task)
        else:
            known = self._session.planning.current_profile(like.id)
            profile = scaled(known, graph, like.graph)
            task = replace(task, whole_s={t.name: sum(t.layer_s) for t in profile.tiers})
        workload = self._workload(workload_id, shipped, (graph, payloads), profile)
        self._progress.say("choosing and preparing the first plan")
        self._start(workload)
        alike = [known for known in self._known.values() if known.shipped is shipped]
        self._threads.verdicts.add(workload_id, workload.offer)
        self._threads.joining.add(workload_id, workload.join)
        self._threads.codecs.add(workload, arguments)
        if not runtimes_first and len(alike) < _BENCHMARKED:  # else they are measured already
            self._threads.benchmark.add(task, partial(self._offered, workload))
        return workload

    def _offered(self, workload: ActiveWorkload, offered: Offered) -> None:
        """A runtime was measured: what it costs in accuracy may be next."""
        workload.offer(offered)
        if offered.times is not None and offered.times.loss is not None:
            self._threads.codecs.look_again(workload.id)

    def _calibration(self, shipped: ShippedProgram, arguments: CallArguments) -> list[list[Any]]:
        """Payloads at cut 0 of some examples; none where they are none of this workload's."""
        if self._wanted.examples is None or not self._session.calibrates:
            return []
        try:
            batches = self._wanted.examples.like(arguments.forms)
            some = list(itertools.islice(batches, MOST_CALIBRATED))
        except InputError:
            return []  # the benchmark of accuracy tells the user
        return [list(shipped.exported.payload(batch.arguments.leaves)) for batch in some]

    def _stranger(
        self, key: SignatureKey, shipped: ShippedProgram, payloads: tuple[Forms, ...], graph: Graph
    ) -> ActiveWorkload:
        """One that no tier knows; as planned, the first tier would do everything."""
        if key not in self._strangers:
            while len(self._strangers) >= WORKLOADS_KEPT:
                del self._strangers[next(iter(self._strangers))]
            profile = guessed(next(iter(self._known.values())).profile, len(graph))
            first = profile.tiers[0]
            name, known = f"{shipped.program_id}-stranger", (graph, payloads)
            stranger = self._workload(name, shipped, known, profile)
            plan = Plan((Stage(first.name, 0, len(graph), first.runtime),))
            stranger.activate(Activation(0, plan, "not prepared", 0.0, stranger.addresses))
            self._strangers[key] = stranger
        return self._strangers[key]

    def _workload(
        self,
        workload_id: str,
        shipped: ShippedProgram,
        known: tuple[Graph, tuple[Forms, ...]],
        profile: Profile,
    ) -> ActiveWorkload:
        goal = self._session.tiers.goal_here(self._wanted.goal)
        addresses = self._session.tiers.addresses()
        graph, payloads = known
        answer = answer_form(shipped.exported.program, payloads)
        rescue = self._wanted.fails_over, self._wanted.hedges
        return ActiveWorkload(
            workload_id, shipped, graph, answer, profile, goal, addresses, *rescue
        )

    def _load(self, shipped: ShippedProgram) -> None:
        """Have the tiers load a program; where one has no room, older workloads go first.

        Raises HeadroomError where none is left but the latest, which stays as it is.
        """
        while shipped.program_id not in self._loaded:
            try:
                self._session.load(shipped.program_id, shipped.described, self._progress.say)
                self._loaded.add(shipped.program_id)
            except HeadroomError:
                self._session.forget([], [shipped.program_id])
                oldest = self._oldest(shipped)
                if oldest is None:
                    raise
                self._give_up(oldest)

    def _measured_like(self, graph: Graph) -> ActiveWorkload | None:
        """The same layers at another size, whose profile may be scaled: rather a measured one.

        Scaling keeps a last, smaller batch from halting the stream; adaptation corrects it. Other
        runtimes are made for one payload form each: where they come first, nothing is scaled.
        """
        weights = graph.weight_bytes
        alike = [
            known
            for known in self._by_forms.values()
            if known.graph.layers == graph.layers and known.graph.weight_bytes == weights
        ]
        return min(alike, key=lambda known: is_scaled(known.profile), default=None)

    def _start(self, workload: ActiveWorkload) -> None:
        goal = self._session.tiers.goal_here(self._wanted.goal)
        first = self._session.planning.begin(
            Workload(
                workload.id,
                workload.graph,
                workload.profile,
                goal,
                self._wanted.policy,
                self._wanted.settings,
                self._wanted.policy_name,
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
