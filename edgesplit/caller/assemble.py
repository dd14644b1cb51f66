"""The parts of an EdgeSplit as one value: made from checked settings, not open yet."""

import os
import random
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from torch import nn

from edgesplit.caller.accuracy.accuracy_benchmark import AccuracyBenchmark, AccuracyWarning
from edgesplit.caller.accuracy.accuracy_watch import AccuracyWatch
from edgesplit.caller.accuracy.examples import Examples
from edgesplit.caller.answer_check import AnswerCheck
from edgesplit.caller.calls import Calls
from edgesplit.caller.progress import Progress
from edgesplit.caller.session_options import SessionOptions
from edgesplit.caller.threads import Threads
from edgesplit.caller.workloads import Workloads
from edgesplit.cluster.session.joining import Joining
from edgesplit.cluster.session.runtime_benchmark import RuntimeBenchmark
from edgesplit.cluster.session.session import Session
from edgesplit.cluster.session.supervisor import Supervisor
from edgesplit.cluster.session.verdicts import RuntimeVerdicts
from edgesplit.cluster.session.watch import PlanWatch
from edgesplit.config import Config
from edgesplit.core.control.state import Settings
from edgesplit.core.given import is_name
from edgesplit.core.goal import Goal
from edgesplit.core.payload_codec import is_lossy
from edgesplit.core.policies.checked import checked
from edgesplit.core.policies.named import policy_named
from edgesplit.core.policies.policy import FixedPlan, Policy
from edgesplit.errors import GoalError, InputError
from edgesplit.node.process.messages import warn
from edgesplit.node.program.export.model import warm_up
from edgesplit.node.program.export.model_watch import GivenModel
from edgesplit.node.transport.tensors import flushes_denormals

_T = TypeVar("_T")


@dataclass(frozen=True)
class Setup:
    """What an EdgeSplit is made of: the model, the cluster's address, settings, wishes."""

    model: GivenModel
    address: str | None
    config: Config
    options: SessionOptions
    progress: Progress


@dataclass(frozen=True)
class Parts:
    """What lives from open() to close()."""

    session: Session
    threads: Threads
    workloads: Workloads
    calls: Calls
    warming: threading.Thread

    def start(self) -> None:
        """Open the session and begin what runs beside requests. Raises ClusterError."""
        self.warming.start()  # while Ray starts, which is mostly waiting
        self.session.open()
        self.threads.start()

    def stop(self, process: int) -> None:
        """The end, also of an EdgeSplit that was dropped without close(); not in a fork.

        process: the one that they belong to.
        """
        if os.getpid() != process:
            return
        self.threads.stop()
        self.calls.close()
        self.session.close()
        self.workloads.close()


def checked_setup(
    model: Any, wanted: tuple[Any, Any], address: Any, config: Config, examples: Examples | None
) -> Setup:
    """What the caller gave, of the right kinds. wanted: the goal and the policy.

    Raises InputError, GoalError, UnknownNameError.
    """
    goal, policy = wanted
    if not isinstance(model, nn.Module):
        raise InputError(f"model must be a torch.nn.Module, given {type(model).__name__}")
    goal = is_a(Goal, "goal", goal) if goal is not None else Goal()
    config.check_tiers("memory_bytes", goal.memory_bytes)
    check_grant(goal, examples)
    _warn_of_what_is_not_granted(goal, config)
    if not (address is None or is_name(address)):
        raise InputError(f"address must be host:port or None, given {address!r}")
    if not (isinstance(policy, str) or callable(policy)):
        raise InputError(f"policy must be a name or a function, given {policy!r}")
    options = replace(_options(goal, policy, config), examples=examples)
    progress = Progress(config.progress)
    return Setup(GivenModel(model), address, config, options, progress)


def _warn_of_what_is_not_granted(goal: Goal, config: Config) -> None:
    """Say what was named and cannot be used, since it is lossy."""
    named = [codec for codec in config.codecs or () if is_lossy(codec)]
    if goal.max_accuracy_loss is None and named:
        warn(
            f"{', '.join(named)}: not used, since nothing lossy is granted; give "
            "Goal(max_accuracy_loss=...) and examples",
            AccuracyWarning,
        )
    elif goal.max_accuracy_loss is not None and config.exact:
        warn("max_accuracy_loss grants nothing beside exact=True", AccuracyWarning)


def check_grant(goal: Goal, examples: Examples | None) -> None:
    """Raise GoalError where nobody could tell whether what the goal grants is kept."""
    if goal.max_accuracy_loss is None:
        return
    if examples is None:
        raise GoalError(
            f"max_accuracy_loss={goal.max_accuracy_loss:g} is measured on examples: give "
            "EdgeSplit(model, examples=...) some hundred inputs, or pairs (input, label)"
        )
    examples.check(goal)


def checked_config(config: Any, runtime: str | Mapping[str, str] | None) -> Config:
    """The settings, with what they leave to this process. Raises InputError, ConfigError."""
    given = is_a(Config, "config", config) if config is not None else Config()
    if runtime is not None:
        given = given.pinned(runtime)
    if given.flush_denormals is None:
        given = replace(given, flush_denormals=flushes_denormals())
    return given


def assemble(setup: Setup) -> Parts:
    """New parts. Nothing is opened, connected or started."""
    config, session = setup.config, Session(setup.address, setup.config)
    watch = PlanWatch(session)
    benchmark = RuntimeBenchmark(session, is_loud=config.runtimes is not None)
    verdicts = RuntimeVerdicts(session)
    supervisor = Supervisor(session, benchmark.again)
    policy = setup.options.policy
    fixed = policy.plan if isinstance(policy, FixedPlan) else None
    benchmarks = AccuracyBenchmark(session, config, setup.options.examples, fixed)
    threads = Threads(watch, benchmark, supervisor, verdicts, Joining(session), benchmarks)
    workloads = Workloads(setup.model, session, threads, setup.options, setup.progress)
    recheck = AnswerCheck(session, verdicts, config.exactness)
    flushes = bool(config.flush_denormals)
    accuracy = AccuracyWatch(session, benchmarks, config.accuracy_checks, flushes)
    calls = Calls(session, watch, workloads, config, recheck, accuracy)
    benchmarks.send = calls.send_along
    warming = threading.Thread(target=warm_up, name="edgesplit-warm-up", daemon=True)
    return Parts(session, threads, workloads, calls, warming)


def is_a(kind: type[_T], name: str, given: Any) -> _T:
    """`given` itself. Raises InputError where it is of another type."""
    if not isinstance(given, kind):
        raise InputError(f"{name} must be a {kind.__name__}, given {given!r}")
    return given


def _options(goal: Goal, policy: str | Policy, config: Config) -> SessionOptions:
    name = policy if isinstance(policy, str) else ""
    chosen = policy_named(policy, config.tiers) if isinstance(policy, str) else policy
    # Each session takes its own time to believe a host's load: all would leave it at once else.
    settle_s = random.uniform(0.5, 2.0) * Settings.load_settle_s
    settings = Settings(interval_s=config.interval_s, load_settle_s=settle_s)
    fails_over = config.fallback == "anywhere"
    hedges = config.hedge_share > 0
    return SessionOptions(goal, checked(chosen), settings, fails_over, hedges, config.mode, name)
