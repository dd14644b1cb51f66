"""Meters: how a tier's joules are counted. Sensors below, the tier's meter on top.

A sensor is a counter, a power reading or assumed watts (sensor/); a sampler reads it; the tier's
meter tells the joules of a request and of a longer window.
"""

from collections.abc import Mapping
from typing import Protocol

from edgesplit.core.energy.energy import Energy
from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.phase_power import PhasePower
from edgesplit.core.power import Power


class Meter(Protocol):
    """What a tier knows of its joules. One thread at a time calls start and stop."""

    @property
    def metering(self) -> Metering:
        """What its joules cover and how they come about; complete once open() was called."""

    @property
    def power(self) -> Power:
        """Watts per phase to plan with."""

    def open(self) -> None:
        """Begin. Raises MeterError where a sensor cannot be read."""

    def mark(self) -> float:
        """A window begins; hand what is returned to window(). Raises MeterError."""

    def start(self) -> float:
        """A segment begins; hand what is returned to stop()."""

    def stop(self, started: float) -> tuple[float, float | None]:
        """Joules since then, an idle device's included, and their standard uncertainty.

        NaN joules where the meter failed; None where no uncertainty is known.
        """

    def window(self, start_s: float, stop_s: float) -> Energy:
        """Measured joules between two instants of time.perf_counter, gross.

        Raises MeterError where nothing is measured, or not in that window.
        """

    def phases(self, start_s: float, stop_s: float) -> Mapping[str, PhasePower]:
        """Mean power while segments ran in that window (`compute`), and in between (`rest`)."""

    def sampling_share(self) -> float:
        """Of one core, what reading the meter has cost since open()."""

    def close(self) -> None:
        """Let go of the sensors; safe to call twice."""
