"""The modelled meter: watts of computing times seconds. Reads no sensor."""

import time
from collections.abc import Callable, Mapping

from edgesplit.core.energy.energy import Energy
from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.phase_power import PhasePower
from edgesplit.core.power import Power
from edgesplit.errors import MeterError


class PowerModelMeter:
    """P x t, the paper's method (12 W for the Pi, arXiv 2605.09623), or with calibrated watts.

    It cannot see that one model keeps a device busier than another; its joules are modelled.
    """

    def __init__(
        self,
        power: Power,
        flags: tuple[str, ...] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.power = power
        self.metering = Metering(power.scope, "modelled", power.provenance, flags=flags)
        self._clock = clock

    def open(self) -> None:
        """Nothing to open."""

    def mark(self) -> float:
        """The time."""
        return self._clock()

    def start(self) -> float:
        """The time."""
        return self._clock()

    def stop(self, started: float) -> tuple[float, float | None]:
        """Compute watts x seconds since then."""
        seconds = self._clock() - started
        u_j = self.power.u_j({"compute": seconds}) if self.power.is_calibrated else None
        return self.power.compute_w * seconds, u_j

    def window(self, start_s: float, stop_s: float) -> Energy:
        """Raises MeterError: nothing is measured."""
        raise MeterError(
            f"no meter is read here ({self.power.provenance})",
            "`edgesplit meters` lists this host's; name one with meters={TIER: ID} or --meter",
        )

    def phases(self, start_s: float, stop_s: float) -> Mapping[str, PhasePower]:
        """None: nothing is measured."""
        return {}

    def sampling_share(self) -> float:
        """None: nothing is read."""
        return 0.0

    def close(self) -> None:
        """Nothing to close."""
