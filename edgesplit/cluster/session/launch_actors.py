"""A session's actors on one cluster: one per tier, by label, and the scheduler."""

import contextlib
import os
import sys
from dataclasses import dataclass
from typing import Any

import ray
from ray.exceptions import RayError

from edgesplit.cluster.actors.scheduler import Scheduler
from edgesplit.cluster.actors.tier_actor import SegmentActor
from edgesplit.cluster.measure.meter_conflicts import meter_of
from edgesplit.cluster.ray.embedded import NAMESPACE
from edgesplit.cluster.ray.placement import Placement
from edgesplit.config import Config
from edgesplit.core.power import Power
from edgesplit.node.process.imports import Imports
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.transport.security import Credentials

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


def imports_of(settings: SessionSettings, placement: Placement) -> Imports:
    """What every tier is to import; on this machine from where this process does, too."""
    path = tuple(map(os.path.abspath, sys.path)) if placement.is_embedded else ()
    return Imports(tuple(settings.config.imports), path)


def start_tiers(settings: SessionSettings, placement: Placement) -> dict[str, Any]:
    """Begin to start every tier's actor; one whose node is missing starts when that joins.

    Called while the connection is used.
    """
    return {tier: _tier(settings, placement, tier) for tier in placement.tiers}


def start_scheduler(settings: SessionSettings) -> Any:
    """Begin to start the scheduler. Called while the connection is used."""
    name = f"{settings.session_id}-scheduler"
    return ray.remote(Scheduler).options(name=name, **_ACTOR).remote(settings.session_id)


def kill_begun(settings: SessionSettings, placement: Placement) -> None:
    """End the actors that were begun where not all could be: whose cluster is theirs as well."""
    for role in (*placement.tiers, "scheduler"):
        # ValueError: it was not begun. Of Ray's where the head is lost, and they with it.
        with contextlib.suppress(ValueError, RayError):
            ray.kill(ray.get_actor(f"{settings.session_id}-{role}", namespace=NAMESPACE))


def _tier(settings: SessionSettings, placement: Placement, tier: str) -> Any:
    serve = ServeSettings(
        tier,
        host=placement.host,
        ports=placement.ports,
        threads=threads_of(settings, placement, tier),
        max_frame_bytes=settings.config.max_frame_bytes,
        credentials=settings.credentials,
        flushes_denormals=bool(settings.config.flush_denormals),
        hedge=settings.config.hedge_share,
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
