"""A session: the actors of one EdgeSplit on one cluster, from start to clean end."""

import contextlib
import itertools
import uuid
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, cast

import ray
import ray.exceptions

from edgesplit.cluster.actors import Opened, SegmentActor
from edgesplit.cluster.answers import CONTROL_TIMEOUT_S, answer, answer_while, answers
from edgesplit.cluster.checkpoint import drop_checkpoints
from edgesplit.cluster.embedded import NAMESPACE
from edgesplit.cluster.links import probe_links
from edgesplit.cluster.loop import Activation, TierHandle, Workload
from edgesplit.cluster.meters import TierMeters
from edgesplit.cluster.own_meters import meter_of, own_meters
from edgesplit.cluster.place import Placement, connect, disconnect, reach
from edgesplit.cluster.recipe import Recipes
from edgesplit.cluster.runtimes import Offered, Runtimes, Work
from edgesplit.cluster.scheduler import Scheduler
from edgesplit.config import EMBEDDED_EMULATION, Config
from edgesplit.core.goal import Goal
from edgesplit.core.profile import Link, Profile
from edgesplit.core.sample import Sample
from edgesplit.errors import ClosedError, ClusterError, RuntimeUnavailableError
from edgesplit.node.emulate import Emulation
from edgesplit.node.form import Forms
from edgesplit.node.packed_payload import pack_payload
from edgesplit.node.program import Program
from edgesplit.node.router import ServeSettings
from edgesplit.node.security import NONE, Credentials, InsecureTransportWarning, new_credentials
from edgesplit.node.shipping import pack

_CONTROL_THREADS = 8


@dataclass(frozen=True)
class _Started:
    """What exists while the session is open."""

    placement: Placement
    recipes: Recipes
    scheduler: Any
    emulation: Emulation
    opening: dict[str, Any]


class Session:
    """The control plane of one EdgeSplit. open() returns at once; ready() waits for the tiers."""

    def __init__(self, address: str | None, config: Config) -> None:
        self._address = address
        self._config = config
        self._power = config.power()
        self._id = uuid.uuid4().hex[:8]
        self._credentials: Credentials | None = None
        self._started: _Started | None = None
        self._was_closed = False
        self._tiers: dict[str, TierHandle] = {}
        self._opened: dict[str, Opened] = {}
        self._packed: dict[str, Any] = {}
        self._workloads: dict[str, Workload] = {}
        self._program_ids = (f"{self._id}-p{n}" for n in itertools.count())

    def open(self) -> None:
        """Connect and begin to start the tiers' actors. Raises ClusterError."""
        placement = connect(self._address, self._config.tiers)
        default = EMBEDDED_EMULATION if placement.is_embedded else Emulation()
        emulation = self._config.emulation if self._config.emulation is not None else default
        self._credentials = _made_credentials(self._config)
        try:
            actors = {tier: self._actor(placement, tier) for tier in placement.tiers}
            opening = {tier: actor.open.remote() for tier, actor in actors.items()}
            scheduler = (
                ray.remote(Scheduler)
                .options(
                    name=f"{self._id}-scheduler", namespace=NAMESPACE, num_cpus=0, max_restarts=-1
                )
                .remote(self._id)
            )
        except Exception:
            disconnect(placement)
            raise
        recipes = Recipes(actors)
        self._started = _Started(placement, recipes, scheduler, emulation, opening)

    def ready(self) -> None:
        """Wait until every tier listens and the scheduler stands.

        Raises ClusterError, RuntimeUnavailableError for a tier that could run nothing.
        """
        started = self._running
        if self._tiers:
            return
        opened = {
            tier: answer(call, f"tier {tier!r} to start", self._config.start_timeout_s)
            for tier, call in started.opening.items()
        }
        Runtimes(started.recipes, opened, self._config, answer).check()
        self._opened = own_meters(opened, self._config.meters, self._use_model)
        tiers = {
            tier: TierHandle(started.recipes.actors[tier], opened.address)
            for tier, opened in self._opened.items()
        }
        self.emulate(started.emulation)
        answer(started.scheduler.meet.remote(tiers), "the scheduler to start")
        self._tiers = tiers

    def close(self) -> None:
        """Stop the actors, leave the cluster; safe to call twice."""
        started, self._started = self._started, None
        self._was_closed = True
        if started is None:
            return
        if ray.is_initialized():
            for actor in (*started.recipes.actors.values(), started.scheduler):
                ray.kill(actor)
            with contextlib.suppress(ClusterError):  # without its head Ray would end the program
                reach(started.placement.address)
                drop_checkpoints(self._id)
        disconnect(started.placement)

    @property
    def is_emulated(self) -> bool:
        """Whether any figure of this session passed through the emulation."""
        return self._started is not None and not self._started.emulation.is_off

    @property
    def emulation(self) -> Emulation:
        """The emulation in force."""
        return self._running.emulation

    def emulate(self, emulation: Emulation) -> None:
        """Slow tiers and shape links from now on; returns when all tiers do so."""
        started = self._running
        calls = [
            started.recipes.call(tier, "emulate", emulation.tier(tier))
            for tier in started.recipes.actors
        ]
        answers(calls, "tiers to take the emulation")
        self._started = replace(started, emulation=emulation)

    @property
    def credentials(self) -> Credentials | None:
        """What every connection of this session has to show; None where nothing is secured."""
        return self._credentials

    def addresses(self) -> dict[str, str]:
        """The data plane's address of each tier."""
        return {tier: handle.address for tier, handle in self._tiers.items()}

    def threads(self, tier: str) -> int:
        """How many threads the tier computes on."""
        return self._threads(self._running.placement, tier)

    @property
    def meters(self) -> TierMeters:
        """The tiers' meters, once ready() has returned."""
        return TierMeters(self._running.recipes.actors, self._opened, answer)

    # Programs and workloads

    def load(self, program: Program) -> str:
        """Ship a program to every tier; returns its id."""
        program_id = next(self._program_ids)
        self._packed[program_id] = packed = ray.put(pack(program))
        recipes = self._running.recipes
        calls = [recipes.call(tier, "load", program_id, packed) for tier in recipes.actors]
        answers(calls, "tiers to load the model", self._config.start_timeout_s)
        return program_id

    def describe(self, workload_id: str, program_id: str, payloads: tuple[Forms, ...]) -> None:
        """Tell every tier what a workload's payloads look like."""
        described = ray.put(payloads)
        recipes, told = self._running.recipes, (workload_id, program_id, described)
        calls = [recipes.call(tier, "describe", *told) for tier in recipes.actors]
        answers(calls, "tiers to take the payloads")

    def runtimes(self, goes_on: Callable[[], bool] = lambda: True) -> Runtimes:
        """The runtimes of the tiers, to be measured, until goes_on() says no: then ClosedError."""
        get = partial(answer_while, goes_on)
        return Runtimes(self._running.recipes, self._opened, self._config, get)

    def work(self, ids: tuple[str, str], program: Program, values: Sequence[Any]) -> Work:
        """What is needed to measure a workload's runtimes; ids: its own and its program's."""
        workload_id, program_id = ids
        sample = ray.put(pack_payload(values))
        return Work(workload_id, program, self._packed[program_id], list(values), sample)

    def profile(self, work: Work) -> Profile:
        """Measure layer times on each tier, one after another, and every link.

        Runtimes other than torch are measured now where a tier is to do without torch, else left
        to the survey.
        """
        source = "emulated" if self.is_emulated else "measured"
        return Profile(self.runtimes().tiers(work, source), self._links(source))

    def tell_runtime(self, workload_id: str, offered: Offered) -> None:
        """Tell the scheduler of a runtime that was measured, or cannot be used; does not wait."""
        scheduler = self._running.scheduler
        if offered.row is not None:
            scheduler.add_row.remote(workload_id, offered.tier, offered.row)
        else:
            scheduler.drop_row.remote(workload_id, offered.tier, offered.runtime, offered.why)

    def begin(self, workload: Workload) -> Activation:
        """Hand a workload to the scheduler; returns its first active plan."""
        self._workloads[workload.id] = workload
        answer(self._running.scheduler.begin.remote(workload), "the scheduler to plan")
        activation = answer(
            self._running.scheduler.activation.remote(workload.id, 0, CONTROL_TIMEOUT_S),
            "the first plan to be ready",
            2 * CONTROL_TIMEOUT_S,
        )
        if activation is None:
            raise ClusterError(
                f"no plan was ready within {CONTROL_TIMEOUT_S:g} s; a tier cannot build its "
                "segment: see Ray's logs of the segment actors"
            )
        return activation  # type: ignore[no-any-return]

    def current_profile(self, workload_id: str) -> Profile:
        """The scheduler's beliefs about tiers and links now."""
        profile = answer(self._running.scheduler.profile.remote(workload_id), "the scheduler")
        return profile  # type: ignore[no-any-return]

    def pursue(self, goal: Goal) -> None:
        """Have every workload's plans chosen for that goal. Raises ClusterError."""
        answer(self._running.scheduler.pursue.remote(goal), "the scheduler to take the goal")
        self._workloads = {
            name: replace(workload, goal=goal) for name, workload in self._workloads.items()
        }

    def tiers_away(self, workload_id: str) -> tuple[str, ...]:
        """Tiers that the workload's plans leave out now."""
        away = answer(self._running.scheduler.away.remote(workload_id), "the scheduler")
        return away  # type: ignore[no-any-return]

    def observe(self, workload_id: str, requests: Sequence[tuple[Sample, ...]]) -> None:
        """Tell the scheduler of finished requests; does not wait."""
        self._running.scheduler.observe.remote(workload_id, list(requests))

    def next_activation(self, workload_id: str, version: int, timeout_s: float) -> Any:
        """A pending answer: the activation newer than `version`, or None after the timeout."""
        return self._running.scheduler.activation.remote(workload_id, version, timeout_s)

    # Keeping what runs running

    def kept_actors(self) -> dict[str, Any]:
        """Who is to be kept running: each tier's actor and, under "", the scheduler."""
        started = self._running
        return {**started.recipes.actors, "": started.scheduler}

    def tier_lost(self, tier: str) -> None:
        """Tell the scheduler that a tier's actor does not answer; does not wait."""
        self._running.scheduler.lose.remote(tier)

    def tier_back(self, tier: str) -> None:
        """Tell the scheduler that it answers again."""
        self._running.scheduler.rejoin.remote(tier, self._tiers[tier])

    def rebuild_tier(self, tier: str) -> None:
        """Tell a restarted actor all it was told before, then the scheduler. Raises ClusterError.

        A runtime that it cannot offer any more is found out when a plan wants it.
        """
        recipes = self._running.recipes
        actor = recipes.actors[tier]
        opened = answer(actor.open.remote(), f"tier {tier!r} to open again")
        self._tiers[tier] = replace(self._tiers[tier], address=opened.address)
        for method, args in recipes.told(tier):
            call = getattr(actor, method).remote(*args)
            with contextlib.suppress(RuntimeUnavailableError):
                answer(call, f"tier {tier!r} to {method} again", self._config.start_timeout_s)
        self.tier_back(tier)

    def rebuild_scheduler(self) -> None:
        """Tell a restarted scheduler of the tiers and the workloads. Raises ClusterError."""
        scheduler = self._running.scheduler
        answer(scheduler.meet.remote(self._tiers), "the scheduler to start again")
        for workload in list(self._workloads.values()):
            answer(scheduler.resume.remote(workload), "the scheduler to go on")

    # Inside

    @property
    def _running(self) -> _Started:
        if self._was_closed:
            raise ClosedError("this EdgeSplit is closed; make a new one")
        if self._started is None:
            raise ClusterError("the session is not open")
        return self._started

    def _actor(self, placement: Placement, tier: str) -> Any:
        settings = ServeSettings(
            tier,
            host=placement.host,
            ports=placement.ports,
            threads=self._threads(placement, tier),
            max_frame_bytes=self._config.max_frame_bytes,
            credentials=self._credentials,
        )
        return (
            ray.remote(SegmentActor)
            .options(
                name=f"{self._id}-{tier}",
                namespace=NAMESPACE,
                num_cpus=0,
                max_concurrency=_CONTROL_THREADS,
                max_restarts=-1,
                **placement.options(tier),
            )
            .remote(settings, self._power[tier], meter_of(tier, self._config, placement))
        )

    def _threads(self, placement: Placement, tier: str) -> int:
        return self._config.threads or placement.threads(tier)

    def _use_model(self, tier: str, why: str) -> Opened:
        call = self._running.recipes.call(tier, "use_model", why)
        return cast(Opened, answer(call, f"tier {tier!r}"))

    def _links(self, source: str) -> tuple[Link, ...]:
        shaped = self._running.emulation.links
        pairs = [
            (u, v)
            for u in self._tiers
            for v in self._tiers
            if u != v and (shaped is None or (u, v) in shaped)
        ]
        return probe_links(self._tiers, pairs, source, answer)


def _made_credentials(config: Config) -> Credentials | None:
    """New ones for one session; None, with a warning, where the user wants none."""
    if config.transport_security != NONE:
        return new_credentials()
    warnings.warn(
        "transport_security is 'none': payloads travel unencrypted, and whoever reaches a tier's "
        "port may read them, send requests and keep the tier busy; see docs/security.md",
        InsecureTransportWarning,
        stacklevel=2,
    )
    return None
