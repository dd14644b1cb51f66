"""A counter as it is seen through readings: steps, each seen late. Energy between two moments.

A counter moves every `update_s`, so a reading tells the energy of up to that long ago. Only
readings at which it had moved are used; between them energy is taken to grow evenly.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.errors import MeterError

Floats = NDArray[np.float64]
# A burst that no reading shows is taken to draw at most this many times what is seen around it. An
# assumption: it bounds what may have happened between an edge and a reading.
BURST = 4.0
AROUND = 2  # intervals on each side that show how power varies
STANDS = 2.0  # updates without a step after which a counter is believed to stand still


@dataclass(frozen=True)
class Staircase:
    """Energy at the moments at_s (joules, corrected for lateness) and its u_j, each by itself.

    slopes_w: the mean power between neighbours. update_s: between two moves of the counter.
    """

    at_s: Floats
    joules: Floats
    u_j: Floats
    slopes_w: Floats
    update_s: float

    def energy(self, start_s: float, stop_s: float) -> tuple[float, float]:
        """Joules between two moments and their standard uncertainty."""
        share = self._shares(stop_s) - self._shares(start_s)
        joules = float(share @ self.joules)
        # Within one update a burst may draw several times what the counter shows around it.
        is_short = stop_s - start_s < self.update_s
        hidden = (BURST - 1) * (1 - (stop_s - start_s) / self.update_s) if is_short else 0.0
        u_j = math.hypot(
            float(np.linalg.norm(share * self.u_j)),
            self._between(start_s, stop_s),
            hidden * joules / math.sqrt(3),
        )
        return joules, u_j

    def _shares(self, at_s: float) -> Floats:
        """How much each moment's joules count in the energy at `at_s`; a straight line."""
        i = self._interval(at_s)
        along = (at_s - self.at_s[i]) / (self.at_s[i + 1] - self.at_s[i])
        shares = np.zeros(len(self.at_s))
        shares[i], shares[i + 1] = 1 - along, along
        return shares

    def _interval(self, at_s: float) -> int:
        found = int(np.searchsorted(self.at_s, at_s, side="right")) - 1
        return min(max(found, 0), len(self.at_s) - 2)

    def _between(self, start_s: float, stop_s: float) -> float:
        """What uneven growth between two readings may do to the energy, joules (k=1)."""
        i = self._interval(start_s)
        if i == self._interval(stop_s) and self.at_s[i] <= start_s and stop_s <= self.at_s[i + 1]:
            return self._burst(i, stop_s - start_s)
        return self._uneven(start_s) + self._uneven(stop_s)

    def _uneven(self, at_s: float) -> float:
        """At one moment: the error of the straight line through the readings around it."""
        i = self._interval(at_s)
        since_s, until_s = at_s - self.at_s[i], self.at_s[i + 1] - at_s
        beyond_s = max(-since_s, -until_s)
        if beyond_s > 0:  # outside of the steps; the power is that of the last one, or none
            return float(self.slopes_w[i] * beyond_s) / math.sqrt(3)
        return self._burst(i, min(since_s, until_s))

    def _burst(self, i: int, near_s: float) -> float:
        """What a burst inside an interval may add or leave out within near_s of its length."""
        length_s = float(self.at_s[i + 1] - self.at_s[i])
        around_w = self.slopes_w[max(i - AROUND, 0) : i + AROUND + 1]
        spread_j = float(np.ptp(around_w)) * max(near_s, length_s - near_s)
        return min(spread_j, BURST * float(np.max(around_w)) * near_s) / math.sqrt(3)


def staircase(at_s: Floats, joules: Floats, update_s: float, resolution_j: float) -> Staircase:
    """The steps of a counter that was read at at_s. Raises MeterError where it never moved."""
    seen, late_s = _steps(at_s, joules, update_s)
    if len(seen) < 2 or joules[seen[0]] == joules[seen[-1]]:
        raise MeterError(
            f"the counter did not move in {at_s[-1] - at_s[0]:.3g} s, so no energy is known; "
            f"it moves every {update_s:g} s",
            "read it for longer",
        )
    at_s, joules = at_s[seen], joules[seen]
    slopes_w = np.diff(joules) / np.diff(at_s)
    # What is missing at a reading was drawn just before it. Before the first one nothing is known.
    before_w, after_w = np.append(slopes_w[0], slopes_w), np.append(slopes_w, slopes_w[-1])
    joules = joules + before_w * late_s / 2
    late_j = np.maximum(before_w, after_w) * late_s
    u_j = np.hypot(late_j, resolution_j) / math.sqrt(12)
    return Staircase(at_s, joules, u_j, np.diff(joules) / np.diff(at_s), update_s)


def _steps(at_s: Floats, joules: Floats, update_s: float) -> tuple[list[int], Floats]:
    """Readings at which the counter had moved, and how late each may be at most, seconds.

    A reading after a standstill counts too: meanwhile nothing was drawn that the counter shows.
    """
    seen, late_s = [0], [update_s]
    for i in range(1, len(at_s)):
        has_moved = joules[i] > joules[i - 1]
        has_stood = at_s[i] - at_s[seen[-1]] > STANDS * update_s
        if at_s[i] > at_s[seen[-1]] and (has_moved or has_stood):
            seen.append(i)
            late_s.append(min(update_s, at_s[i] - at_s[i - 1]))
    return seen, np.array(late_s)
