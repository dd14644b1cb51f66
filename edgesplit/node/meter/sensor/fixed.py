"""Assumed watts in place of a sensor: nothing is read, so its figures are modelled."""

import math
import time
from collections.abc import Callable

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.errors import MeterError

METHOD = (
    "the method of arXiv 2605.09623, which takes 12 W for a Raspberry Pi 5: near the most that the "
    "board draws, so energy is only time, and waiting costs as much as computing"
)


class FixedSensor:
    """Constant watts of a whole device, whatever it does.

    Raises MeterError for watts that are negative or not finite.
    """

    def __init__(
        self,
        watts: float,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if not math.isfinite(watts) or watts < 0:
            raise MeterError(f"assumed watts must be finite and not negative, given {watts}")
        self._watts = watts
        self._clock = clock

    @property
    def info(self) -> SensorInfo:
        """A model: its error is not known."""
        return SensorInfo(
            id="fixed",
            scope="device",
            kind="model",
            update_s=0.0,
            averaging_s=0.0,
            resolution=0.0,
            rel_accuracy=math.nan,
            excludes=(),
            provenance=f"the device is assumed to draw {self._watts:g} W always; {METHOD}",
        )

    def open(self) -> None:
        """Nothing to find."""

    def read(self) -> Reading:
        """The watts, now."""
        return Reading(self._clock(), watts=self._watts)

    def close(self) -> None:
        """Nothing to let go of."""


def from_argument(text: str) -> FixedSensor:
    """The sensor of so many watts. Raises MeterError."""
    try:
        return FixedSensor(float(text))
    except ValueError as error:
        raise MeterError(
            f"meter 'fixed:{text}': {text!r} is no number", "such as fixed:12"
        ) from error
