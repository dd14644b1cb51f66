"""A session's actors on one cluster: one per tier, by label, and the scheduler."""

from dataclasses import dataclass
from typing import Any

import ray

from edgesplit.cluster.actors import SegmentActor
from edgesplit.cluster.embedded import NAMESPACE
from edgesplit.cluster.own_meters import meter_of
from edgesplit.cluster.place import Placement
from edgesplit.cluster.scheduler import Scheduler
from edgesplit.config import Config
from edgesplit.core.power import Power
from edgesplit.node.router import ServeSettings
from edgesplit.node.security import Credentials

_CONTROL_THREADS = 8
# Without task events: the head would keep one of every call, for its dashboard, and with a steady
# load grew by 5 MB a minute (up to its limit of 100,000, some 700 MB).
_ACTOR: dict[str, Any] = {
    "namespace": NAMESPACE,
    "num_cpus": 0,
    "max_restarts": -1,
    "enable_task_events": False,
}


@dataclass(frozen=True)
class SessionSettings:
    """What a session's actors are made of, on whichever cluster. power: by tier."""

    session_id: str
    config: Config
    power: dict[str, Power]
    credentials: Credentials | None


def threads_of(settings: SessionSettings, placement: Placement, tier: str) -> int:
    """How many threads the tier is to compute on."""
    return settings.config.threads or placement.threads(tier)


def start_tiers(settings: SessionSettings, placement: Placement) -> dict[str, Any]:
    """Begin to start every tier's actor; one whose node is missing starts when that joins.

    Called while the connection is used.
    """
    return {tier: _tier(settings, placement, tier) for tier in placement.tiers}


def start_scheduler(settings: SessionSettings) -> Any:
    """Begin to start the scheduler. Called while the connection is used."""
    name = f"{settings.session_id}-scheduler"
    return ray.remote(Scheduler).options(name=name, **_ACTOR).remote(settings.session_id)


def _tier(settings: SessionSettings, placement: Placement, tier: str) -> Any:
    serve = ServeSettings(
        tier,
        host=placement.host,
        ports=placement.ports,
        threads=threads_of(settings, placement, tier),
        max_frame_bytes=settings.config.max_frame_bytes,
        credentials=settings.credentials,
    )
    return (
        ray.remote(SegmentActor)
        .options(
            name=f"{settings.session_id}-{tier}",
            max_concurrency=_CONTROL_THREADS,
            **_ACTOR,
            **placement.options(tier),
        )
        .remote(serve, settings.power[tier], meter_of(tier, settings.config, placement))
    )
