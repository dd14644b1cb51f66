"""How requests come, and how long one waits for those before it on a plan's slowest part.

A score is of one request alone. Where requests come while others are under way they queue at the
slowest tier or link of the plan, in which plans differ. So the last arrivals are played through one
queue that serves each for so long as that part takes (Lindley's recursion).
"""

import math
from dataclasses import dataclass
from itertools import accumulate

from edgesplit.core.changed import changed

_KEPT = 48
_LONGEST_S = 1e6  # for the first one, which came after none
_TELLING = 3  # requests that found others under way, until anything follows from it


@dataclass(frozen=True)
class Arrivals:
    """came: of the last requests, oldest first: (seconds since the one before came, seconds that it
    was under way), at the entry tier.
    """

    came: tuple[tuple[float, float], ...] = ()

    def after(self, gap_s: float, own_s: float) -> "Arrivals":
        """One more request came so long after the one before, and was under way for own_s."""
        return changed(self, came=(*self.came, (min(gap_s, _LONGEST_S), own_s))[-_KEPT:])

    @property
    def ahead(self) -> tuple[int, ...]:
        """How many requests each one found under way."""
        at_s = list(accumulate(gap_s for gap_s, _ in self.came))
        gone_s = [at + own_s for at, (_, own_s) in zip(at_s, self.came, strict=True)]
        return tuple(sum(gone > at for gone in gone_s[:n]) for n, at in enumerate(at_s))

    @property
    def is_crowded(self) -> bool:
        """Whether requests wait for each other. In one pass: thousands of loops ask."""
        at_s = last_s = 0.0
        found = 0
        for gap_s, own_s in self.came:
            at_s += gap_s
            found += last_s > at_s
            last_s = max(last_s, at_s + own_s)
        return found >= _TELLING

    def wait_s(self, service_s: float) -> float:
        """Mean wait of a request if each keeps the slowest part busy for so long.

        A request that found nobody may have waited to be sent until the one before was answered. So
        may all of a caller that keeps a number of them under way: each finds the same number.
        """
        wait_s = total_s = 0.0
        counts = self.ahead
        late = counts[len(counts) // 2 :]
        is_kept = bool(late) and min(late) > 0 and max(late) - min(late) <= 1
        longest_s = max(late) * service_s if is_kept else math.inf
        for (gap_s, _), ahead in zip(self.came, counts, strict=True):
            wait_s = max(0.0, wait_s + service_s - gap_s) if ahead else 0.0
            total_s += min(wait_s, longest_s)
        return total_s / max(1, len(self.came))
