"""The readings of one sensor over time, and the energy between any two moments of them.

Every figure has an uncertainty that covers what the readings cannot show (GUM, JCGM 100:2008).
What they do not cover at all is a MeterError, never a 0.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from edgesplit.core.energy.energy import Energy
from edgesplit.core.energy.phase_power import PhasePower, counted_power, sampled_power
from edgesplit.core.energy.power_readings import PowerReadings
from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo
from edgesplit.core.energy.staircase import Floats, Staircase, staircase
from edgesplit.errors import MeterError


@dataclass(frozen=True)
class Timeline:
    """Readings in order of time, all of one sensor.

    Raises MeterError where time runs backwards, or where a reading is not of the sensor's kind.
    """

    info: SensorInfo
    readings: tuple[Reading, ...]

    def __post_init__(self) -> None:
        for one, other in pairwise(self.readings):
            if other.at_s < one.at_s:
                raise MeterError(
                    f"{self.info.id}: a reading at {other.at_s} s comes after one at {one.at_s} s"
                )
        for reading in self.readings:
            if (reading.joules is None) == self._is_counter:
                raise MeterError(
                    f"{self.info.id} is a {self.info.kind}, but its reading at {reading.at_s} s "
                    f"holds {'watts' if self._is_counter else 'joules'}"
                )

    def energy(self, start_s: float, stop_s: float) -> Energy:
        """What was drawn in [start_s, stop_s), gross.

        Counter: the difference of its values, interpolated at both ends and corrected for its mean
        lateness. Power: the integral of straight lines between readings; the first and the last
        one hold for one update more. rel_accuracy counts as a gain, the same for all readings; it
        is left out, with a flag, where nobody states one.

        Raises MeterError for an empty window, one that readings do not cover or that holds a break,
        and where a counter never moved.
        """
        if not start_s < stop_s:
            raise MeterError(f"a window runs forward, given {start_s} s to {stop_s} s")
        readings = self._around(start_s, stop_s)
        flags: tuple[str, ...] = ()
        if self._is_counter:
            joules, u_j = self._staircase(readings).energy(start_s, stop_s)
        else:
            joules, u_j, flags = self._samples(readings).energy(start_s, stop_s)
        return self._figure(joules, u_j, flags)

    def mean_w(self, start_s: float, stop_s: float) -> float:
        """Mean power in [start_s, stop_s), watts. Raises MeterError as energy() does."""
        return self.energy(start_s, stop_s).joules / (stop_s - start_s)

    def phase_power(
        self, spans: Mapping[str, Sequence[tuple[float, float]]]
    ) -> dict[str, PhasePower]:
        """Mean power of each named phase over all its spans (start_s, stop_s), in watts.

        Power: samples inside the spans, pooled. Counter: its growth inside the spans. Watts are
        NaN, with a flag that says why, where the sensor is too slow for the phase.
        """
        pooled = counted_power if self._is_counter else sampled_power
        return {name: pooled(self.info, self.readings, spans[name]) for name in spans}

    @property
    def _is_counter(self) -> bool:
        return self.info.kind == "counter"

    @cached_property
    def _runs(self) -> tuple[tuple[Reading, ...], ...]:
        """Readings between breaks."""
        starts = [i for i, reading in enumerate(self.readings) if i == 0 or reading.is_break]
        return tuple(self.readings[i:j] for i, j in pairwise([*starts, len(self.readings)]))

    def _around(self, start_s: float, stop_s: float) -> tuple[Reading, ...]:
        """The readings without a break that cover the window."""
        for run in self._runs:
            held_s = self._held_s(run)
            if run[0].at_s - held_s <= start_s and stop_s <= run[-1].at_s + held_s:
                return run
        window = f"{self.info.id}: {start_s:.6g} s to {stop_s:.6g} s"
        breaks = [r.at_s for run in self._runs[1:] for r in run[:1]]
        if any(start_s < at_s for at_s in breaks) and self.readings[0].at_s <= start_s:
            at_s = next(at_s for at_s in breaks if start_s < at_s)
            raise MeterError(f"{window} holds a break before {at_s:.6g} s: its energy is not known")
        known = "there are none"
        if self.readings:
            known = f"they are from {self.readings[0].at_s:.6g} s to {self.readings[-1].at_s:.6g} s"
        raise MeterError(
            f"{window} is not covered by readings; {known}", "read before and after it"
        )

    def _held_s(self, run: Sequence[Reading]) -> float:
        """How long before the first and after the last reading its figure still holds."""
        gaps_s = [other.at_s - one.at_s for one, other in pairwise(run)]
        usual_s = 0.0 if self._is_counter or not gaps_s else float(np.median(gaps_s))
        return max(self.info.update_s, usual_s) + self.info.averaging_s / 2

    def _staircase(self, run: Sequence[Reading]) -> Staircase:
        joules = np.array([reading.joules for reading in run], dtype=np.float64)
        return staircase(_times(run), joules, self.info.update_s, self.info.resolution)

    def _samples(self, run: Sequence[Reading]) -> PowerReadings:
        watts = np.array([reading.watts for reading in run], dtype=np.float64)
        middle_s = _times(run) - self.info.averaging_s / 2
        return PowerReadings(middle_s, watts, self.info.averaging_s, self.info.resolution)

    def _figure(self, joules: float, u_j: float, flags: tuple[str, ...]) -> Energy:
        info, gain = self.info, self.info.rel_accuracy
        if not info.is_measured:  # assumed watts scatter as little as they are known
            u_j = abs(joules) * gain
        elif math.isnan(gain):
            flags = (*flags, "the meter's accuracy is not known: ± is its repeatability alone")
        else:
            u_j = math.hypot(u_j, joules * gain)
        kind = "measured" if info.is_measured else "modelled"
        return Energy(joules, u_j, info.scope, kind, "gross", info.id, flags)  # type: ignore[arg-type]


def _times(run: Sequence[Reading]) -> Floats:
    return np.array([reading.at_s for reading in run], dtype=np.float64)
