"""The measured meter: one or several sensors of a tier, each with its sampler."""

import collections
import math
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from edgesplit.core.energy.energy import Energy, total
from edgesplit.core.energy.metering import Metering
from edgesplit.core.energy.phase_power import PhasePower
from edgesplit.core.energy.sensor import SensorInfo, check_disjoint
from edgesplit.core.energy.timeline import Timeline
from edgesplit.core.power import Power
from edgesplit.errors import MeterError
from edgesplit.node.meter.host_state import boot_id
from edgesplit.node.meter.power_model import PowerModelMeter
from edgesplit.node.meter.sampler import Sampler

# A counter that moves this often is read at a segment's start and end, as RAPL's every millisecond.
_FINE_S = 5e-3
_SPANS_KEPT = 10_000  # of segments that ran
_SPANS_READ = 200  # of those, for the mean power of a phase
REPEATABILITY = "the meter's accuracy is not known: ± is its repeatability alone"
TOO_COARSE = "single requests are watts x seconds: the meter is too coarse for them"


class SampledMeter:
    """Joules from sensors. Its sensors must not overlap. name: what it was asked for as;
    place: where its sensors are, this host's running kernel if empty.

    A fine counter tells each request's joules. A coarse sensor cannot: with calibrated watts a
    request is then charged those, without them what the sensor said last; its windows, over many
    requests, are measured all the same.
    """

    def __init__(
        self,
        samplers: Sequence[Sampler],
        power: Power,
        name: str,
        flags: tuple[str, ...] = (),
        place: str = "",
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.power = power
        self.name = name
        self._samplers = tuple(samplers)
        self._flags = flags
        self._place = place or boot_id()
        self._clock = clock
        self._model = PowerModelMeter(power, clock=clock)
        self._ran: collections.deque[tuple[float, float]] = collections.deque(maxlen=_SPANS_KEPT)

    def open(self) -> None:
        """Open every sensor. Raises MeterError where one cannot be read or two overlap."""
        opened: list[Sampler] = []
        try:
            for sampler in self._samplers:
                sampler.open()
                opened.append(sampler)
            check_disjoint(self._infos)
        except MeterError:
            for sampler in opened:
                sampler.close()
            raise

    @property
    def metering(self) -> Metering:
        """Measured per request, or modelled with calibrated watts where the sensor is coarse."""
        scope = " + ".join(info.scope for info in self._infos)
        sensor = " + ".join(info.id for info in self._infos)
        covers = tuple((self._place, info.scope) for info in self._infos)
        gain = max(info.rel_accuracy for info in self._infos)
        power, flags = self.power, self._flags
        if self._is_modelled:
            flags = (*flags, TOO_COARSE)
            return Metering(
                power.scope, "modelled", power.provenance, self.name, covers, flags, gain
            )
        if any(math.isnan(info.rel_accuracy) for info in self._infos):
            flags, gain = (*flags, REPEATABILITY), math.nan
        return Metering(scope, "measured", sensor, self.name, covers, flags, gain)

    def mark(self) -> float:
        """The time; a counter is read, so that a window from here begins with a reading.

        Raises MeterError.
        """
        for sampler in self._samplers:
            if sampler.info.kind == "counter":
                sampler.read_now()
        return self._clock()

    def start(self) -> float:
        """The time; a fine counter is read."""
        if not self._is_modelled:
            self._read_edges()
        return self._clock()

    def stop(self, started: float) -> tuple[float, float | None]:
        """Joules since then; NaN where a sensor has failed."""
        self._ran.append((started, self._clock()))
        if self._is_modelled:
            return self._model.stop(started)
        try:
            energy = self._energy(started, self._clock(), is_held=True)
        except MeterError:
            return math.nan, None
        return energy.joules, None if math.isnan(energy.u_j) else energy.u_j

    def window(self, start_s: float, stop_s: float) -> Energy:
        """Measured joules, gross. Raises MeterError where the readings do not cover the window."""
        return self._energy(start_s, stop_s, is_held=stop_s >= self._clock() - 1.0)

    def phases(self, start_s: float, stop_s: float) -> Mapping[str, PhasePower]:
        """Of a single sensor: mean power while segments ran, and between two of them."""
        if len(self._samplers) > 1:
            return {}
        ran = [(a, b) for a, b in self._ran.copy() if start_s <= a and b <= stop_s]
        rest = [(one[1], other[0]) for one, other in pairwise(ran) if one[1] < other[0]]
        spans = {"compute": ran[-_SPANS_READ:], "rest": rest[-_SPANS_READ:]}
        timeline = self._samplers[0].timeline(start_s)
        if _is_fine(timeline.info):  # read at every edge: each span has an energy of its own
            return {name: _mean_power(timeline, found) for name, found in spans.items()}
        return timeline.phase_power(spans)

    def sampling_share(self) -> float:
        """Of one core, what reading the sensors has cost since they were opened."""
        return sum(sampler.overhead().cpu_share for sampler in self._samplers)

    def close(self) -> None:
        """Stop sampling."""
        for sampler in self._samplers:
            sampler.close()

    @property
    def _infos(self) -> list[SensorInfo]:
        return [sampler.info for sampler in self._samplers]

    @property
    def _is_modelled(self) -> bool:
        is_fine = all(_is_fine(info) for info in self._infos)
        return not is_fine and self.power.is_calibrated

    def _read_edges(self) -> None:
        for sampler in self._samplers:
            if _is_fine(sampler.info):
                try:
                    sampler.read_now()
                except MeterError:
                    continue  # stop() finds no reading and says so

    def _energy(self, start_s: float, stop_s: float, is_held: bool) -> Energy:
        parts = []
        for sampler in self._samplers:
            # A coarse sensor moves seldom: what it said before the window tells of it too.
            before_s = 0.0 if _is_fine(sampler.info) else 2 * sampler.period_s
            look = sampler.held if is_held else sampler.timeline
            timeline = look(start_s - before_s)
            stop_s = min(stop_s, timeline.readings[-1].at_s) if is_held else stop_s
            parts.append(timeline.energy(start_s, stop_s))
        return total(parts)


def _is_fine(info: SensorInfo) -> bool:
    return info.kind == "counter" and info.update_s <= _FINE_S


def _mean_power(timeline: Timeline, spans: Sequence[tuple[float, float]]) -> PhasePower:
    """Energy over seconds of the spans that are longer than the counter's period."""
    found = [span for span in spans if span[1] - span[0] > timeline.info.update_s]
    if not found:
        flag = "the phase never ran longer than the counter's period"
        return PhasePower(math.nan, math.nan, 0, flag)
    energies = [timeline.energy(*span) for span in found]
    seconds = sum(stop_s - start_s for start_s, stop_s in found)
    u_j = math.sqrt(sum(energy.u_j**2 for energy in energies))
    watts = sum(energy.joules for energy in energies) / seconds
    return PhasePower(watts, u_j / seconds, len(found))
