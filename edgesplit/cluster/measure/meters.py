"""The tiers' meters, asked through their actors: joules of a while, blocks of one phase."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from edgesplit.cluster.ray.answers import Get
from edgesplit.cluster.ray.connection import RayConnection
from edgesplit.core.energy.window import Metered
from edgesplit.core.power import Power
from edgesplit.errors import MeterError
from edgesplit.node.meter.calibration import Calibration
from edgesplit.node.tier.exercise import Activity
from edgesplit.node.tier.tier_session import Opened

_CALL_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class TierMeters:
    """Every tier's actor and what it said of its meter when it opened.

    connection: to the cluster they are in; CutOffError once it has ended, since another actor's
    meter knows nothing of what was before. get(call, what, timeout_s): waits for an answer.
    """

    connection: RayConnection
    actors: Mapping[str, Any]
    opened: Mapping[str, Opened]
    get: Get

    def power(self, tier: str) -> Power:
        """The watts that are planned with."""
        return self.opened[tier].power

    def marks(self) -> dict[str, float]:
        """Each tier's clock now; for since()."""
        with self.connection.used():
            calls = {tier: actor.mark.remote() for tier, actor in self.actors.items()}
            return {tier: self.get(call, f"tier {tier!r}") for tier, call in calls.items()}

    def since(self, marks: Mapping[str, float]) -> dict[str, Metered | MeterError]:
        """What each tier's meter said since marks(), or why it has none."""
        found: dict[str, Metered | MeterError] = {}
        with self.connection.used():
            calls = {tier: self.actors[tier].since.remote(mark) for tier, mark in marks.items()}
            for tier, call in calls.items():
                try:
                    found[tier] = self.get(call, f"the meter of tier {tier!r}")
                except MeterError as error:
                    found[tier] = error
        return found

    def spend(
        self, tier: str, activity: Activity, seconds: float, work: tuple[str, str]
    ) -> dict[str, float]:
        """Keep a tier in one phase for so long; the seconds it then was in each.

        work: the workload it computes, and the tier it sends to.
        """
        workload_id, target = work
        there = (target, self.opened[target].address)
        with self.connection.used():
            call = self.actors[tier].spend.remote(activity, seconds, workload_id, there)
            spent = self.get(call, f"tier {tier!r} to {activity}", seconds + _CALL_TIMEOUT_S)
        return cast(dict[str, float], spent)

    def check_place(self, tier: str) -> None:
        """Raise MeterError where the tier's host could not keep a calibration."""
        with self.connection.used():
            call = self.actors[tier].check_place.remote()
            self.get(call, f"tier {tier!r} to try its calibration file", _CALL_TIMEOUT_S)

    def keep(self, tier: str, calibration: Calibration) -> str:
        """Store a calibration on the tier's host; the file there."""
        with self.connection.used():
            call = self.actors[tier].keep.remote(calibration)
            return str(self.get(call, f"tier {tier!r} to keep its calibration", _CALL_TIMEOUT_S))
