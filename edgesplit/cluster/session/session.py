"""A session: the control plane of one EdgeSplit, from start to clean end, on any cluster."""

import contextlib
import itertools
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, cast

from ray.exceptions import ActorUnavailableError

from edgesplit.cluster.actors.workload import TierHandle
from edgesplit.cluster.measure.links import probe_links
from edgesplit.cluster.measure.meter_conflicts import own_meters
from edgesplit.cluster.measure.meters import TierMeters
from edgesplit.cluster.measure.runtimes import Runtimes, RuntimeTask
from edgesplit.cluster.ray.answers import answer
from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.cluster.ray.nodes import Node
from edgesplit.cluster.ray.shared_value import SharedValue
from edgesplit.cluster.session.launch_actors import (
    SessionSettings,
    imports_of,
    open_tier,
    threads_of,
)
from edgesplit.cluster.session.membership import CLOSED, ClusterMembership, SessionActors
from edgesplit.cluster.session.planning import Planning
from edgesplit.cluster.session.programs import SessionPrograms
from edgesplit.config import EMBEDDED_EMULATION, Config
from edgesplit.core.goal import Goal
from edgesplit.core.profile import Link, Profile
from edgesplit.errors import ClosedError, ClusterError, RuntimeUnavailableError
from edgesplit.node.process.imports import Imports
from edgesplit.node.program.program import Program
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.tier.emulate import Emulation
from edgesplit.node.tier.tier_session import Opened
from edgesplit.node.transport.packed_payload import pack_payload
from edgesplit.node.transport.security import (
    NONE,
    Credentials,
    InsecureTransportWarning,
    new_credentials,
)
from edgesplit.node.transport.tensor_form import Forms

# What all tiers are told alike, so that one which joins later can be told it too.
_TOLD_TO_ALL = ("load", "describe")
_AGAIN_S = 0.5  # before a tier that is starting anew is asked again


class Session:
    """The control plane of one EdgeSplit. open() returns at once; ready() waits for the tiers.

    planning: the session's calls to the scheduler.

    While the cluster's head is lost, calls raise a ClusterError, or answer where they need no head.
    """

    def __init__(self, address: str | None, config: Config) -> None:
        self._address = address
        self._config = config
        name = uuid.uuid4().hex[:8]
        self._settings = SessionSettings(name, config, config.power(), Credentials(name))
        self._membership = ClusterMembership()
        self._roles: dict[str, str] = {}  # of the tiers that are considered
        self._emulation = Emulation()
        self._tiers: dict[str, TierHandle] = {}
        self.planning = Planning(self._membership, self._tiers)
        self._scheduler = ""  # the first one's incarnation
        self._opened: dict[str, Opened] = {}
        self._tasks: dict[str, RuntimeTask] = {}  # by workload
        self._wanted_tiers = config.tiers
        self._programs = SessionPrograms(self._membership, config.start_timeout_s)
        self._program_ids = (f"{self._settings.session_id}-p{n}" for n in itertools.count())

    def open(self) -> None:
        """Connect and begin to start the tiers' actors. Raises ClusterError."""
        Imports(tuple(self._config.imports)).load("this process")
        credentials = _made_credentials(self._settings.session_id, self._config)
        self._settings = replace(self._settings, credentials=credentials)
        now = self._membership.open(self._address, self._settings)
        self._config, self._settings = now.settings.config, now.settings
        self._roles = now.placement.roles
        default = EMBEDDED_EMULATION if now.placement.is_embedded else Emulation()
        given = self._config.emulation
        self._emulation = given if given is not None else default

    def ready(self) -> None:
        """Wait until every tier listens and the scheduler stands.

        Raises ClusterError, RuntimeUnavailableError for a tier that could run nothing.
        """
        if self._tiers:
            return
        with self.attached() as now:
            opened = {tier: self._opened_on(now, tier, call) for tier, call in now.opening.items()}
            Runtimes(now.call_log, opened, self._config, self._membership.answer).check()
            self._opened = own_meters(opened, self._config.meters, self._use_model)
            tiers = {
                tier: TierHandle(now.call_log.actors[tier], opened.address, opened.host)
                for tier, opened in self._opened.items()
            }
            self.emulate(self._emulation)
            self._scheduler = self.planning.set_tiers(
                tiers, imports_of(now.settings, now.placement)
            )
            self._tiers.update(tiers)

    def close(self) -> None:
        """End the session on its actors, leave the cluster; safe to call twice."""
        self._membership.close()

    def attached(self) -> AbstractContextManager[SessionActors]:
        """As ClusterMembership.attached(): within this Ray may be called."""
        return self._membership.attached()

    @property
    def is_emulated(self) -> bool:
        """Whether any figure of this session passed through the emulation."""
        return self._membership.is_open and not self._emulation.is_off

    @property
    def emulation(self) -> Emulation:
        """The emulation in force."""
        assert self._membership.now
        return self._emulation

    def emulate(self, emulation: Emulation) -> None:
        """Slow tiers and shape links from now on; returns when all tiers do so."""
        self._membership.tell(
            "emulate", lambda tier: (emulation.tier(tier),), "to take the emulation"
        )
        self._emulation = emulation

    @property
    def credentials(self) -> Credentials:
        """What every connection of this session has to show."""
        return self._settings.credentials

    def addresses(self) -> dict[str, str]:
        """The data plane's address of each tier."""
        return {tier: handle.address for tier, handle in self._tiers.items()}

    @property
    def entry_tier(self) -> str:
        """The one that holds the input."""
        return self._config.tiers[0]

    def goal_here(self, goal: Goal) -> Goal:
        """The same for the tiers that are considered: a limit of a role is each of its nodes'."""
        limits = {
            name: limit
            for name, role in self._roles.items()
            if (limit := goal.memory_bytes.get(name, goal.memory_bytes.get(role))) is not None
        }
        most = goal.max_stages
        if most is None and len(self._config.tiers) > self._config.max_stages:
            most = self._config.max_stages
        return replace(goal, memory_bytes=limits, max_stages=most)

    @property
    def without_torch(self) -> frozenset[str]:
        """Tiers that cannot tell by themselves whether an answer is right."""
        return frozenset(tier for tier, opened in self._opened.items() if not opened.has_torch)

    def threads(self, tier: str) -> int:
        """How many threads the tier computes on."""
        return threads_of(self._settings, self._membership.now.placement, tier)

    @property
    def meters(self) -> TierMeters:
        """The tiers' meters, once ready() has returned."""
        now = self._membership.now
        actors = now.call_log.actors
        return TierMeters(now.connection, actors, dict(self._opened), self._membership.answer)

    # Programs and workloads

    def new_program_id(self) -> str:
        """A name that no program of this session has yet."""
        return next(self._program_ids)

    def load(
        self,
        program_id: str,
        program: DescribedProgram,
        say: Callable[[str, str], None] = lambda stage, how_far: None,
    ) -> None:
        """Have every tier load a program; one that holds it already loads it again.

        say: told the stage and how far it is, while weights are sent.
        """
        self._programs.load(program_id, program, say)

    @property
    def sent_bytes(self) -> Mapping[str, int]:
        """Of weights, since open(), by who sent them: a tier, or CALLER."""
        return dict(self._programs.sent_bytes)

    def forget(self, workload_ids: Sequence[str], program_ids: Sequence[str]) -> None:
        """Have tiers and scheduler drop workloads, and programs that no workload is of any more."""
        self._programs.forget(program_ids)
        with self.attached() as now:
            now.call_log.forget([*workload_ids, *program_ids])
            calls = [
                actor.forget.remote(tuple(workload_ids), tuple(program_ids))
                for actor in now.call_log.actors.values()
            ]
            for call in calls:
                self._membership.answer(call, "tiers to forget")
        for workload_id in workload_ids:
            self._tasks.pop(workload_id, None)
            self.planning.forget(workload_id)

    def describe(self, workload_id: str, program_id: str, payloads: tuple[Forms, ...]) -> None:
        """Tell every tier what a workload's payloads look like."""
        told = (workload_id, program_id, SharedValue(payloads))
        self._membership.tell("describe", lambda tier: told, "to take the payloads")

    def runtimes(self, goes_on: Callable[[], bool] = lambda: True) -> Runtimes:
        """The runtimes of the tiers, to be measured, until goes_on() says no: then ClosedError.

        They are asked while the session is attached.
        """

        def check() -> None:
            self._membership.check()
            if not goes_on():
                raise ClosedError(CLOSED)

        get = partial(answer, check=check)
        now = self._membership.now
        return Runtimes(now.call_log, self._opened, self._config, get, self._mark)

    def task(self, ids: tuple[str, str], program: Program, values: Sequence[Any]) -> RuntimeTask:
        """What is needed to measure a workload's runtimes; ids: its own and its program's."""
        workload_id, program_id = ids
        example = SharedValue(pack_payload(values))
        known = self._programs[program_id]
        packed = SharedValue(known.packed)
        made = RuntimeTask(workload_id, program, (known.name, packed), list(values), example)
        self._tasks[workload_id] = made
        return made

    def profile(self, task: RuntimeTask) -> Profile:
        """Layer times on each tier, those of one machine one after another, and every link.

        Tiers measure them, or confirm what their hosts keep of earlier sessions.
        Runtimes other than torch are measured now where a tier must not use torch, else left to
        the benchmark.
        """
        with self.attached() as now, now.connection.sending():
            return Profile(self.runtimes().tiers(task), self._links())

    # Keeping what runs running

    @property
    def connection(self) -> RayConnection:
        """To the cluster that was joined last."""
        return self._membership.now.connection

    @property
    def is_ready(self) -> bool:
        """Whether ready() has returned, so that there is something to keep."""
        return bool(self._tiers)

    def known_incarnations(self) -> dict[str, str]:
        """Incarnation of each initialised actor, by tier name; the scheduler's under "".

        Of the actors of ready(): the supervisor initialises and knows later ones.
        """
        tiers = {tier: opened.incarnation for tier, opened in self._opened.items()}
        return {**tiers, "": self._scheduler}

    def reattach(self) -> None:
        """Leave the cluster whose head is lost, and join the one that is there.

        Requests under way are not disturbed. rebuild_tier() and Planning.rebuild() initialise the
        new actors.
        """
        self._membership.reattach(lambda: self.is_ready)

    def rebuild_tier(self, tier: str) -> None:
        """Initialise a restarted actor as the one before it was. Raises ClusterError.

        A runtime that it cannot offer any more is found out when a plan wants it.
        """
        with self.attached() as now, now.connection.sending():
            actor = now.call_log.actors[tier]
            call = open_tier(now.settings, now.placement, tier, actor)
            opened = self._membership.answer(call, f"tier {tier!r} to open again")
            self._opened[tier] = replace(self._opened[tier], address=opened.address)
            self._tiers[tier] = TierHandle(actor, opened.address, opened.host)
            self._programs.send_again(now, tier)
            for method, call in now.call_log.again(tier):
                what = f"tier {tier!r} to {method} again"
                with contextlib.suppress(RuntimeUnavailableError):
                    self._membership.answer(call, what, self._config.start_timeout_s)

    @property
    def wanted_tiers(self) -> Sequence[str]:
        """Roles and names of nodes, as the user wants them."""
        return self._wanted_tiers

    def add_tier(self, node: Node) -> None:
        """Use one more node of the cluster: plans may from when it knows all workloads.

        Raises ClusterError and what a tier raises; then nothing has changed.
        """
        tier = node.name
        try:
            with self.attached() as now, now.connection.sending():
                now = self._membership.add(node)
                self._bring_up(now, tier)
        except BaseException:
            self._opened.pop(tier, None)
            self._tiers.pop(tier, None)
            self._membership.drop(tier)
            raise

    def _bring_up(self, now: SessionActors, tier: str) -> None:
        """Tell an actor that knows nothing of this session all that the others know."""
        timeout_s, actor = self._config.start_timeout_s, now.call_log.actors[tier]
        call = open_tier(now.settings, now.placement, tier, actor)
        opened = self._opened_on(now, tier, call)
        log = now.call_log.only(tier)
        only = {tier: opened}
        Runtimes(log, only, now.settings.config, self._membership.answer).check()
        self._programs.send_again(now, tier)
        for method, args in now.call_log.told(self.entry_tier, _TOLD_TO_ALL):
            call = log.call(tier, method, *args)
            self._membership.answer(call, f"tier {tier!r} to {method}", timeout_s)
        self._membership.answer(
            log.call(tier, "emulate", self._emulation.tier(tier)), f"tier {tier!r}"
        )
        handle = TierHandle(actor, opened.address, opened.host)
        tiers = {**self._tiers, tier: handle}
        pairs = self._linked([pair for one in self._tiers for pair in ((one, tier), (tier, one))])
        links = probe_links(tiers, pairs, self._mark, self._membership.answer)
        runtimes = Runtimes(log, only, now.settings.config, self._membership.answer, self._mark)
        known = {task.id: (runtimes.tiers(task)[0], links) for task in list(self._tasks.values())}
        self._opened[tier], self._roles = opened, now.placement.roles
        self._config, self._settings = now.settings.config, now.settings
        self._tiers[tier] = handle
        self.planning.add_tier(tier, handle, known)

    # Inside

    def _opened_on(self, now: SessionActors, tier: str, call: Any) -> Opened:
        """What the tier says once it is open; call: the first question.

        An actor that serves others, too, may just be starting anew. Raises ClusterError.
        """
        until_s = time.monotonic() + self._config.start_timeout_s
        while True:
            try:
                left_s = max(1.0, until_s - time.monotonic())
                found: Opened = self._membership.answer(call, f"tier {tier!r} to start", left_s)
                return found
            except ClusterError as error:
                is_restarting = isinstance(error.__cause__, ActorUnavailableError)
                if not is_restarting or time.monotonic() > until_s:
                    raise
            time.sleep(_AGAIN_S)
            actor = now.call_log.actors[tier]
            call = open_tier(now.settings, now.placement, tier, actor)

    def _use_model(self, tier: str, why: str) -> Opened:
        call = self._membership.now.call_log.call(tier, "use_model", why)
        return cast(Opened, self._membership.answer(call, f"tier {tier!r}"))

    @property
    def _mark(self) -> str:
        """Before the provenance of what is measured."""
        return "emulated, " if self.is_emulated else ""

    def _links(self) -> tuple[Link, ...]:
        pairs = self._linked([(u, v) for u in self._tiers for v in self._tiers if u != v])
        return probe_links(self._tiers, pairs, self._mark, self._membership.answer)

    def _linked(self, pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        """Those that the emulation leaves a link."""
        shaped = self._emulation.links
        return [pair for pair in pairs if shaped is None or pair in shaped]


def _made_credentials(session: str, config: Config) -> Credentials:
    """New ones for one session; empty ones, with a warning, where the user wants none."""
    if config.transport_security != NONE:
        return new_credentials(session)
    warnings.warn(
        "transport_security is 'none': payloads are not encrypted, and anyone who reaches a "
        "tier's port can read them, send requests and keep the tier busy; see docs/security.md",
        InsecureTransportWarning,
        stacklevel=2,
    )
    return Credentials(session)
