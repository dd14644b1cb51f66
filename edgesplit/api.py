"""EdgeSplit: the caller's side. Exports the model, sends requests along the plan, keeps records."""

import atexit
import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

from torch import nn

from edgesplit.active_workload import ActiveWorkload
from edgesplit.calls import Calls, Wish
from edgesplit.cluster.calibrate import Blocks, Calibrated, calibrate
from edgesplit.cluster.keeper import Keeper
from edgesplit.cluster.session import Session
from edgesplit.cluster.survey import RuntimeSurvey
from edgesplit.cluster.watch import PlanWatch
from edgesplit.config import Config
from edgesplit.core.control.state import Settings
from edgesplit.core.energy.window import tier_window
from edgesplit.core.explain import Explanation, explain
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policy import Policy, checked, policy_named
from edgesplit.core.profile import Profile
from edgesplit.core.record import Record
from edgesplit.errors import (
    ClosedError,
    ClusterError,
    EdgeSplitError,
    GoalError,
    InputError,
    MeterError,
)
from edgesplit.metered import MeteredBlock
from edgesplit.node.emulate import Emulation
from edgesplit.node.model import ExportedModel, warm_up
from edgesplit.records import DataFrame, frame_of
from edgesplit.workloads import Threads, Wanted, Workloads

_NOTHING = object()
_T = TypeVar("_T")


class EdgeSplit:
    """One model's inference across tiers: `EdgeSplit(model).infer(x)` is what `model(x)` is.

    The first input exports the model, starts or joins a cluster and profiles the tiers. The
    caller's model is never changed; it is taken in eval mode, with the weights it then has: later
    changes of them are not seen. NaN and infinity in an input pass
    through as they would through the model. Use it in `with`, or call close().

    goal: what to minimise. policy: 'score', 'fastest', 'TIER-only', a plan's text or a function
    (graph, profile, goal) -> plan. runtime: pins what segments run in, one name or one per tier,
    such as {"end": "onnx"}; else config.runtimes are measured while requests flow, and chosen with
    the plan. address: the Ray cluster to join, None: the one that
    RAY_ADDRESS, this process or this host's node file names, else the embedded one. Several
    threads may infer at once.
    """

    def __init__(
        self,
        model: nn.Module,
        goal: Goal | None = None,
        policy: str | Policy = "score",
        address: str | None = None,
        config: Config | None = None,
        runtime: str | Mapping[str, str] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise InputError(f"model must be a torch.nn.Module, given {type(model).__name__}")
        self._goal = _is_a(Goal, "goal", goal) if goal is not None else Goal()
        self._config = _is_a(Config, "config", config) if config is not None else Config()
        if runtime is not None:
            self._config = self._config.pinned(runtime)
        self._config.check_tiers("memory_bytes", self._goal.memory_bytes)
        if not (isinstance(policy, str) or callable(policy)):
            raise InputError(f"policy must be a name or a function, given {policy!r}")
        chosen = policy_named(policy, self._config.tiers) if isinstance(policy, str) else policy
        settings = Settings(interval_s=self._config.interval_s)
        is_finished = self._config.finish == "anywhere"
        wanted = Wanted(self._goal, checked(chosen), settings, is_finished)
        self._session = Session(address, self._config)
        self._watch = PlanWatch(self._session)
        self._survey = RuntimeSurvey(self._session, is_loud=self._config.runtimes is not None)
        self._threads = Threads(
            self._watch, self._survey, Keeper(self._session, self._survey.again)
        )
        self._workloads = Workloads(model, self._session, self._threads, wanted)
        self._warming = threading.Thread(target=warm_up, name="edgesplit-warm-up", daemon=True)
        self._lock = threading.RLock()
        self._calls = Calls(self._session, self._watch, self._workloads, self._config)
        self._history = self._calls.history
        self._is_open = self._is_closed = False
        # Without a reference to this object, which would keep it alive for ever.
        self._finalizer = weakref.finalize(
            self, _shut_down, self._threads, self._calls, self._session
        )

    # Life

    def open(self) -> "EdgeSplit":
        """Start or join the cluster now instead of at the first input. Raises ClusterError."""
        with self._lock:
            if self._is_closed:
                raise ClosedError("this EdgeSplit is closed; make a new one")
            if not self._is_open:
                # Of its own, for weakref's comes after Ray's; torch keeps frames that hold self.
                atexit.register(self._finalizer)
                self._warming.start()  # while Ray starts, which is mostly waiting
                self._session.open()
                self._threads.start()
                self._is_open = True
        return self

    def close(self) -> None:
        """Stop every process this object started; safe to call twice."""
        self._is_closed = True
        self._finalizer()
        atexit.unregister(self._finalizer)

    def __enter__(self) -> "EdgeSplit":
        return self.open()

    def __exit__(self, *exc: object) -> None:
        self.close()

    # Inference

    def infer(self, *args: Any, **kwargs: Any) -> Any:
        """What model(*args, **kwargs) returns, computed along the plan in force.

        Raises InputError before anything is sent, RequestError or DeadlineExceeded after.
        """
        return self.open()._calls.infer(Wish(), args, kwargs)

    def infer_within(self, timeout_s: float, *args: Any, **kwargs: Any) -> Any:
        """The same within that many seconds instead of config.timeout_s, or DeadlineExceeded."""
        return self.open()._calls.infer(Wish(timeout_s=timeout_s), args, kwargs)

    def infer_on(self, plan: Plan | str, *args: Any, **kwargs: Any) -> Any:
        """The same along `plan`, whatever the plan in force; adaptation does not learn from it."""
        return self.open()._calls.infer(Wish(plan), args, kwargs)

    def map(
        self,
        batches: Iterable[Any],
        plan: Plan | str | None = None,
        timeout_s: float | None = None,
    ) -> Iterator[Any]:
        """Results in the order of `batches`, with up to config.in_flight requests under way.

        Tiers work on different inputs at once. A batch is one argument, or a tuple of several.
        timeout_s: of each, None: config.timeout_s.
        """
        batches, wish = iter(batches), Wish(plan, timeout_s)
        first = next(batches, _NOTHING)
        if first is not _NOTHING:
            yield from self.open()._calls.map(wish, itertools.chain([first], batches))

    @contextlib.contextmanager
    def metered(self) -> Iterator[MeteredBlock]:
        """Measure what the tiers draw while the block runs, whatever they do.

        Longer than single requests, so that coarse meters can tell too. What is handed out is
        filled when the block ends; tiers without a meter are named in it with the reason.
        """
        self._used()
        found = MeteredBlock()
        meters = self._session.meters
        before, marks = self._history.count, meters.marks()
        yield found
        windows = meters.since(marks)
        found.requests = self._history.count - before
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
        """Measure every metered tier's watts per phase on this model, and keep them on its host.

        Takes blocks.total_s per tier; nothing else should run meanwhile. Sessions opened later
        plan with what was found. progress(text) is called before each block.
        """
        used = self._used()
        return calibrate(
            self._session.meters, (used.id, self.profile()), blocks or Blocks(), progress
        )

    # What is known

    @property
    def plan(self) -> Plan | None:
        """The plan in force for the input signature used last; None before the first input."""
        return self._workloads.latest.route.plan if self._workloads.latest else None

    @property
    def emulation(self) -> Emulation:
        """What is emulated on this cluster now."""
        return self.open()._session.emulation

    def emulate(self, emulation: Emulation) -> None:
        """Slow tiers and shape links from now on; the plan follows by itself."""
        _is_a(Emulation, "emulation", emulation)
        self.open()._session.emulate(emulation)

    @property
    def goal(self) -> Goal:
        """What plans are chosen for now."""
        return self._goal

    def pursue(self, goal: Goal) -> None:
        """Choose plans for another goal from now on, such as when the battery gets low.

        Requests flow meanwhile; the plan follows within a moment where another one is worth it.
        Raises GoalError for another boundary, ClusterError while the scheduler is away.
        """
        _is_a(Goal, "goal", goal)
        if goal.boundary != self._goal.boundary:
            raise GoalError(
                f"joules are counted {self._goal.boundary} in this session, given a goal that "
                f"counts them {goal.boundary}; make a new EdgeSplit for that"
            )
        self._config.check_tiers("memory_bytes", goal.memory_bytes)
        self._workloads.pursue(goal)
        self._goal = goal

    def addresses(self) -> dict[str, str]:
        """Where each tier listens for payloads now, HOST:PORT."""
        return dict(self._used().addresses)

    def tiers_away(self) -> tuple[str, ...]:
        """Tiers that plans leave out now: lost, or in doubt after requests had to do without."""
        return self._session.planning.tiers_away(self._used().id)

    def graph(self) -> Graph:
        """Layers and payload sizes of the input signature used last."""
        return self._used().graph

    def exported(self) -> ExportedModel:
        """The program that the tiers run, for the input signature used last."""
        return self._used().loaded.exported

    def wait_for_runtimes(self, timeout_s: float = 600.0) -> None:
        """Return once the runtimes of the signature used last are measured: plans know them all.

        Raises ClusterError where that takes longer.
        """
        if not self._survey.wait(self._used().id, timeout_s):
            raise ClusterError(f"runtimes are still being measured after {timeout_s:g} s")

    def profile(self) -> Profile:
        """Tiers and links as they are believed to be now, for the signature used last."""
        return self._session.planning.current_profile(self._used().id)

    def explain(self) -> Explanation:
        """Why this plan: its cost, the best plan of every other route, and what limits it."""
        workload, profile = self._used(), self.profile()
        running = workload.route.plan.as_offered(profile.offered)  # a row may have gone just now
        return explain(workload.graph, profile, self._goal, running)

    def switches(self) -> tuple[tuple[float, Plan, str], ...]:
        """(seconds since the session began, plan, reason) of every plan put in force."""
        return tuple(
            (a.at_s - self._history.began_s, a.plan, a.reason) for a in self._used().activations
        )

    def records(self, since_s: float = 0.0) -> DataFrame:
        """One row per request that came back: see edgesplit.records.frame_of for the columns.

        since_s: only what was sent then or later, as in the column at_s. The last 100,000 are kept.
        """
        records = self._history.records(self._goal, since_s)
        return frame_of(records, self._goal.boundary, self._session.is_emulated)

    def last_record(self) -> Record | None:
        """The record of the request that came back last."""
        return self._history.last(self._goal)

    def _used(self) -> ActiveWorkload:
        if self._workloads.latest is None:
            raise EdgeSplitError("nothing is known before the first input; call infer(x) first")
        return self._workloads.latest


def _shut_down(threads: Threads, calls: Calls, session: Session) -> None:
    """The end of an EdgeSplit, also of one that was dropped without close()."""
    threads.stop()
    calls.close()
    session.close()


def _is_a(kind: type[_T], name: str, given: Any) -> _T:
    """`given` itself. Raises InputError where it is of another type."""
    if not isinstance(given, kind):
        raise InputError(f"{name} must be a {kind.__name__}, given {given!r}")
    return given
