"""A session: the control plane of one EdgeSplit, from start to clean end, on whichever cluster."""

import contextlib
import itertools
import uuid
import warnings
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from typing import Any, cast

from edgesplit.cluster.actors import Opened
from edgesplit.cluster.answers import answer
from edgesplit.cluster.attachment import CLOSED, Attaching, Attachment
from edgesplit.cluster.connection import Connection
from edgesplit.cluster.links import probe_links
from edgesplit.cluster.loop import TierHandle
from edgesplit.cluster.meters import TierMeters
from edgesplit.cluster.own_meters import own_meters
from edgesplit.cluster.parcel import Parcel
from edgesplit.cluster.planning import Planning
from edgesplit.cluster.runtimes import Runtimes, Work
from edgesplit.cluster.start import SessionSettings, threads_of
from edgesplit.config import EMBEDDED_EMULATION, Config
from edgesplit.core.profile import Link, Profile
from edgesplit.errors import ClosedError, RuntimeUnavailableError
from edgesplit.node.emulate import Emulation
from edgesplit.node.form import Forms
from edgesplit.node.packed_payload import pack_payload
from edgesplit.node.program import Program
from edgesplit.node.security import NONE, Credentials, InsecureTransportWarning, new_credentials
from edgesplit.node.shipping import pack


class Session:
    """The control plane of one EdgeSplit. open() returns at once; ready() waits for the tiers.

    planning: what is told to the scheduler and asked of it.

    Whoever calls while the cluster's head is lost gets a ClusterError, or an answer where one can
    be had without it.
    """

    def __init__(self, address: str | None, config: Config) -> None:
        self._address = address
        self._config = config
        self._settings = SessionSettings(uuid.uuid4().hex[:8], config, config.power(), None)
        self._attaching = Attaching()
        self._emulation = Emulation()
        self._tiers: dict[str, TierHandle] = {}
        self.planning = Planning(self._attaching, self._tiers)
        self._scheduler = ""  # the first one's incarnation
        self._opened: dict[str, Opened] = {}
        self._packed: dict[str, Parcel] = {}
        self._program_ids = (f"{self._settings.session_id}-p{n}" for n in itertools.count())

    def open(self) -> None:
        """Connect and begin to start the tiers' actors. Raises ClusterError."""
        credentials = _made_credentials(self._config)
        self._settings = replace(self._settings, credentials=credentials)
        now = self._attaching.open(self._address, self._settings)
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
            opened = {
                tier: self._attaching.answer(
                    call, f"tier {tier!r} to start", self._config.start_timeout_s
                )
                for tier, call in now.opening.items()
            }
            Runtimes(now.recipes, opened, self._config, self._attaching.answer).check()
            self._opened = own_meters(opened, self._config.meters, self._use_model)
            tiers = {
                tier: TierHandle(now.recipes.actors[tier], opened.address)
                for tier, opened in self._opened.items()
            }
            self.emulate(self._emulation)
            self._scheduler = self.planning.meet(tiers)
            self._tiers.update(tiers)

    def close(self) -> None:
        """Stop the actors, leave the cluster; safe to call twice."""
        self._attaching.close()

    def attached(self) -> AbstractContextManager[Attachment]:
        """As Attaching.attached(): within this Ray may be called."""
        return self._attaching.attached()

    @property
    def is_emulated(self) -> bool:
        """Whether any figure of this session passed through the emulation."""
        return self._attaching.is_open and not self._emulation.is_off

    @property
    def emulation(self) -> Emulation:
        """The emulation in force."""
        assert self._attaching.now
        return self._emulation

    def emulate(self, emulation: Emulation) -> None:
        """Slow tiers and shape links from now on; returns when all tiers do so."""
        self._attaching.tell(
            "emulate", lambda tier: (emulation.tier(tier),), "to take the emulation"
        )
        self._emulation = emulation

    @property
    def credentials(self) -> Credentials | None:
        """What every connection of this session has to show; None where nothing is secured."""
        return self._settings.credentials

    def addresses(self) -> dict[str, str]:
        """The data plane's address of each tier."""
        return {tier: handle.address for tier, handle in self._tiers.items()}

    def threads(self, tier: str) -> int:
        """How many threads the tier computes on."""
        return threads_of(self._settings, self._attaching.now.placement, tier)

    @property
    def meters(self) -> TierMeters:
        """The tiers' meters, once ready() has returned."""
        now = self._attaching.now
        actors = now.recipes.actors
        return TierMeters(now.connection, actors, dict(self._opened), self._attaching.answer)

    # Programs and workloads

    def new_program_id(self) -> str:
        """A name that no program of this session has yet."""
        return next(self._program_ids)

    def load(self, program_id: str, program: Program) -> None:
        """Ship a program to every tier; one that holds it already takes it again."""
        packed = self._packed.setdefault(program_id, Parcel(pack(program)))
        timeout_s = self._config.start_timeout_s
        self._attaching.tell(
            "load", lambda tier: (program_id, packed), "to load the model", timeout_s
        )

    def describe(self, workload_id: str, program_id: str, payloads: tuple[Forms, ...]) -> None:
        """Tell every tier what a workload's payloads look like."""
        told = (workload_id, program_id, Parcel(payloads))
        self._attaching.tell("describe", lambda tier: told, "to take the payloads")

    def runtimes(self, goes_on: Callable[[], bool] = lambda: True) -> Runtimes:
        """The runtimes of the tiers, to be measured, until goes_on() says no: then ClosedError.

        They are asked while the session is attached.
        """

        def check() -> None:
            self._attaching.check()
            if not goes_on():
                raise ClosedError(CLOSED)

        get = partial(answer, check=check)
        return Runtimes(self._attaching.now.recipes, self._opened, self._config, get)

    def work(self, ids: tuple[str, str], program: Program, values: Sequence[Any]) -> Work:
        """What is needed to measure a workload's runtimes; ids: its own and its program's."""
        workload_id, program_id = ids
        sample = Parcel(pack_payload(values))
        return Work(workload_id, program, self._packed[program_id], list(values), sample)

    def profile(self, work: Work) -> Profile:
        """Measure layer times on each tier, one after another, and every link.

        Runtimes other than torch are measured now where a tier is to do without torch, else left
        to the survey.
        """
        source = "emulated" if self.is_emulated else "measured"
        with self.attached() as now, now.connection.sending():
            return Profile(self.runtimes().tiers(work, source), self._links(source))

    # Keeping what runs running

    @property
    def connection(self) -> Connection:
        """To the cluster that was joined last."""
        return self._attaching.now.connection

    @property
    def is_ready(self) -> bool:
        """Whether ready() has returned, so that there is something to keep."""
        return bool(self._tiers)

    def told(self) -> dict[str, str]:
        """Incarnations that were told what there is to know: of each tier, under "" the scheduler.

        Of the actors of ready(): later ones are told by the keeper, who knows them.
        """
        tiers = {tier: opened.incarnation for tier, opened in self._opened.items()}
        return {**tiers, "": self._scheduler}

    def reattach(self) -> None:
        """Leave the cluster whose head is lost for the one that is there. See Attaching.

        Requests under way are not disturbed. Of actors that are to be told again what was told
        before, see rebuild_tier() and Planning.rebuild().
        """
        self._attaching.reattach(lambda: self.is_ready)

    def rebuild_tier(self, tier: str) -> None:
        """Tell an actor that was started anew all that was told before. Raises ClusterError.

        A runtime that it cannot offer any more is found out when a plan wants it.
        """
        with self.attached() as now, now.connection.sending():
            actor = now.recipes.actors[tier]
            opened = self._attaching.answer(actor.open.remote(), f"tier {tier!r} to open again")
            self._opened[tier] = replace(self._opened[tier], address=opened.address)
            self._tiers[tier] = TierHandle(actor, opened.address)
            for method, call in now.recipes.again(tier):
                what = f"tier {tier!r} to {method} again"
                with contextlib.suppress(RuntimeUnavailableError):
                    self._attaching.answer(call, what, self._config.start_timeout_s)

    # Inside

    def _use_model(self, tier: str, why: str) -> Opened:
        call = self._attaching.now.recipes.call(tier, "use_model", why)
        return cast(Opened, self._attaching.answer(call, f"tier {tier!r}"))

    def _links(self, source: str) -> tuple[Link, ...]:
        shaped = self._emulation.links
        pairs = [
            (u, v)
            for u in self._tiers
            for v in self._tiers
            if u != v and (shaped is None or (u, v) in shaped)
        ]
        return probe_links(self._tiers, pairs, source, self._attaching.answer)


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
