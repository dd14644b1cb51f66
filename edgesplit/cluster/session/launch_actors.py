"""A cluster's actors, as a session has them: one per tier, by label, and the scheduler."""

import os
import sys
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any

import ray

from edgesplit.cluster.actors.scheduler import Scheduler
from edgesplit.cluster.actors.session_handle import SessionHandle
from edgesplit.cluster.actors.tier_actor import SegmentActor
from edgesplit.cluster.measure.meter_conflicts import meter_of
from edgesplit.cluster.ray.embedded import NAMESPACE
from edgesplit.cluster.ray.placement import SCHEDULER, Placement
from edgesplit.config import Config
from edgesplit.core.power import Power
from edgesplit.node.process.imports import Imports
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.tier_session import TierSessionSettings
from edgesplit.node.transport.security import Credentials

_CONTROL_THREADS = 32  # of one tier, for all sessions
_CALLS = 20_000  # of the scheduler under way: each session waits for a plan
# Without task events: the head would keep one of every call, for its dashboard, and with a steady
# load grew by 5 MB a minute (up to its limit of 100,000, some 700 MB).
# Detached: an actor serves other sessions, too, and outlives the program that came first.
_ACTOR: dict[str, Any] = {
    "namespace": NAMESPACE,
    "num_cpus": 0,
    "max_restarts": -1,
    "enable_task_events": False,
    "lifetime": "detached",
    "get_if_exists": True,
}


@dataclass(frozen=True)
class SessionSettings:
    """What a session asks of its actors, on whichever cluster. power: by tier."""

    session_id: str
    config: Config
    power: dict[str, Power]
    credentials: Credentials

    def on(self, placement: Placement) -> "SessionSettings":
        """The same for the nodes of a cluster: what is given for a role holds for each of them.

        Raises ConfigError, UnknownNameError.
        """
        config = self.config.named(placement.roles)
        return replace(self, config=config, power=config.power(placement.roles))


def threads_of(settings: SessionSettings, placement: Placement, tier: str) -> int:
    """How many threads the tier is to compute on."""
    return settings.config.threads or placement.threads(tier)


def imports_of(settings: SessionSettings, placement: Placement) -> Imports:
    """What every tier is to import; on this machine from where this process does, too."""
    path = tuple(map(os.path.abspath, sys.path)) if placement.is_embedded else ()
    return Imports(tuple(settings.config.imports), path)


def tier_actors(settings: SessionSettings, placement: Placement) -> dict[str, Any]:
    """Every tier's actor, begun where there is none; one whose node is missing starts with that.

    Called while the connection is used.
    """
    return {tier: tier_actor(settings, placement, tier) for tier in placement.tiers}


def tier_actor(settings: SessionSettings, placement: Placement, tier: str) -> SessionHandle:
    """One tier's actor. As tier_actors()."""
    actor = (
        ray.remote(SegmentActor)
        .options(
            name=placement.actor_name(tier),
            max_concurrency=_CONTROL_THREADS,
            **_ACTOR,
            **placement.options(tier),
        )
        .remote(tier, placement.host, placement.ports)
    )
    return SessionHandle(actor, settings.session_id)


def scheduler_actor(settings: SessionSettings) -> Any:
    """The cluster's scheduler, begun where there is none. Called while the connection is used."""
    actor = ray.remote(Scheduler).options(name=SCHEDULER, max_concurrency=_CALLS, **_ACTOR).remote()
    return SessionHandle(actor, settings.session_id)


def open_tier(settings: SessionSettings, placement: Placement, tier: str, handle: Any) -> Any:
    """Begin to open a session on a tier; Ray's reference to what it says."""
    config = settings.config
    serve = ServeSettings(
        tier,
        threads=threads_of(settings, placement, tier),
        max_frame_bytes=config.max_frame_bytes,
        credentials=settings.credentials,
        flushes_denormals=bool(config.flush_denormals),
        hedge=config.hedge_share,
        weight=config.weight,
        exactness=config.exactness_of(tier),
    )
    meter = meter_of(tier, config, placement)
    imports = imports_of(settings, placement)
    told = TierSessionSettings(serve, settings.power[tier], meter, imports)
    return handle.actor.open.remote(told, version("edgesplit"))
