"""How requests come, and how long one waits for those before it on a plan's slowest part.

A score is of one request alone. Where requests come while others are under way they queue at the
slowest tier or link of the plan, in which plans differ. So the last arrivals are played through one
queue that serves each for so long as that part takes (Lindley's recursion).

On a quicker plan the same requests may find nobody, which says nothing of the slower one. So a
crowd is remembered for a while, and for longer where it comes back.
"""

import math
from dataclasses import dataclass
from itertools import accumulate

from edgesplit.core.changed import changed

_KEPT, _OLD_S = 48, 60.0  # requests, and how long ago the oldest may have come back
_TELLING = 3  # requests that waited for others, until anything follows from it
_QUEUED = 0.05  # of its time that one waited in a tier's queue, if it did
_HOLD_S, _LONGEST_HOLD_S = 30.0, 600.0
_SHORTEST_S = 1e-6  # between two that come back at once
_LONGEST_S = 1e6  # for the first one, which came after none


@dataclass(frozen=True)
class Arrival:
    """One request, at the entry tier.

    at_s: when it came back. gap_s: since the one before came. own_s: that it was under way.
    has_waited: in the queue of any tier.
    """

    at_s: float
    gap_s: float
    own_s: float
    has_waited: bool


@dataclass(frozen=True)
class Arrivals:
    """last: of the last requests, oldest first. crowd: the same when they waited for each other
    last, which counts until until_s. hold_s: for how long that is.
    """

    last: tuple[Arrival, ...] = ()
    crowd: tuple[Arrival, ...] = ()
    until_s: float = -math.inf
    hold_s: float = _HOLD_S

    def after(self, at_s: float, gap_s: float, own_s: float, queue_s: float) -> "Arrivals":
        """One more request came back at at_s.

        queue_s: that it waited in the queues of tiers. Where none did, arrivals that seem close may
        be those of other workloads on the same connection. Once some did it is a crowd for as long
        as requests find others: on another plan they may wait for links, which nobody measures.
        """
        arrival = Arrival(at_s, min(gap_s, _LONGEST_S), own_s, queue_s > _QUEUED * own_s)
        last = tuple(one for one in self.last if one.at_s > at_s - _OLD_S)
        last = (*last, arrival)[-_KEPT:]
        is_new = at_s > self.until_s
        if not _find_others(last, who_waited=is_new):
            return changed(self, last=last)
        hold_s = self.hold_s
        if is_new:
            has_come_back = at_s < self.until_s + 2 * hold_s
            hold_s = min(_LONGEST_HOLD_S, 2 * hold_s) if has_come_back else _HOLD_S
        return Arrivals(last, last, at_s + hold_s, hold_s)

    @property
    def is_crowded(self) -> bool:
        """Whether requests wait for each other, or did until a while ago."""
        return bool(self.last) and self.last[-1].at_s < self.until_s

    @property
    def mean_gap_s(self) -> float | None:
        """Between two of the last requests; None before the second."""
        if len(self.last) < 2:
            return None
        return max(_SHORTEST_S, (self.last[-1].at_s - self.last[0].at_s) / (len(self.last) - 1))

    def wait_s(self, service_s: float) -> float:
        """Mean wait of a request of a crowd if each keeps the slowest part busy for so long.

        A request that found nobody may have waited to be sent until the one before was answered. So
        may all of a caller that keeps a number of them under way: each finds the same number.
        """
        wait_s = total_s = 0.0
        counts = ahead(self.crowd)
        late = counts[len(counts) // 2 :]
        is_kept = bool(late) and min(late) > 0 and max(late) - min(late) <= 1
        longest_s = max(late) * service_s if is_kept else math.inf
        for one, count in zip(self.crowd, counts, strict=True):
            wait_s = max(0.0, wait_s + service_s - one.gap_s) if count else 0.0
            total_s += min(wait_s, longest_s)
        return total_s / max(1, len(self.crowd))


def ahead(arrivals: tuple[Arrival, ...]) -> tuple[int, ...]:
    """How many of those before it each one found under way."""
    at_s = list(accumulate(one.gap_s for one in arrivals))
    gone_s = [at + one.own_s for at, one in zip(at_s, arrivals, strict=True)]
    return tuple(sum(gone > at for gone in gone_s[:n]) for n, at in enumerate(at_s))


def _find_others(arrivals: tuple[Arrival, ...], who_waited: bool) -> bool:
    """Whether enough of them, and the last one, found others under way.

    who_waited: and waited in a queue. In one pass: all loops ask.
    """
    at_s = last_s = 0.0
    found, does = 0, False
    for one in arrivals:
        at_s += one.gap_s
        does = last_s > at_s and (one.has_waited or not who_waited)
        found += does
        last_s = max(last_s, at_s + one.own_s)
    return does and found >= _TELLING
