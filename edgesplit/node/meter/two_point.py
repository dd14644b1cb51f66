"""The paper's formula for its GPU, kept as a baseline: (P0 + P1) / 2 x t, arXiv 2605.09623.

Two readings of power, at the start and at the end, whatever they are averaged over.
"""

import collections
import math
import time
from collections.abc import Callable, Mapping

from edgesplit.core.energy.figure import Energy
from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.phase_power import PhasePower
from edgesplit.core.power import Power
from edgesplit.errors import MeterError
from edgesplit.node.meter.host_state import boot_id
from edgesplit.node.meter.source import EnergySource

NO_UNCERTAINTY = "the paper's two-point formula: no uncertainty is known"
_MARKS_KEPT = 1000


class TwoPointMeter:
    """Measured watts at two moments. name: what it was asked for as."""

    def __init__(
        self,
        source: EnergySource,
        power: Power,
        name: str,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.power = power
        self._source, self._name, self._clock = source, name, clock
        self._marks: collections.OrderedDict[float, float] = collections.OrderedDict()

    @property
    def metering(self) -> Metering:
        """Measured, without an uncertainty."""
        info = self._source.info
        covers = ((boot_id(), info.scope),)
        return Metering(info.scope, "measured", info.id, self._name, covers, (NO_UNCERTAINTY,))

    def open(self) -> None:
        """Open the source. Raises MeterError."""
        self._source.open()

    def mark(self) -> float:
        """The time, with the power at it kept. Raises MeterError."""
        watts, now_s = self._watts(), self._clock()
        self._marks[now_s] = watts
        while len(self._marks) > _MARKS_KEPT:
            self._marks.popitem(last=False)
        return now_s

    def start(self) -> float:
        """The same; a source that fails makes the segment's joules unknown."""
        try:
            return self.mark()
        except MeterError:
            return self._clock()

    def stop(self, started: float) -> tuple[float, float | None]:
        """Joules since then; NaN where the source has failed."""
        try:
            return self.window(started, self._clock()).joules, None
        except MeterError:
            return math.nan, None

    def window(self, start_s: float, stop_s: float) -> Energy:
        """From a mark until now. Raises MeterError where `start_s` is none."""
        if start_s not in self._marks:
            raise MeterError(f"{self._name}: no power was read at {start_s} s", "mark() reads it")
        joules = (self._marks[start_s] + self._watts()) / 2 * (stop_s - start_s)
        info = self._source.info
        flags = (NO_UNCERTAINTY,)
        return Energy(joules, math.nan, info.scope, "measured", "gross", info.id, flags)

    def phases(self, start_s: float, stop_s: float) -> Mapping[str, PhasePower]:
        """None: two readings do not tell phases apart."""
        return {}

    def sampling_share(self) -> float:
        """Nothing is read in the background."""
        return 0.0

    def close(self) -> None:
        """Let go of the source."""
        self._source.close()

    def _watts(self) -> float:
        watts = self._source.read().watts
        if watts is None:
            raise MeterError(f"{self._name} reads power, its source counts joules")
        return watts
