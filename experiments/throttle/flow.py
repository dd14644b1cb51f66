"""Requests that flow one after another while the wide link changes, and who watches the plan."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from edgesplit import EdgeSplit, Plan
from edgesplit.testbed.rate import parse_rate, rate_text
from experiments.shared.answer import ask
from experiments.shared.repeating import Repeating
from experiments.shared.scene import Scene, wide_pairs
from experiments.throttle.timeline import (
    NOMINAL,
    RESTORED,
    STEADY,
    THROTTLED,
    Run,
    Sent,
    Switch,
    payload_into,
)

LOOK_S = 0.02  # between two looks at the plan in force: how late a switch may be seen
REDRAW_S = 1.0


@dataclass(frozen=True)
class Course:
    """What the wide link does. Rates as text; a phase lasts until the plan stands still.

    requests: a phase has at least so many. steady_s: so long without a switch is standing still.
    limit_s: the most a phase may last; where a switch must come, it is waited for so long.
    sigma: of the lognormal factor on the nominal rate while the link is steady but noisy.
    """

    nominal: str
    throttled: str
    requests: int
    steady_s: float
    limit_s: float
    sigma: float


@dataclass(frozen=True)
class SteadyRun:
    """Requests over a link that was steady but noisy. rates: every one drawn, in bytes/s."""

    run: Run
    rates: tuple[float, ...]


class PlanObserver:
    """A thread that sees which plan the caller's next request would use, and since when."""

    def __init__(self, split: EdgeSplit, began_s: float) -> None:
        self._split = split
        self._began_s = began_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="plan-observer", daemon=True)
        self.switches = [Switch(0.0, str(self._plan), "at the beginning")]

    def __enter__(self) -> "PlanObserver":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join()

    def now_s(self) -> float:
        """Seconds since the run began."""
        return time.perf_counter() - self._began_s

    def _run(self) -> None:
        plan = self._plan
        while not self._stopped.wait(LOOK_S):
            if self._plan != plan:
                at_s, plan = self.now_s(), self._plan
                self.switches.append(Switch(at_s, str(plan), self._split.switches[-1][2]))

    @property
    def _plan(self) -> Plan:
        plan = self._split.plan
        assert plan is not None, "a request was sent before"
        return plan


class Flow:
    """One session on one scene, used by requests one after another with the same input."""

    def __init__(self, split: EdgeSplit, scene: Scene, x: Any, course: Course) -> None:
        self._split = split
        self._scene = scene
        self._x = x
        self._course = course

    @cached_property
    def _pairs(self) -> list[str]:
        return wide_pairs(self._split.profile)

    def shape(self, rate: str) -> float:
        """Hold every link into the last tier to a rate; time.perf_counter() when all are."""
        return max([self._scene.shape(pair, rate) for pair in self._pairs])

    def play(self, number: int) -> Run:
        """Nominal, throttled, restored: each until the plan stands still."""
        course = self._course
        phases = {NOMINAL: course.nominal, THROTTLED: course.throttled, RESTORED: course.nominal}
        began_s = time.perf_counter()
        changed_s, requests = dict[str, float](), list[Sent]()
        with PlanObserver(self._split, began_s) as observer:
            for phase, rate in phases.items():
                is_awaited = self._is_switch_awaited(phase, observer.switches, changed_s)
                changed_s[phase] = self.shape(rate) - began_s
                requests += self._until_steady(phase, observer, changed_s[phase], is_awaited)
        return self._run(number, changed_s, observer, requests)

    def play_steady(self, seconds: float, seed: int, advance: Callable[[], None]) -> SteadyRun:
        """Requests for so long over a noisy link, once the plan stands still at the nominal rate.

        advance() is called after each rate drawn, on a thread of its own.
        """
        rates, drawn = self._rates(seed), list[float]()

        def redraw() -> None:
            drawn.append(next(rates))
            self.shape(rate_text(drawn[-1]))
            advance()

        began_s = time.perf_counter()
        with PlanObserver(self._split, began_s) as observer:
            changed_s = {NOMINAL: self.shape(self._course.nominal) - began_s}
            requests = self._until_steady(NOMINAL, observer, changed_s[NOMINAL], False)
            changed_s[STEADY] = observer.now_s()
            with Repeating(redraw, REDRAW_S, "noisy-link", first_s=REDRAW_S):
                while observer.now_s() < changed_s[STEADY] + seconds:
                    requests.append(self._send(STEADY, observer))
        self.shape(self._course.nominal)
        return SteadyRun(self._run(0, changed_s, observer, requests), tuple(drawn))

    def _rates(self, seed: int) -> Iterator[float]:
        """The nominal rate times lognormal noise, without an end."""
        nominal, rng = parse_rate(self._course.nominal), np.random.default_rng(seed)
        while True:
            yield nominal * float(rng.lognormal(0.0, self._course.sigma))

    def _is_switch_awaited(
        self, phase: str, switches: Sequence[Switch], changed_s: Mapping[str, float]
    ) -> bool:
        """Whether another plan must come: not where the one before does without the wide link."""
        if phase == THROTTLED:
            return self._payload_bytes(switches[-1].plan) > 0
        return phase == RESTORED and switches[-1].at_s > changed_s[THROTTLED]

    def _until_steady(
        self, phase: str, observer: PlanObserver, begin_s: float, is_awaited: bool
    ) -> list[Sent]:
        """Requests until there are enough and the plan stands still, or the limit is reached."""
        course, sent = self._course, list[Sent]()
        while observer.now_s() < begin_s + course.limit_s:
            sent.append(self._send(phase, observer))
            last_s = observer.switches[-1].at_s
            is_settled = observer.now_s() >= max(begin_s, last_s) + course.steady_s
            has_come = last_s > begin_s or not is_awaited
            if len(sent) >= course.requests and is_settled and has_come:
                break
        return sent

    def _send(self, phase: str, observer: PlanObserver) -> Sent:
        sent_s = observer.now_s()
        return Sent(phase, sent_s, ask(self._split, self._x))

    def _payload_bytes(self, plan: str) -> int:
        graph, tiers = self._split.graph, self._scene.config().tiers
        return payload_into(tiers[-1], plan, graph)

    def _run(
        self,
        number: int,
        changed_s: Mapping[str, float],
        observer: PlanObserver,
        requests: Sequence[Sent],
    ) -> Run:
        plans = {switch.plan for switch in observer.switches}
        plans |= {one.answer.plan for one in requests}
        payload_bytes = {plan: self._payload_bytes(plan) for plan in sorted(plans)}
        switches = tuple(observer.switches)
        return Run(number, changed_s, switches, payload_bytes, tuple(requests), observer.now_s())
