"""Power as it is seen through samples. Energy between two moments: straight lines between them.

A sample that is averaged over a window counts at the middle of that window.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.energy.staircase import BURST, Floats

JUMP = 6.0  # a change of this many median changes is a change of power, not scatter
FEW = 4  # with fewer samples inside, their scatter tells nothing
GAP = 3.0  # a gap of this many usual ones hides what happened in it


@dataclass(frozen=True)
class PowerReadings:
    """Watts at the moments at_s; averaging_s: over how long each is averaged, resolution: watts."""

    at_s: Floats
    watts: Floats
    averaging_s: float
    resolution: float

    def energy(self, start_s: float, stop_s: float) -> tuple[float, float, tuple[str, ...]]:
        """Joules between two moments, their standard uncertainty, and what to know of them."""
        inside = self._inside(start_s, stop_s)
        at_s = np.concatenate(([start_s], self.at_s[inside], [stop_s]))
        joules = float(np.trapezoid(np.interp(at_s, self.at_s, self.watts), at_s))
        u_j = math.hypot(
            self._scatter(start_s, stop_s) * _widening(int(np.count_nonzero(inside))),
            self._blind_s(start_s, stop_s) * self._range_w(self.at_s >= -math.inf) / math.sqrt(12),
            self._smear(start_s, stop_s),
            self._hidden_share(start_s, stop_s) * joules / math.sqrt(3),
            (stop_s - start_s) * self.resolution / math.sqrt(12),
        )
        return joules, u_j, self._flags(start_s, stop_s)

    def _inside(self, start_s: float, stop_s: float) -> NDArray[np.bool_]:
        return (self.at_s > start_s) & (self.at_s < stop_s)

    def _scatter(self, start_s: float, stop_s: float) -> float:
        """Noise of samples, and power that changed at an unknown moment between two, joules.

        A window mostly begins and ends where power changes, and a straight line errs the same way
        at both ends: those two add up plainly.
        """
        if len(self.at_s) < 2:
            return 0.0
        overlap_s = np.minimum(self.at_s[1:], stop_s) - np.maximum(self.at_s[:-1], start_s)
        each_j = np.sqrt(self._variances()) * np.maximum(overlap_s, 0)
        is_edge = overlap_s < np.diff(self.at_s)
        return math.hypot(float(np.linalg.norm(each_j[~is_edge])), float(each_j[is_edge].sum()))

    def _variances(self) -> Floats:
        """Of the mean power between two neighbours, from how much they differ, W squared.

        Independent samples differ by sqrt(2) of their scatter. A lone jump is a change that came
        anywhere between the two: a rectangle as wide as the jump. A spike, two jumps in a row, may
        have been as long as the gap or a moment: it counts as scatter of its own.
        """
        change_w = np.abs(np.diff(self.watts))
        is_jump = change_w > np.maximum(JUMP * np.median(change_w), self.resolution)
        calm = change_w[~is_jump]
        noise = float(np.mean(calm**2)) / 2 if len(calm) else 0.0
        beside = np.append(False, is_jump[:-1]) | np.append(is_jump[1:], False)
        return noise + np.where(is_jump, change_w**2 / np.where(beside, 2, 12), 0)

    def _blind_s(self, start_s: float, stop_s: float) -> float:
        """Seconds of which no sample tells: a window too short, long gaps, beyond the ends."""
        if np.count_nonzero(self._inside(start_s, stop_s)) < FEW:
            return stop_s - start_s
        gaps_s = np.diff(self.at_s)
        overlap_s = np.minimum(self.at_s[1:], stop_s) - np.maximum(self.at_s[:-1], start_s)
        is_long = (gaps_s > GAP * np.median(gaps_s)) & (overlap_s > 0)
        beyond_s = max(self.at_s[0] - start_s, 0.0) + max(stop_s - self.at_s[-1], 0.0)
        return float(np.sum(overlap_s[is_long]) + beyond_s)

    def _smear(self, start_s: float, stop_s: float) -> float:
        """What averaging moves over the window's edges, joules.

        Where the power changes by D over the averaging window T around an edge, up to D T may lie
        on its wrong side.
        """
        changes_w = sum(self._range_near(edge_s) for edge_s in (start_s, stop_s))
        return self.averaging_s * changes_w / math.sqrt(12)

    def _hidden_share(self, start_s: float, stop_s: float) -> float:
        """How much of the energy may come or go without any sample that shows it.

        Without a sample inside, a burst may draw several times what is seen around; one sample
        stands for a part only. A window shorter than the average is hardly seen apart from what
        ran before it.
        """
        n = np.count_nonzero(self._inside(start_s, stop_s))
        if n < FEW:
            return float((BURST - 1) / (1 + n) ** 2)
        return 1 - min(1.0, (stop_s - start_s) / self.averaging_s) if self.averaging_s else 0.0

    def _range_near(self, edge_s: float) -> float:
        """How far the samples around an edge lie apart, watts."""
        near_s = max(self.averaging_s, float(np.min(np.abs(self.at_s - edge_s))))
        return self._range_w(np.abs(self.at_s - edge_s) <= near_s)

    def _range_w(self, chosen: NDArray[np.bool_]) -> float:
        return float(np.ptp(self.watts[chosen]))

    def _flags(self, start_s: float, stop_s: float) -> tuple[str, ...]:
        flags = []
        length_s, n = stop_s - start_s, np.count_nonzero(self._inside(start_s, stop_s))
        if n < FEW:
            flags.append(f"{n} readings inside {length_s:.3g} s: power around it, not in it")
        if length_s < self.averaging_s:
            flags.append(
                f"{length_s:.3g} s is shorter than the meter's average over {self.averaging_s:g} s"
            )
        return tuple(flags)


def _widening(n: int) -> float:
    """For a scatter that is known from n samples only (JCGM 101:2008, 6.4.9.4)."""
    return math.sqrt((n - 1) / (n - 3)) if n >= FEW else 1.0
