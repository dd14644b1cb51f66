"""Test data: a device whose power at each moment is known, and meters that read it.

Power is constant in pieces: rest, cycles of phases, rest. Times are seconds from the first rest.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import Kind, SensorInfo
from edgesplit.core.energy.timeline import Timeline

Floats = NDArray[np.float64]
Span = tuple[float, float]


@dataclass(frozen=True)
class Phase:
    """One part of a cycle."""

    name: str
    length_s: float
    watts: float


@dataclass(frozen=True)
class Device:
    """Rests for lead_s, runs `cycles` times through its phases, rests for tail_s."""

    phases: tuple[Phase, ...]
    cycles: int
    idle_w: float
    lead_s: float = 1.0
    tail_s: float = 1.0

    @property
    def cycle_s(self) -> float:
        """One run through the phases."""
        return sum(phase.length_s for phase in self.phases)

    @property
    def busy(self) -> Span:
        """From the first cycle's start to the last one's end."""
        return self.lead_s, self.lead_s + self.cycles * self.cycle_s

    @property
    def end_s(self) -> float:
        """When the last rest ends."""
        return self.busy[1] + self.tail_s

    @cached_property
    def spans(self) -> dict[str, list[Span]]:
        """When each phase ran."""
        edges = self._pieces[0]
        found: dict[str, list[Span]] = {phase.name: [] for phase in self.phases}
        for i in range(self.cycles * len(self.phases)):
            name = self.phases[i % len(self.phases)].name
            found[name].append((float(edges[i + 1]), float(edges[i + 2])))
        return found

    def seconds(self) -> dict[str, float]:
        """In each phase, between the rests."""
        return {phase.name: phase.length_s * self.cycles for phase in self.phases}

    def energy_j(self, start_s: float, stop_s: float) -> float:
        """The truth."""
        return float(self.drawn_j(np.array(stop_s)) - self.drawn_j(np.array(start_s)))

    def drawn_j(self, at_s: Floats) -> Floats:
        """Joules since 0; before it and after the end the device rests."""
        edges, watts = self._pieces
        total = np.concatenate(([0.0], np.cumsum(np.diff(edges) * watts)))
        beyond_s = np.minimum(at_s, 0.0) + np.maximum(at_s - edges[-1], 0.0)
        return np.asarray(np.interp(at_s, edges, total) + self.idle_w * beyond_s)

    def power_w(self, at_s: Floats) -> Floats:
        """Watts at these moments."""
        edges, watts = self._pieces
        padded = np.concatenate(([self.idle_w], watts, [self.idle_w]))
        return padded[np.searchsorted(edges, at_s, side="right")]

    @cached_property
    def _pieces(self) -> tuple[Floats, Floats]:
        """Edges between pieces, and each piece's watts."""
        lengths = np.tile([phase.length_s for phase in self.phases], self.cycles)
        watts = np.tile([phase.watts for phase in self.phases], self.cycles)
        edges = np.cumsum(np.concatenate(([0.0, self.lead_s], lengths, [self.tail_s])))
        return edges, np.concatenate(([self.idle_w], watts, [self.idle_w]))


@dataclass(frozen=True)
class Meter:
    """A meter read every poll_s, give or take 10 %. With an update_s it is a counter.

    averaging_s: 0 if instantaneous. noise_w: standard deviation of each figure. resolution: J or W.
    """

    poll_s: float
    update_s: float = 0.0
    averaging_s: float = 0.0
    noise_w: float = 0.0
    resolution: float = 0.0

    @property
    def info(self) -> SensorInfo:
        """What it says of itself."""
        kind: Kind = "counter" if self.update_s else "power"
        update_s = self.update_s or self.poll_s
        return SensorInfo(
            "simulated", "board input", kind, update_s, self.averaging_s, self.resolution, 0.0,
            (), "simulated",
        )  # fmt: skip

    def timeline(
        self, device: Device, rng: np.random.Generator, also_s: tuple[float, ...] = ()
    ) -> Timeline:
        """Its readings from 0 to the device's end, and at the moments also_s."""
        n = int(device.end_s / (0.9 * self.poll_s)) + 1
        polls = np.cumsum(self.poll_s * rng.uniform(0.9, 1.1, n)) - self.poll_s * rng.uniform()
        polls = np.unique(np.append(polls[(polls >= 0) & (polls <= device.end_s)], also_s))
        figures = self.read(device, polls, rng)
        key = "joules" if self.update_s else "watts"
        readings = (
            Reading(at_s, **{key: figure})
            for at_s, figure in zip(polls.tolist(), figures.tolist(), strict=True)
        )
        return Timeline(self.info, tuple(readings))

    def read(self, device: Device, at_s: Floats, rng: np.random.Generator) -> Floats:
        """Joules or watts at these moments. A counter's updates begin anywhere."""
        if self.update_s:
            begin_s = rng.uniform(0, self.update_s)
            last_s = np.floor((at_s - begin_s) / self.update_s) * self.update_s + begin_s
            return self._stepped(device.drawn_j(last_s) + 1000.0)
        if self.averaging_s:
            grown_j = device.drawn_j(at_s) - device.drawn_j(at_s - self.averaging_s)
            watts = grown_j / self.averaging_s
        else:
            watts = device.power_w(at_s)
        return self._stepped(watts + self.noise_w * rng.standard_normal(len(at_s)))

    def _stepped(self, figures: Floats) -> Floats:
        return (
            np.floor(figures / self.resolution + 0.5 * (not self.update_s)) * self.resolution
            if self.resolution
            else figures
        )


RAPL = Meter(poll_s=0.1, update_s=1e-3, resolution=61e-6)
NVML = Meter(poll_s=0.1, update_s=0.1, resolution=1e-3)
INSTANT = Meter(poll_s=0.1, noise_w=0.15)
INA3221 = Meter(poll_s=0.02, averaging_s=6.6e-3, noise_w=0.02, resolution=0.02)
BOXCAR = Meter(poll_s=0.1, averaging_s=1.0, noise_w=0.02)
