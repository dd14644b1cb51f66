"""A session: the control plane of one EdgeSplit, from start to clean end, on any cluster."""

import contextlib
import itertools
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any

from edgesplit.cluster.actors.workload import TierKnown
from edgesplit.cluster.measure.codecs import codec_speeds
from edgesplit.cluster.measure.meters import TierMeters
from edgesplit.cluster.measure.runtimes import Runtimes, RuntimeTask
from edgesplit.cluster.ray.answers import Get, answer
from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.cluster.ray.nodes import Node
from edgesplit.cluster.ray.shared_value import SharedValue
from edgesplit.cluster.session.launch_actors import (
    SessionSettings,
    imports_of,
    threads_of,
)
from edgesplit.cluster.session.membership import CLOSED, ClusterMembership, SessionActors
from edgesplit.cluster.session.planning import Planning
from edgesplit.cluster.session.programs import SessionPrograms
from edgesplit.cluster.session.session_tiers import SessionTiers
from edgesplit.config import Config
from edgesplit.core.payload_codec import CodecSpeeds
from edgesplit.core.profile import Profile
from edgesplit.errors import ClosedError, RuntimeUnavailableError
from edgesplit.node.codec.speeds import CodecsAsked
from edgesplit.node.process.imports import Imports
from edgesplit.node.program.program import Program
from edgesplit.node.program.program_file import DescribedProgram
from edgesplit.node.runtime.lossy import is_lossy
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


class Session:
    """The control plane of one EdgeSplit. open() returns at once; ready() waits for the tiers.

    tiers: those that it has, and what is known of them. planning: its calls to the scheduler.

    While the cluster's head is lost, calls raise a ClusterError, or answer where they need no head.
    """

    def __init__(self, address: str | None, config: Config) -> None:
        self._address = address
        self._config = config
        name = uuid.uuid4().hex[:8]
        self._settings = SessionSettings(name, config, config.power(), Credentials(name))
        self._membership = ClusterMembership()
        self.tiers = SessionTiers(self._membership, config)
        self.planning = Planning(self._membership, self.tiers.handles)
        self._scheduler = ""  # the first one's incarnation
        self._tasks: dict[str, RuntimeTask] = {}  # by workload
        self._programs = SessionPrograms(self._membership, config.start_timeout_s)
        self._program_ids = (f"{self._settings.session_id}-p{n}" for n in itertools.count())

    def open(self) -> None:
        """Connect and begin to start the tiers' actors. Raises ClusterError."""
        Imports(tuple(self._config.imports)).load("this process")
        credentials = _made_credentials(self._settings.session_id, self._config)
        self._settings = replace(self._settings, credentials=credentials)
        now = self._membership.open(self._address, self._settings)
        self.tiers.begin(now)

    def ready(self) -> None:
        """Wait until every tier listens and the scheduler stands.

        Raises ClusterError, RuntimeUnavailableError for a tier that could run nothing.
        """
        if self.is_ready:
            return
        with self.attached() as now:
            handles = self.tiers.open(now)
            self.tiers.emulate(self.tiers.emulation)
            imports = imports_of(now.settings, now.placement)
            self._scheduler = self.planning.set_tiers(handles, imports)
            self.tiers.handles.update(handles)

    def close(self) -> None:
        """End the session on its actors, leave the cluster; safe to call twice."""
        self._membership.close()

    def attached(self) -> AbstractContextManager[SessionActors]:
        """As ClusterMembership.attached(): within this Ray may be called."""
        return self._membership.attached()

    @property
    def credentials(self) -> Credentials:
        """What every connection of this session has to show."""
        return self._settings.credentials

    def threads(self, tier: str) -> int:
        """How many threads the tier computes on."""
        now = self._membership.now
        return threads_of(now.settings, now.placement, tier)

    @property
    def meters(self) -> TierMeters:
        """The tiers' meters, once ready() has returned."""
        now = self._membership.now
        opened = dict(self.tiers.opened)
        return TierMeters(now.connection, now.call_log.actors, opened, self._membership.answer)

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
        now, get = self._membership.now, self._get(goes_on)
        return Runtimes(now.call_log, self.tiers.opened, now.settings.config, get, self.tiers.mark)

    def _get(self, goes_on: Callable[[], bool]) -> Get:
        def check() -> None:
            self._membership.check()
            if not goes_on():
                raise ClosedError(CLOSED)

        return partial(answer, check=check)

    @property
    def calibrates(self) -> bool:
        """Whether a runtime that is wanted is calibrated on examples."""
        return any(map(is_lossy, self._config.wanted_runtimes))

    def task(
        self,
        ids: tuple[str, str],
        program: Program,
        values: Sequence[Any],
        calibration: Sequence[Sequence[Any]] = (),
    ) -> RuntimeTask:
        """What is needed to measure a workload's runtimes; ids: its own and its program's.

        calibration: payloads at cut 0 that lossy runtimes are calibrated on.
        """
        workload_id, program_id = ids
        example = SharedValue(pack_payload(values))
        known = self._programs[program_id]
        packed = SharedValue(known.packed)
        made = RuntimeTask(workload_id, program, (known.name, packed), list(values), example)
        if calibration:
            shared = SharedValue([pack_payload(one) for one in calibration])
            made = replace(made, calibration=shared)
        self._tasks[workload_id] = made
        return made

    def profile(self, task: RuntimeTask) -> Profile:
        """Layer times on each tier, those of one machine one after another, and every link.

        Tiers measure them, or confirm what their hosts keep of earlier sessions.
        Runtimes other than torch are measured now where a tier must not use torch, else left to
        the benchmark.
        """
        with self.attached() as now, now.connection.sending():
            return Profile(self.runtimes().tiers(task), self.tiers.links())

    def codec_speeds(
        self,
        workload_id: str,
        asked: CodecsAsked,
        tiers: Sequence[str],
        goes_on: Callable[[], bool] = lambda: True,
    ) -> CodecSpeeds:
        """What codecs take on those of its tiers, as runtimes(). Raises ClusterError."""
        with self.attached() as now, now.connection.sending():
            actors = {tier: now.call_log.actors[tier] for tier in tiers}
            return codec_speeds(actors, workload_id, asked, self._get(goes_on))

    # Keeping what runs running

    def nodes(self) -> tuple[Node, ...]:
        """The cluster's, as its scheduler sees them. Raises ClusterError."""
        with self.attached() as now:
            call = now.scheduler.actor.nodes.remote()
            found: tuple[Node, ...] = self._membership.answer(call, "the scheduler to name nodes")
            return found

    def add_tier(self, node: Node, tell: Callable[[str, Mapping[str, TierKnown]], None]) -> None:
        """Use one more node of the cluster: plans may from when it knows all workloads.

        tell: hears its address and what was measured of it, by workload, before any plan names it.

        Raises ClusterError and what a tier raises; then nothing has changed.
        """
        tier = node.name
        with self.attached(), self.connection.sending():
            coming = self._membership.coming(node)
            known: dict[str, TierKnown] = {}
            try:
                opened = self.tiers.open_one(coming, tier)
                self._programs.send_again(coming, tier)
                self._tell_all(coming, tier, opened, known)
                now = self._membership.take(coming)
            except BaseException:
                coming.call_log.actors[tier].end.remote()
                raise
            handle = self.tiers.take(now, tier, opened)
            self._tell_all(now, tier, opened, known)  # what has begun meanwhile
            tell(handle.address, known)
            self.planning.add_tier(tier, handle, known)

    def _tell_all(
        self, now: SessionActors, tier: str, opened: Opened, known: dict[str, TierKnown]
    ) -> None:
        """Tell a tier what the others know, and measure it on every workload that is not known."""
        log, get = now.call_log.only(tier), self._membership.answer
        timeout_s = now.settings.config.start_timeout_s
        for method, args in self._membership.now.call_log.told(self.tiers.entry, _TOLD_TO_ALL):
            if args[0] not in known:
                get(log.call(tier, method, *args), f"tier {tier!r} to {method}", timeout_s)
        runtimes = Runtimes(log, {tier: opened}, now.settings.config, get, self.tiers.mark)
        for task in [task for task in list(self._tasks.values()) if task.id not in known]:
            [measured] = runtimes.tiers(task)
            known[task.id] = measured, self.tiers.links_of(tier, now, opened)

    @property
    def connection(self) -> RayConnection:
        """To the cluster that was joined last."""
        return self._membership.now.connection

    @property
    def is_ready(self) -> bool:
        """Whether ready() has returned, so that there is something to keep."""
        return bool(self.tiers.handles)

    def known_incarnations(self) -> dict[str, str]:
        """Incarnation of each initialised actor, by tier name; the scheduler's under "".

        Of the actors of ready(): the supervisor initialises and knows later ones.
        """
        tiers = {tier: opened.incarnation for tier, opened in list(self.tiers.opened.items())}
        return {**tiers, "": self._scheduler}

    def reattach(self) -> None:
        """Leave the cluster whose head is lost, and join the one that is there.

        Requests under way are not disturbed. rebuild_tier() and Planning.rebuild() initialise the
        new actors.
        """
        self._membership.reattach(lambda: self.is_ready)

    def rebuild_tier(self, tier: str) -> str:
        """Initialise a restarted actor as the one before it was; which incarnation that is.

        Raises ClusterError.
        A runtime that it cannot offer any more is found out when a plan wants it.
        """
        with self.attached() as now, now.connection.sending():
            incarnation = self.tiers.open_again(now, tier)
            self._programs.send_again(now, tier)
            for method, call in now.call_log.again(tier):
                what = f"tier {tier!r} to {method} again"
                with contextlib.suppress(RuntimeUnavailableError):
                    self._membership.answer(call, what, self._config.start_timeout_s)
            return incarnation


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
