"""Time, and what takes one thing at a time: a tier's computing, one direction of a link.

First come, first served. Nothing is known here of requests.
"""

import heapq
import math
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import dataclass

from experiments.head_to_head.flow import Flow

Act = Callable[[], None]


class Clock:
    """What is due, in order of time; within one instant, first come, first served."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self._due: list[tuple[float, int, Act]] = []
        self._count = 0

    def at(self, at_s: float, act: Act) -> None:
        """Do that then; at once, where that is past."""
        if at_s < math.inf:
            heapq.heappush(self._due, (max(at_s, self.now_s), self._count, act))
            self._count += 1

    def turn(self) -> None:
        """Do what is due next."""
        self.now_s, _, act = heapq.heappop(self._due)
        act()


@dataclass(eq=False)
class Work:
    """One thing that a station is to do. amount: seconds of a tier as profiled, or bytes.

    done: called at its end, unless it was dropped. owner: who is told to have taken the time.
    spent: called with the seconds that it took in the end, dropped or not.
    """

    owner: str
    amount: float
    done: Act
    spent: Callable[[float], None]
    asked_s: float = 0.0
    began_s: float = math.inf
    is_over: bool = False

    @property
    def waited_s(self) -> float:
        """Before it began."""
        return self.began_s - self.asked_s


class Station:
    """Does one thing after the other, as quickly as its flow lets it."""

    def __init__(self, clock: Clock, flow: Flow) -> None:
        self.flow = flow
        self.worked_s: dict[str, float] = defaultdict(float)
        self.waited_s: dict[str, float] = defaultdict(float)
        self._clock = clock
        self._running: Work | None = None
        self._waiting = deque[Work]()

    @property
    def is_busy(self) -> bool:
        """Whether it does anything now."""
        return self._running is not None

    def take(self, work: Work) -> None:
        """Do that, after what came before."""
        work.asked_s = self._clock.now_s
        self._waiting.append(work)
        if self._running is None:
            self._next()

    def drop(self, work: Work) -> None:
        """Do not begin that, or end it now."""
        if not work.is_over:
            work.is_over = True
            if self._running is work:
                self._end(work)

    def left(self, work: Work, at_s: float) -> float:
        """What was left then of that and of what is before it; what is over now counts as gone."""
        left, running = 0.0, self._running
        if work.is_over:
            return 0.0
        if running is not None:
            left = running.amount
            if at_s > running.began_s:
                left -= self.flow.through(at_s) - self.flow.through(running.began_s)
        if running is work:
            return max(0.0, left)
        for other in self._waiting:
            left += 0.0 if other.is_over else other.amount
            if other is work:
                break
        return left

    def _next(self) -> None:
        while self._waiting:
            work = self._waiting.popleft()
            if not work.is_over:
                self._begin(work)
                return

    def _begin(self, work: Work) -> None:
        self._running, work.began_s = work, self._clock.now_s
        self.waited_s[work.owner] += work.waited_s
        self._clock.at(self.flow.done_s(work.began_s, work.amount), lambda: self._finish(work))

    def _finish(self, work: Work) -> None:
        if not work.is_over:
            work.is_over = True
            self._end(work)
            work.done()

    def _end(self, work: Work) -> None:
        seconds = self._clock.now_s - work.began_s
        self.worked_s[work.owner] += seconds
        self._running = None
        work.spent(seconds)
        self._next()
