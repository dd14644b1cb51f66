"""Drive many loops in real time from one thread: samples, answers and ticks as they fall due."""

import heapq
import time
from dataclasses import dataclass, field

import numpy as np

from edgesplit.core.control.event import Activate, Event, Observed, Prepare, Tick
from experiments.control_plane.session import SimulatedSession

TICK_S = 0.1  # loops that have something due are looked for so often
BATCH_S = 0.05  # samples of a caller wait so long for others, as in cluster/session/watch.py


@dataclass
class Driven:
    """What came of it. Seconds; cpu_s: of `step` and `next_due_s`, this thread's processor time."""

    cpu_s: float = 0.0
    events: int = 0
    ticks: int = 0
    requests: int = 0
    took_s: list[float] = field(default_factory=list)  # event due until its actions are known
    decided_s: list[float] = field(default_factory=list)  # event that led to a plan until Activate
    changed_s: list[float] = field(default_factory=list)  # link changed until Activate
    seen: list[int] = field(default_factory=list)  # requests that showed it by then


class Driver:
    """One run. Times are seconds on the loops' clock, which goes on from the last event of any."""

    def __init__(self, sessions: list[SimulatedSession], requests_per_s: float) -> None:
        self.result = Driven()
        self._sessions, self._gap_s = sessions, 1 / requests_per_s
        self._queue: list[tuple[float, int, int, Event | None]] = []
        self._count = 0
        self._changed_s: dict[int, float] = {}  # sessions whose link has changed and not the plan
        self._shown: dict[int, int] = {}
        self._asked_s: dict[int, float] = {}  # when the event was due that led to what is prepared

    def run(self, seconds: float, change_s: dict[int, float]) -> Driven:
        """For so long, each session's link changing when it is said to."""
        generator = np.random.default_rng(0)
        first_s = max(session.state.now_s for session in self._sessions)
        for number in range(len(self._sessions)):
            self._put(first_s + float(generator.uniform(0.0, self._gap_s)), number, None)
        changes = sorted((first_s + at_s, number) for number, at_s in change_s.items())
        began_s, next_tick_s = time.perf_counter() - first_s, first_s + TICK_S
        while (now_s := time.perf_counter() - began_s) < first_s + seconds:
            while changes and changes[0][0] <= now_s:
                _, number = changes.pop(0)
                if self._sessions[number].slow_down():
                    self._changed_s[number], self._shown[number] = now_s, 0
            if now_s >= next_tick_s:
                next_tick_s += TICK_S
                self._tick(now_s, began_s)
            elif self._queue and self._queue[0][0] <= now_s:
                due_s, _, number, event = heapq.heappop(self._queue)
                self._happen(due_s, number, event, began_s)
            else:
                until_s = min(next_tick_s, self._queue[0][0] if self._queue else next_tick_s)
                time.sleep(max(0.0, until_s - now_s))
        return self.result

    def _happen(self, due_s: float, number: int, event: Event | None, began_s: float) -> None:
        """event None: a request of that session is over; the loop hears of it a batch later."""
        session = self._sessions[number]
        if event is None:
            self._put(due_s + self._gap_s, number, None)
            self._put(due_s + BATCH_S, number, session.observed(due_s + BATCH_S))
            return
        if isinstance(event, Observed):
            self.result.requests += 1
            if number in self._shown:
                self._shown[number] += 1
        self._take(number, event, due_s, began_s)

    def _tick(self, now_s: float, began_s: float) -> None:
        for number, session in enumerate(self._sessions):
            if session.due_s <= now_s:
                self.result.ticks += 1
                self._take(number, Tick(now_s), now_s, began_s)

    def _take(self, number: int, event: Event, due_s: float, began_s: float) -> None:
        session = self._sessions[number]
        # An event is given the time at which it is taken, as the scheduler does.
        now_s = time.perf_counter() - began_s
        object.__setattr__(event, "at_s", max(now_s, session.state.now_s))
        cpu_s = time.thread_time()
        actions = session.take(event)
        self.result.cpu_s += time.thread_time() - cpu_s
        done_s = time.perf_counter() - began_s
        self.result.events += 1
        self.result.took_s.append(done_s - due_s)
        for action in actions:
            if isinstance(action, Prepare):
                self._asked_s[number] = due_s
            if isinstance(action, Activate):
                self._activated(number, done_s)
            for answer in session.answers(action, done_s):
                self._put(answer.at_s, number, answer)

    def _activated(self, number: int, done_s: float) -> None:
        if number in self._changed_s:
            self.result.decided_s.append(done_s - self._asked_s.pop(number))
            self.result.changed_s.append(done_s - self._changed_s.pop(number))
            self.result.seen.append(self._shown.pop(number))

    def _put(self, at_s: float, number: int, event: Event | None) -> None:
        heapq.heappush(self._queue, (at_s, self._count, number, event))
        self._count += 1
