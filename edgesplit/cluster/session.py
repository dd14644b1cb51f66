"""A session: the actors of one EdgeSplit on one cluster, from start to clean end."""

import itertools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import ray
import ray.exceptions

from edgesplit.cluster.actors import Opened, SegmentActor
from edgesplit.cluster.embedded import NAMESPACE
from edgesplit.cluster.links import probe_links
from edgesplit.cluster.meters import TierMeters
from edgesplit.cluster.own_meters import meter_of, own_meters
from edgesplit.cluster.place import Placement, connect, disconnect
from edgesplit.cluster.runtimes import measured_rows, with_rows
from edgesplit.cluster.scheduler import Activation, Scheduler, TierHandle, Workload
from edgesplit.config import EMBEDDED_EMULATION, Config
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.sample import Sample
from edgesplit.errors import ClosedError, ClusterError, EdgeSplitError
from edgesplit.node.emulate import Emulation
from edgesplit.node.profiler import Forms
from edgesplit.node.program import Program
from edgesplit.node.router import ServeSettings
from edgesplit.node.shipping import pack

_CONTROL_TIMEOUT_S = 30.0
_CONTROL_THREADS = 8


@dataclass(frozen=True)
class _Started:
    """What exists while the session is open."""

    placement: Placement
    actors: dict[str, Any]
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
        self._started: _Started | None = None
        self._was_closed = False
        self._tiers: dict[str, TierHandle] = {}
        self._opened: dict[str, Opened] = {}
        self._program_ids = (f"{self._id}-p{n}" for n in itertools.count())

    def open(self) -> None:
        """Connect and begin to start the tiers' actors. Raises ClusterError."""
        placement = connect(self._address, self._config.tiers)
        default = EMBEDDED_EMULATION if placement.is_embedded else Emulation()
        emulation = self._config.emulation if self._config.emulation is not None else default
        try:
            actors = {tier: self._actor(placement, tier) for tier in placement.tiers}
            opening = {tier: actor.open.remote() for tier, actor in actors.items()}
            scheduler = (
                ray.remote(Scheduler)
                .options(name=f"{self._id}-scheduler", namespace=NAMESPACE, num_cpus=0)
                .remote()
            )
        except Exception:
            disconnect(placement)
            raise
        self._started = _Started(placement, actors, scheduler, emulation, opening)

    def ready(self) -> None:
        """Wait until every tier listens and the scheduler stands. Raises ClusterError."""
        started = self._running
        if self._tiers:
            return
        opened = {
            tier: self._get(call, f"tier {tier!r} to start", self._config.start_timeout_s)
            for tier, call in started.opening.items()
        }
        self._opened = own_meters(opened, self._config.meters, self._use_model)
        tiers = {
            tier: TierHandle(started.actors[tier], opened.address)
            for tier, opened in self._opened.items()
        }
        self.emulate(started.emulation)
        self._get(started.scheduler.meet.remote(tiers), "the scheduler to start")
        self._tiers = tiers

    def close(self) -> None:
        """Stop the actors, leave the cluster; safe to call twice."""
        started, self._started = self._started, None
        self._was_closed = True
        if started is None:
            return
        if ray.is_initialized():
            for actor in (*started.actors.values(), started.scheduler):
                ray.kill(actor)
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
            actor.emulate.remote(emulation.tier(tier)) for tier, actor in started.actors.items()
        ]
        self._get_all(calls, "tiers to take the emulation")
        self._started = replace(started, emulation=emulation)

    def addresses(self) -> dict[str, str]:
        """The data plane's address of each tier."""
        return {tier: handle.address for tier, handle in self._tiers.items()}

    def threads(self, tier: str) -> int:
        """How many threads the tier computes on."""
        return self._config.threads or self._running.placement.threads(tier)

    @property
    def meters(self) -> TierMeters:
        """The tiers' meters, once ready() has returned."""
        return TierMeters(self._running.actors, self._opened, self._get)

    # Programs and workloads

    def load(self, program: Program) -> str:
        """Ship a program to every tier; returns its id."""
        program_id = next(self._program_ids)
        packed = ray.put(pack(program))
        actors = self._running.actors.values()
        calls = [actor.load.remote(program_id, packed) for actor in actors]
        self._get_all(calls, "tiers to load the model", self._config.start_timeout_s)
        return program_id

    def describe(self, workload_id: str, program_id: str, payloads: tuple[Forms, ...]) -> None:
        """Tell every tier what a workload's payloads look like."""
        described = ray.put(payloads)
        actors = self._running.actors.values()
        calls = [actor.describe.remote(workload_id, program_id, described) for actor in actors]
        self._get_all(calls, "tiers to take the payloads")

    def profile(self, workload_id: str, program: Program, values: Sequence[Any]) -> Profile:
        """Measure layer times on each tier in each runtime, one after another, and every link."""
        source = "emulated" if self.is_emulated else "measured"
        tiers = []
        for tier, actor in self._running.actors.items():
            call = actor.profile.remote(workload_id, list(values))
            layer_s = self._get(call, f"tier {tier!r} to profile", self._config.start_timeout_s)
            opened = self._opened[tier]
            tiers.append(Tier(tier, layer_s, opened.power, source=source, metering=opened.metering))
        work = (workload_id, program, list(values))
        rows = measured_rows(self._running.actors, self._get, self._config, work)
        return Profile(with_rows(tiers, rows, self._config), self._links(source))

    def begin(self, workload: Workload) -> Activation:
        """Hand a workload to the scheduler; returns its first active plan."""
        self._get(self._running.scheduler.begin.remote(workload), "the scheduler to plan")
        activation = self._get(
            self._running.scheduler.activation.remote(workload.id, 0, _CONTROL_TIMEOUT_S),
            "the first plan to be ready",
            2 * _CONTROL_TIMEOUT_S,
        )
        if activation is None:
            raise ClusterError(
                f"no plan was ready within {_CONTROL_TIMEOUT_S:g} s; a tier cannot build its "
                "segment: see Ray's logs of the segment actors"
            )
        return activation  # type: ignore[no-any-return]

    def current_profile(self, workload_id: str) -> Profile:
        """The scheduler's beliefs about tiers and links now."""
        profile = self._get(self._running.scheduler.profile.remote(workload_id), "the scheduler")
        return profile  # type: ignore[no-any-return]

    def observe(self, workload_id: str, requests: Sequence[tuple[Sample, ...]]) -> None:
        """Tell the scheduler of finished requests; does not wait."""
        self._running.scheduler.observe.remote(workload_id, list(requests))

    def next_activation(self, workload_id: str, version: int, timeout_s: float) -> Any:
        """A pending answer: the activation newer than `version`, or None after the timeout."""
        return self._running.scheduler.activation.remote(workload_id, version, timeout_s)

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
            threads=self._config.threads or placement.threads(tier),
            max_frame_bytes=self._config.max_frame_bytes,
        )
        return (
            ray.remote(SegmentActor)
            .options(
                name=f"{self._id}-{tier}",
                namespace=NAMESPACE,
                num_cpus=0,
                max_concurrency=_CONTROL_THREADS,
                **placement.options(tier),
            )
            .remote(settings, self._power[tier], meter_of(tier, self._config, placement))
        )

    def _use_model(self, tier: str, why: str) -> Opened:
        actor = self._running.actors[tier]
        return cast(Opened, self._get(actor.use_model.remote(why), f"tier {tier!r}"))

    def _links(self, source: str) -> tuple[Link, ...]:
        shaped = self._running.emulation.links
        pairs = [
            (u, v)
            for u in self._tiers
            for v in self._tiers
            if u != v and (shaped is None or (u, v) in shaped)
        ]
        return probe_links(self._tiers, pairs, source, self._get)

    def _get_all(self, calls: list[Any], what: str, timeout_s: float = _CONTROL_TIMEOUT_S) -> None:
        for call in calls:
            self._get(call, what, timeout_s)

    def _get(self, call: Any, what: str, timeout_s: float = _CONTROL_TIMEOUT_S) -> Any:
        """The answer of a Ray call; Ray's errors become the project's here and nowhere else."""
        try:
            return ray.get(call, timeout=timeout_s)
        except ray.exceptions.GetTimeoutError as error:
            raise ClusterError(f"waited {timeout_s:g} s for {what}, in vain") from error
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, EdgeSplitError):
                raise error.cause from None
            raise ClusterError(f"waiting for {what}: {error.cause!r}") from error
        except ray.exceptions.RayError as error:
            reason = " / ".join(str(error).strip().splitlines()[-3:])
            raise ClusterError(f"waiting for {what}: {reason}") from error
