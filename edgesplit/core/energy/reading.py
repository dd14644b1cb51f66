"""What a sensor says at one moment, and cumulative counters made monotone."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgesplit.errors import MeterError


@dataclass(frozen=True)
class Reading:
    """One reading. at_s: a monotonic clock's. One of joules (of a counter, since any moment, never
    falling) and watts (of a power sensor). parts: the same figure per rail, package or GPU.

    is_break: the energy between the reading before and this one is not known (a counter was reset).
    """

    at_s: float
    joules: float | None = None
    watts: float | None = None
    parts: Mapping[str, float] = field(default_factory=dict)
    is_break: bool = False

    def __post_init__(self) -> None:
        value = self.joules if self.watts is None else self.watts
        if (self.joules is None) == (self.watts is None) or not math.isfinite(value or 0.0):
            raise MeterError(
                f"a reading holds finite joules or watts, given {self.joules} J and {self.watts} W"
            )


@dataclass(frozen=True)
class Counter:
    """A counter that wraps at `range_j`, or never where that is infinite, as a monotone total.

    A step that would need more than `most_w` all the time is no wrap but a reset, as after a
    suspend; so is silence for so long that the counter may have wrapped twice. is_broken: between
    the last two readings, so the energy between them is not known and total_j stands still.
    """

    range_j: float
    most_w: float = 2000.0
    total_j: float = 0.0
    last_j: float | None = None
    at_s: float = 0.0
    is_broken: bool = False

    def advance(self, raw_j: float, at_s: float) -> "Counter":
        """The counter after a reading. Raises MeterError where time runs backwards."""
        if self.last_j is None:
            return replace(self, last_j=raw_j, at_s=at_s)
        if at_s < self.at_s:
            raise MeterError(f"a reading at {at_s} s comes after one at {self.at_s} s")
        step_j = raw_j - self.last_j
        if step_j < 0 and math.isfinite(self.range_j):
            step_j += self.range_j
        most_j = self.most_w * (at_s - self.at_s) + self.most_w  # a second's slack for late reads
        if step_j < 0 or step_j > most_j or most_j >= self.range_j:
            return replace(self, last_j=raw_j, at_s=at_s, is_broken=True)
        total_j = self.total_j + step_j
        return replace(self, total_j=total_j, last_j=raw_j, at_s=at_s, is_broken=False)


@dataclass(frozen=True)
class Counters:
    """Counters that are read together, each by the name of its part; their sum is the source's."""

    by_part: Mapping[str, Counter]

    def advance(self, raws_j: Mapping[str, float], at_s: float) -> "Counters":
        """All of them after a reading of each. Raises MeterError where time runs backwards."""
        counters = self.by_part.items()
        return Counters({name: one.advance(raws_j[name], at_s) for name, one in counters})

    def reading(self, at_s: float) -> Reading:
        """Joules since the first advance; a break where any counter was reset."""
        parts = {name: counter.total_j for name, counter in self.by_part.items()}
        is_break = any(counter.is_broken for counter in self.by_part.values())
        return Reading(at_s, joules=sum(parts.values()), parts=parts, is_break=is_break)
