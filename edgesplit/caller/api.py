"""EdgeSplit: the caller's side. Exports the model, sends requests along the plan, keeps records."""

import atexit
import contextlib
import itertools
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from edgesplit.caller.accuracy.examples import Metric, checked_examples
from edgesplit.caller.active_workload import ActiveWorkload
from edgesplit.caller.assemble import assemble, check_grant, checked_config, checked_setup, is_a
from edgesplit.caller.calls import CallOptions
from edgesplit.caller.metered import MeteredBlock
from edgesplit.caller.undisturbed import exit_on_sigterm, leave_sigterm, undisturbed
from edgesplit.cluster.measure.calibrate import Blocks, Calibrated, calibrate
from edgesplit.cluster.ray.fork import FORKS
from edgesplit.config import Config
from edgesplit.core.accuracy import Loss
from edgesplit.core.cost import CostModel
from edgesplit.core.energy.window import tier_window
from edgesplit.core.explain import Explanation, explain
from edgesplit.core.given import is_finite, number_above_0
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.comparison import Comparison, compare
from edgesplit.core.policies.named import named_policies
from edgesplit.core.policies.policy import Policy
from edgesplit.core.profile import Profile
from edgesplit.core.record import Record
from edgesplit.core.shadow.outcome import Regret
from edgesplit.core.shadow.regret import regret
from edgesplit.errors import (
    ClosedError,
    ClusterError,
    EdgeSplitError,
    GoalError,
    InputError,
    MeterError,
)
from edgesplit.node.process.messages import warn
from edgesplit.node.program.export.model import ExportedModel
from edgesplit.node.tier.emulate import Emulation
from edgesplit.node.transport.wire import LONGEST_TIMEOUT_S

if TYPE_CHECKING:
    from edgesplit.caller.records import DataFrame

_NOTHING = object()
_DEFAULTS = CallOptions()
_LOOK_S = 0.1  # between two looks at how a plan stands


class EdgeSplit:
    """Runs one model's inference across tiers: infer(x) returns what model(x) returns.

    Use it in `with`, or call close().

    The first input copies the model, exports the copy, starts or joins a cluster, and times the
    layers on each tier. All answers are the copy's; the model itself is never changed. If you
    change it later, a ModelChangedWarning says so once. NaN and infinity in an input pass through
    as in the model. Several threads may infer at once.

    model: any nn.Module that torch.export captures. It runs in eval mode, or as it is with
        Config(mode="as-is"). If nobody else holds it, it is given up once it is copied.
    goal: what plans are chosen for.
    policy: 'score', 'fastest', 'TIER-only', a published policy's name (docs/usage.md), a plan's
        text, or a function (graph, profile, goal) -> plan.
    address: the Ray cluster to join: HOST:PORT; "auto" for the one on this machine; "local" for
        emulated tiers on this machine. None: the cluster that RAY_ADDRESS, this process or this
        host's node file names, else emulated tiers. A process can be in one cluster only.
    config: how the session runs.
    examples: inputs, or pairs (input, label), that accuracy is measured on: a data set or a list.
        Goal(max_accuracy_loss=...), which lets payloads be rounded on their way, needs them.
    metric: a function (outputs, targets) -> a number, the higher the better, that says what
        accuracy is. None: the share of right classes; without labels, of equal classes; of what
        is no classifier, the relative error.
    runtime: one runtime for all segments, or one by tier, such as {"end": "onnx"}. None: the
        runtimes of `config` are measured while requests flow, and chosen with the plan.

    Raises InputError, ConfigError or UnknownNameError for arguments of the wrong kind. What is
    known of a session is a property; most of them raise EdgeSplitError before the first input.

    Example:
        >>> with EdgeSplit(model) as split:
        ...     y = split.infer(x)
        >>> torch.allclose(y, model(x))
        True
    """

    def __init__(
        self,
        model: nn.Module,
        goal: Goal | None = None,
        policy: str | Policy = "score",
        address: str | None = None,
        config: Config | None = None,
        runtime: str | Mapping[str, str] | None = None,
        examples: Iterable[Any] | None = None,
        metric: Metric | None = None,
    ) -> None:
        settings, given = checked_config(config, runtime), checked_examples(examples, metric)
        setup = checked_setup(model, (goal, policy), address, settings, given)
        self._setup, self._goal = setup, setup.options.goal
        self._lock = threading.RLock()
        self._is_closed = False
        self._process = os.getpid()
        self._begin()

    def _begin(self) -> None:
        """Take new parts, not open yet."""
        self._parts = assemble(self._setup)
        self._is_open = False
        # Without a reference to this object, which would keep it alive for ever.
        self._finalizer = weakref.finalize(self, self._parts.stop, self._process)

    def __repr__(self) -> str:
        if self._is_closed:
            state = "closed"
        elif self.plan is None:
            state = "open, no input yet" if self._is_open else "not open yet"
        else:
            state = f"plan {self.plan}"
        return f"<EdgeSplit of {self._setup.model.name}, {state}>"

    # Life

    def open(self) -> "EdgeSplit":
        """Start or join the cluster now instead of at the first input. Returns this object.

        If that fails or is interrupted, such as by Ctrl-C, nothing is left of it, and you can call
        open() again. Raises ClusterError, or ClosedError after close().

        Example:
            >>> split.open() is split
            True
        """
        self._check_process()
        with self._lock:
            if self._is_closed:
                raise ClosedError("this EdgeSplit is closed; make a new one")
            if not self._is_open:
                FORKS.check()
                exit_on_sigterm()
                with self._setup.progress.shown("starting or joining the cluster"):
                    undisturbed(self._open, self._start_over)
                exit_on_sigterm()
        return self

    def _open(self) -> None:
        # Of its own, for weakref's comes after Ray's; torch keeps frames that hold self.
        atexit.register(self._finalizer)
        try:
            self._parts.start()
            self._is_open = True
        except BaseException:
            self._start_over()
            raise

    def _start_over(self) -> None:
        """End all that there is; what is called next opens anew."""
        old = self._finalizer
        self._begin()
        old()
        atexit.unregister(old)

    def close(self) -> None:
        """Stop every process that this object started. A second call does nothing.

        Example:
            >>> other = EdgeSplit(model)
            >>> other.close()
        """
        self._is_closed = True
        undisturbed(self._finalizer)
        atexit.unregister(self._finalizer)
        leave_sigterm()

    def _check_process(self) -> None:
        """Raise ClosedError in a fork: what is open belongs to the parent."""
        if os.getpid() != self._process:
            raise ClosedError(
                f"this EdgeSplit belongs to process {self._process}, from which this one was "
                "forked; use it there, or make one in a process that is started by "
                "multiprocessing's 'spawn' or by subprocess"
            )

    def __enter__(self) -> "EdgeSplit":
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Inference

    def infer(self, *args: Any, **kwargs: Any) -> Any:
        """What model(*args, **kwargs) returns, computed along the plan in force.

        Takes dense CPU tensors and plain values, nested as the model takes them. Raises InputError
        or ExportError before anything is sent; RequestError, DeadlineExceeded (after
        config.timeout_s), ClusterError or ClosedError later.

        Example:
            >>> split.infer(x).shape
            torch.Size([1, 2])
        """
        return self._infer(_DEFAULTS, args, kwargs)

    def infer_within(self, timeout_s: float, *args: Any, **kwargs: Any) -> Any:
        """infer(*args, **kwargs), but raises DeadlineExceeded after `timeout_s` seconds.

        The time limit replaces config.timeout_s for this request.

        Example:
            >>> split.infer_within(30, x).shape
            torch.Size([1, 2])
        """
        return self._infer(CallOptions(timeout_s=_seconds(timeout_s)), args, kwargs)

    def infer_on(self, plan: Plan | str, *args: Any, **kwargs: Any) -> Any:
        """infer(*args, **kwargs) along `plan` instead of the plan in force.

        For experiments: adaptation does not learn from these requests, and they are not hedged.
        Raises PlanError for a plan that does not fit the model or the tiers.

        Example:
            >>> split.infer_on("end:0-1 | edge:1-3", x).shape
            torch.Size([1, 2])
        """
        if plan is None:
            raise InputError("plan must be a Plan or its text, given None; infer(x) takes the best")
        return self._infer(CallOptions(plan), args, kwargs)

    def _infer(self, options: CallOptions, args: Any, kwargs: Mapping[str, Any]) -> Any:
        calls = self.open()._parts.calls
        with self._nothing_left_halfway():
            return calls.infer(options, args, kwargs)

    def map(
        self,
        batches: Iterable[Any],
        plan: Plan | str | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[Any]:
        """Results in the order of `batches`, with up to config.in_flight requests under way.

        The tiers work on different inputs at once. A batch is one argument, or a tuple of several.
        plan: as in infer_on(); None: the plan in force. timeout_s: seconds per request; None:
        config.timeout_s. Raises InputError at once for no iterable, and what infer() raises.

        Example:
            >>> [y.shape[1] for y in split.map([x, x])]
            [2, 2]
        """
        if isinstance(batches, (str, bytes, Mapping)) or not isinstance(batches, Iterable):
            raise InputError(f"batches must be an iterable of inputs, given {batches!r}")
        return self._map(CallOptions(plan, timeout_s), iter(batches))

    def _map(self, options: CallOptions, batches: Iterator[Any]) -> Iterator[Any]:
        first = next(batches, _NOTHING)
        if first is not _NOTHING:
            calls = self.open()._parts.calls
            with self._nothing_left_halfway():
                yield from calls.map(options, itertools.chain([first], batches))

    @contextlib.contextmanager
    def _nothing_left_halfway(self) -> Iterator[None]:
        """Interrupted before the first answer, as a notebook's cell is, it is as if not opened."""
        try:
            yield
        except EdgeSplitError:
            raise
        except BaseException:
            if self._parts.workloads.latest is None:
                undisturbed(self._start_over)
            raise

    @contextlib.contextmanager
    def metered(self) -> Iterator[MeteredBlock]:
        """Measure the joules of all tiers while a `with` block runs, whatever they do.

        Coarse meters can measure many requests where they cannot measure one. Yields a
        MeteredBlock, which is filled when the block ends: `requests`, `tiers` (seconds and joules
        by tier), and `unmetered` (the reason, by tier without a meter). Raises ClusterError where
        the tiers changed meanwhile, EdgeSplitError before the first input.

        Example:
            >>> with split.metered() as block:
            ...     y = split.infer(x)
            >>> block.requests
            1
        """
        self._used()
        found = MeteredBlock()
        meters = self._parts.session.meters
        before, marks = self._parts.calls.history.count, meters.marks()
        yield found
        windows = meters.since(marks)
        found.requests = self._parts.calls.history.count - before
        found.tiers = {
            tier: tier_window(window, meters.power(tier))
            for tier, window in windows.items()
            if not isinstance(window, MeterError)
        }
        found.unmetered = {
            tier: str(window) for tier, window in windows.items() if isinstance(window, MeterError)
        }

    def calibrate(
        self, blocks: Blocks | None = None, progress: Callable[[str], None] = lambda text: None
    ) -> Iterator[Calibrated]:
        """Measure the watts per phase of every tier that has a meter, and keep them on its host.

        Sessions that open later plan with them. Yields one Calibrated per tier: `calibration` and
        the `file` that keeps it, or the `problem`. Takes blocks.total_s seconds per tier, 90 by
        default; let nothing else run meanwhile. progress(text) is called before each block.
        Raises InputError for arguments of the wrong kind, EdgeSplitError before the first input.

        Example:
            >>> [found.tier for found in split.calibrate()]
            ['end', 'edge', 'cloud']
        """
        blocks = is_a(Blocks, "blocks", blocks) if blocks is not None else Blocks()
        if not callable(progress):
            raise InputError(f"progress must be a function of a text, given {progress!r}")
        used = self._used()
        return calibrate(self._parts.session.meters, (used.id, self.profile), blocks, progress)

    # What is known

    @property
    def plan(self) -> Plan | None:
        """The plan in force for the input signature used last; None before the first input.

        Example:
            >>> split.plan.n_layers
            3
        """
        return self._parts.workloads.latest.route.plan if self._parts.workloads.latest else None

    @property
    def emulation(self) -> Emulation:
        """The slower tiers and links that this cluster emulates now. Raises ClusterError.

        Example:
            >>> split.emulation.slowdown["cloud"]
            1.0
        """
        return self.open()._parts.session.tiers.emulation

    def emulate(self, emulation: Emulation) -> None:
        """Emulate other slowdowns and links from now on. The plan adapts by itself.

        Raises InputError for no Emulation, ClusterError while a tier is away.

        Example:
            >>> split.emulate(split.emulation.with_slowdown("end", 10.0))
            >>> split.emulation.slowdown["end"]
            10.0
        """
        is_a(Emulation, "emulation", emulation)
        self.open()._parts.session.tiers.emulate(emulation)

    @property
    def goal(self) -> Goal:
        """The goal that plans are chosen for now.

        Example:
            >>> split.goal.end_energy
            0.6
        """
        return self._goal

    def set_goal(self, goal: Goal) -> None:
        """Choose plans for another goal from now on, such as when the battery gets low.

        Requests flow meanwhile; a better plan for the new goal takes effect within a moment.
        Raises InputError for no Goal, GoalError for another boundary, UnknownNameError for
        unknown tiers, ClusterError while the scheduler is away.

        Example:
            >>> split.set_goal(Goal(end_energy=1.0, total_energy=0.0, latency=0.0))
            >>> split.goal.end_energy
            1.0
        """
        is_a(Goal, "goal", goal)
        if goal.boundary != self._goal.boundary:
            raise GoalError(
                f"joules are counted {self._goal.boundary} in this session, given a goal that "
                f"counts them {goal.boundary}; make a new EdgeSplit for that"
            )
        self._setup.config.check_tiers("memory_bytes", goal.memory_bytes)
        check_grant(goal, self._setup.options.examples)
        self._parts.workloads.set_goal(goal)
        self._goal = goal

    def pursue(self, goal: Goal) -> None:
        """Deprecated, gone after the next release: use set_goal()."""
        warn("pursue() is set_goal() now", DeprecationWarning)
        self.set_goal(goal)

    @property
    def addresses(self) -> dict[str, str]:
        """Where each tier listens for payloads now: HOST:PORT by tier.

        Example:
            >>> sorted(split.addresses)
            ['cloud', 'edge', 'end']
        """
        return dict(self._used().addresses)

    @property
    def excluded_tiers(self) -> tuple[str, ...]:
        """Names of the tiers that plans leave out now: those that are lost or in doubt.

        A tier is in doubt after a request failed over from it, until it answers probes reliably.
        Raises ClusterError while the scheduler is away.

        Example:
            >>> split.excluded_tiers
            ()
        """
        return self._parts.session.planning.excluded_tiers(self._used().id)

    def tiers_away(self) -> tuple[str, ...]:
        """Deprecated, gone after the next release: use excluded_tiers."""
        warn("tiers_away() is excluded_tiers now, without ()", DeprecationWarning)
        return self.excluded_tiers

    @property
    def graph(self) -> Graph:
        """Layers, payload bytes and weight bytes for the input signature used last.

        Example:
            >>> len(split.graph)
            3
        """
        return self._used().graph

    @property
    def exported(self) -> ExportedModel:
        """The exported program that the tiers run, for the input signature used last.

        Example:
            >>> type(split.exported).__name__
            'ExportedModel'
        """
        return self._used().shipped.exported

    @property
    def sent_weight_bytes(self) -> dict[str, int]:
        """Bytes of weights that were sent since open(), by who sent them: a tier, or `caller`.

        Nothing is sent to a host that has them in its cache.

        Example:
            >>> split.sent_weight_bytes  # the embedded tiers share this host's cache
            {}
        """
        return dict(self._parts.session.sent_bytes)

    def wait_for_runtimes(self, timeout_s: float = 600.0) -> None:
        """Wait until all runtimes of the input signature used last are measured.

        Raises ClusterError after `timeout_s` seconds.

        Example:
            >>> split.wait_for_runtimes(timeout_s=120)
        """
        timeout_s = _seconds(timeout_s)
        if not self._parts.threads.benchmark.wait(self._used().id, timeout_s):
            raise ClusterError(f"runtimes are still being measured after {timeout_s:g} s")

    def wait_for_codecs(self, timeout_s: float = 600.0) -> None:
        """Wait until what plans would use now is measured: codecs, and losses of accuracy.

        As tiers and links are believed now: when they change, others may be worth measuring. For
        the input signature used last. Raises ClusterError after `timeout_s` seconds.

        Example:
            >>> split.wait_for_codecs(timeout_s=120)
        """
        timeout_s = _seconds(timeout_s)
        if not self._parts.threads.codecs.wait(self._used().id, timeout_s):
            raise ClusterError(f"codecs are still being measured after {timeout_s:g} s")

    @property
    def accuracy_losses(self) -> dict[tuple[str, int | str], Loss]:
        """What was measured on the examples: the loss of each (codec, cut) and (runtime, tier).

        For the input signature used last.

        Example:
            >>> split.accuracy_losses  # nothing was granted
            {}
        """
        return dict(self._parts.threads.codecs.losses(self._used().id))

    def wait_for_plan(self, timeout_s: float = 60.0) -> bool:
        """Wait until the plan in force is settled; False where it is not after `timeout_s` seconds.

        A settled plan is the best one as things are, or kept for a reason that explain() gives.

        Example:
            >>> split.wait_for_plan()
            True
        """
        timeout_s = _seconds(timeout_s)
        workload, deadline_s = self._used(), time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            stands = self._parts.session.planning.standing(workload.id)
            if stands.is_settled and stands.active == workload.route.plan:
                return True
            time.sleep(_LOOK_S)
        return False

    @property
    def profile(self) -> Profile:
        """Seconds per layer, watts and links as the scheduler believes them now.

        For the input signature used last. Raises ClusterError while the scheduler is away.

        Example:
            >>> split.profile.names
            ('end', 'edge', 'cloud')
        """
        return self._parts.session.planning.current_profile(self._used().id)

    def explain(self) -> Explanation:
        """Where to cut as things are now, and why. print() shows it as a table.

        Holds the cost of the best plan, the best plan of every other route, what limits it, and why
        it is not in force where another plan is; with a probability in the goal, what was promised
        and how often it was met. Seconds and joules. Raises ClusterError while the
        scheduler is away, PlanError where the policy finds no plan.

        Example:
            >>> "limited by: " in str(split.explain())
            True
        """
        workload = self._used()
        stands = self._parts.session.planning.standing(workload.id)
        met = self._parts.calls.history.met_limit(workload.id, self._goal)
        return explain(workload.graph, stands.profile, self._goal, stands, met)

    def compare_policies(self) -> Comparison:
        """What each policy would choose as things are now: ours, one tier each, published ones.

        With the modelled cost of each choice by this session's goal, and how long choosing took.
        Raises ClusterError while the scheduler is away.

        Example:
            >>> split.compare_policies().choices[0].cost.score > 0
            True
        """
        workload = self._used()
        profile = self._parts.session.planning.standing(workload.id).profile
        model = CostModel(workload.graph, profile, self._goal)
        return compare(model, named_policies(profile.names), time.perf_counter)

    def regret(self, last_s: float | None = None) -> Regret:
        """What every policy would have cost on this session's own requests, and what was left.

        Gives the last 40,000 events of the control loop to each policy: some milliseconds per
        policy and second of the session, in this process. last_s: only requests of the last
        seconds. What was run is measured, all else modelled. Raises ClusterError while the
        scheduler is away, EdgeSplitError where there is no request to compare with.

        Example:
            >>> split.regret(last_s=3600).ran.requests > 0
            True
        """
        since_s = None if last_s is None else number_above_0("last_s", last_s, InputError)
        log = self._parts.session.planning.recorded(self._used().id)
        policies = named_policies(log.start.profile.names)
        return regret(log, policies, np.random.default_rng(0), since_s)

    @property
    def switches(self) -> tuple[tuple[float, Plan, str], ...]:
        """(seconds since the session began, plan, reason) of every plan that was put in force.

        For the input signature used last, oldest first.

        Example:
            >>> at_s, plan, reason = split.switches[0]
            >>> plan.n_layers
            3
        """
        return tuple(
            (a.at_s - self._parts.calls.history.began_s, a.plan, a.reason)
            for a in self._used().activations
        )

    def records(self, since_s: float = 0.0) -> "DataFrame":
        """A pandas DataFrame with one row per request that was answered; at most the last 100,000.

        since_s: only requests sent at that second of the session or later, as in the column at_s.
        Seconds, joules and bytes; docs/measuring.md explains each column. Raises InputError for a
        since_s that is no number.

        Example:
            >>> bool((split.records()["latency_s"] > 0).all())
            True
        """
        if not is_finite(since_s):
            raise InputError(f"since_s must be seconds since the session began, given {since_s!r}")
        from edgesplit.caller.records import frame_of  # pandas takes half a second that few need

        records = self._parts.calls.history.records(self._goal, since_s)
        return frame_of(records, self._goal.boundary, self._parts.session.tiers.is_emulated)

    @property
    def last_record(self) -> Record | None:
        """The record of the request that was answered last; None before the first one.

        Example:
            >>> split.last_record.finished_by in ("end", "edge", "cloud")
            True
        """
        return self._parts.calls.history.last(self._goal)

    def _used(self) -> ActiveWorkload:
        self._check_process()
        if self._parts.workloads.latest is None:
            raise EdgeSplitError("nothing is known before the first input; call infer(x) first")
        return self._parts.workloads.latest


def _seconds(timeout_s: Any) -> float:
    """`timeout_s` itself. Raises InputError where it is no time limit."""
    return number_above_0("timeout_s, in seconds,", timeout_s, InputError, LONGEST_TIMEOUT_S)
