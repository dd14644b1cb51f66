"""Seconds of a range that is run for several requests at once, and how many at once pay.

One run for several requests is a batch. Only what was measured is believed: a run for fewer
requests takes no longer than the next larger one that was measured.
"""

import math
from dataclasses import dataclass
from functools import cached_property

from edgesplit.errors import ProfileError

# Of the seconds per request. Less may be noise, and whoever came first waits for the others' end.
MARGIN = 0.1


@dataclass(frozen=True)
class BatchTimes:
    """measured: (requests, seconds of one run for them), ascending, of one request first.

    Raises ProfileError for anything else.

    Example:
        >>> times = BatchTimes(((1, 0.040), (2, 0.060), (4, 0.160)))
        >>> times.best(4), times.seconds(2)
        (2, 0.06)
    """

    measured: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        sizes = [size for size, _ in self.measured]
        if sizes[:1] != [1] or sizes != sorted(set(sizes)):
            raise ProfileError(f"batches ascend from 1 request, given {sizes}")
        if not all(math.isfinite(seconds) and seconds > 0 for _, seconds in self.measured):
            raise ProfileError(f"a run takes more than 0 s, given {self.measured}")

    @property
    def largest(self) -> int:
        """The most requests at once that were measured."""
        return self.measured[-1][0]

    @property
    def most(self) -> int:
        """The most requests that are worth running at once; 1 where none are."""
        return self.best(self.largest)

    def seconds(self, requests: int) -> float:
        """Of one run for so many, at most. Raises ProfileError for more than were measured."""
        if not 1 <= requests <= self.largest:
            raise ProfileError(f"1 to {self.largest} requests at once, given {requests}")
        return self._seconds[requests]

    def best(self, waiting: int) -> int:
        """How many of those that wait to run at once, so that each takes the least seconds.

        1 where nothing gains more than MARGIN. Of two numbers as good the smaller one.
        """
        return self._best[min(max(waiting, 1), self.largest)]

    def pays(self, requests: int) -> bool:
        """Whether so many at once take over MARGIN less per request than one alone."""
        return self.seconds(requests) / requests < (1 - MARGIN) * self._seconds[1]

    def total_s(self, requests: int) -> float:
        """Of so many requests in the runs that take least together, of any number of them."""
        totals = [0.0]
        for left in range(1, requests + 1):
            sizes = range(1, min(left, self.largest) + 1)
            able = [size for size in sizes if size == 1 or self.pays(size)]
            totals.append(min(self._seconds[size] + totals[left - size] for size in able))
        return totals[requests]

    def scaled(self, factor: float) -> "BatchTimes":
        """Those of a tier that is slower by that factor."""
        return BatchTimes(tuple((size, seconds * factor) for size, seconds in self.measured))

    @cached_property
    def _seconds(self) -> list[float]:
        """By number of requests; the place of 0 is empty."""
        seconds = [0.0]
        for size, of_run in self.measured:
            seconds += [of_run] * (size + 1 - len(seconds))
        return seconds

    @cached_property
    def _best(self) -> list[int]:
        """By number of requests that wait."""
        best = [1, 1]
        for size in range(2, self.largest + 1):
            before = best[-1]
            gains = self._seconds[size] / size < self._seconds[before] / before
            best.append(size if gains and self.pays(size) else before)
        return best
