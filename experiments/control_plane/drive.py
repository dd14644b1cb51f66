"""Many loops on one core: samples, answers and ticks in the order in which they fall due.

Processor times are measured; waiting follows from them, as on a core that does nothing else. So
neither the simulated callers nor other work on this machine delay the loops.
"""

import heapq
import time
from dataclasses import dataclass, field, replace

import numpy as np

from edgesplit.core.control.event import Activate, Event, Observed, Prepare, Tick
from experiments.control_plane.session import SimulatedSession

TICK_S = 0.1  # loops that have something due are looked for so often
BATCH_S = 0.05  # samples of a caller wait so long for others, as in cluster/session/watch.py
EVERYBODY = -1


@dataclass
class Driven:
    """What came of it. Seconds; cpu_s: of `step`, `next_due_s` and looking for what is due."""

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
        self._free_s = 0.0  # when the core has done what it was given
        self._changed_s: dict[int, float] = {}  # sessions whose link has changed and not the plan
        self._shown: dict[int, int] = {}
        self._asked_s: dict[int, float] = {}  # when the event was due that led to what is prepared

    def run(self, seconds: float, change_s: dict[int, float]) -> Driven:
        """For so long, each session's link changing when it is said to."""
        generator = np.random.default_rng(0)
        first_s = self._free_s = max(session.state.now_s for session in self._sessions)
        for number in range(len(self._sessions)):
            self._put(first_s + float(generator.uniform(0.0, self._gap_s)), number, None)
        changes = sorted((first_s + at_s, number) for number, at_s in change_s.items())
        self._put(first_s + TICK_S, EVERYBODY, None)
        while self._queue[0][0] <= first_s + seconds:
            due_s, _, number, event = heapq.heappop(self._queue)
            while changes and changes[0][0] <= due_s:
                self._change(*changes.pop(0))
            if number == EVERYBODY:
                self._tick(due_s)
            elif event is None:  # a request is over; the loop hears of it a batch later
                self._put(due_s + self._gap_s, number, None)
                at_s = due_s + BATCH_S
                self._put(at_s, number, self._sessions[number].observed(at_s))
            else:
                self._take(number, event, due_s)
        return self.result

    def _change(self, at_s: float, number: int) -> None:
        if self._sessions[number].slow_down():
            self._changed_s[number], self._shown[number] = at_s, 0

    def _tick(self, due_s: float) -> None:
        now_s, cpu_s = max(due_s, self._free_s), time.thread_time()
        due = [n for n, session in enumerate(self._sessions) if session.due_s <= now_s]
        self._spend(now_s, time.thread_time() - cpu_s)
        for number in due:
            self.result.ticks += 1
            self._take(number, Tick(now_s), due_s)
        self._put(max(due_s + TICK_S, self._free_s), EVERYBODY, None)

    def _take(self, number: int, event: Event, due_s: float) -> None:
        session, now_s = self._sessions[number], max(due_s, self._free_s)
        if isinstance(event, Observed):
            self.result.requests += 1
            self._shown[number] = self._shown.get(number, 0) + 1
        event = replace(event, at_s=now_s)  # when it is taken, as the scheduler does
        cpu_s = time.thread_time()
        actions = session.take(event)
        self._spend(now_s, time.thread_time() - cpu_s)
        self.result.events += 1
        self.result.took_s.append(self._free_s - due_s)
        for action in actions:
            if isinstance(action, Prepare):
                self._asked_s[number] = due_s
            if isinstance(action, Activate):
                self._activated(number)
            for answer in session.answers(action, self._free_s):
                self._put(answer.at_s, number, answer)

    def _spend(self, now_s: float, cpu_s: float) -> None:
        self.result.cpu_s += cpu_s
        self._free_s = now_s + cpu_s

    def _activated(self, number: int) -> None:
        if number in self._changed_s:
            self.result.decided_s.append(self._free_s - self._asked_s.pop(number))
            self.result.changed_s.append(self._free_s - self._changed_s.pop(number))
            self.result.seen.append(self._shown.pop(number))

    def _put(self, at_s: float, number: int, event: Event | None) -> None:
        heapq.heappush(self._queue, (at_s, self._count, number, event))
        self._count += 1
