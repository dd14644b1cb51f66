"""The product's control loop over a replayed trace: simulated requests, with a hedge or without.

Deterministic: the same course, noise and settings give the same requests. The loop is the real one
(core/control/step); what is modelled here is what it hears of.
"""

import heapq
import math
from dataclasses import dataclass, field

import numpy as np

from edgesplit.core.control.decide import cost_of, model_of
from edgesplit.core.control.event import (
    Action,
    Event,
    LinkProbed,
    MeasureTier,
    Observed,
    Prepare,
    ProbeLink,
    Ready,
    Tick,
    TierMeasured,
)
from edgesplit.core.control.state import ControlState, Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.cost import CostModel
from edgesplit.core.failover import failover_timeouts
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.policy import score
from edgesplit.core.tier_timing import TierTiming
from experiments.tail.devices import EDGE, END, LATENCY_S
from experiments.tail.passage import Course, Noise, Passage
from experiments.tail.trace import Floats

LOOK_S = 0.05  # between two looks at a transfer's progress
_EVIDENCE_S = 0.1  # of progress, before a hedge is thought of
_RECENT_S = 0.2  # over which the rate of a transfer is taken
MARGIN_S = 0.05  # a hedge must win by
HEDGE_SHARE, HEDGE_BURST = 0.05, 10.0
_PREPARE_S, _TICK_S = 0.2, 0.25
_LEAST_BYTES = 4096  # what the loop learns a rate from


@dataclass(frozen=True)
class Replayed:
    """One request. hedged: the end tier began the rest itself; won: and was the first to finish.

    expected_s: under a promise, the quantile of its plan as believed when it began; else None.
    """

    latency_s: float
    end_j: float
    plan: Plan
    hedged: bool = False
    won: bool = False
    failed_over: bool = False
    expected_s: float | None = None


@dataclass
class HedgeBudget:
    """A token bucket, full at first: a request adds `share`, a hedge takes one; 0 forbids any."""

    share: float
    tokens: float = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = HEDGE_BURST if self.share else 0.0

    def refill(self) -> None:
        """One more request."""
        self.tokens = min(HEDGE_BURST, self.tokens + self.share)

    def take(self) -> bool:
        """Whether a hedge may begin; it then has."""
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


@dataclass
class ReplayedRun:
    """What a replay did."""

    requests: list[Replayed] = field(default_factory=list)
    switches: int = 0


def replay_trace(
    course: Course, at_s: Floats, noise: Noise, goal: Goal, hedge: float
) -> ReplayedRun:
    """A request at each of those times, ascending, on the plan that is in force then.

    hedge: the largest share of requests that may be run twice; 0: none.
    """
    return _Replay(course, noise, goal, HedgeBudget(hedge)).run(at_s)


class _Replay:
    """Events in order of time, requests in between."""

    def __init__(self, course: Course, noise: Noise, goal: Goal, budget: HedgeBudget) -> None:
        self._course, self._noise, self._budget = course, noise, budget
        self._calibrated = CostModel(course.graph, course.profile, goal)
        self._queue: list[tuple[float, int, Event]] = []
        self._count = 0
        self._timeouts_s: dict[Plan, float] = {}
        start: tuple[ControlState, tuple[Action, ...]] = begin(
            course.graph, course.profile, goal, score, Settings(), 0.0
        )
        self._state = start[0]
        self._done = ReplayedRun()
        self._carry_out(start[1])

    def run(self, at_s: Floats) -> ReplayedRun:
        """All requests; those before the first plan is ready wait for it."""
        self._put(Tick(0.0))
        for number, begin_s in enumerate(at_s.tolist()):
            self._until(begin_s)
            while self._state.active is None:
                self._until(self._queue[0][0])
            self._request(number, begin_s, self._state.active)
        return self._done

    def _until(self, at_s: float) -> None:
        while self._queue and self._queue[0][0] <= at_s:
            _, _, event = heapq.heappop(self._queue)
            if isinstance(event, Tick):
                self._put(Tick(event.at_s + _TICK_S))
            before = self._state.active
            self._state, actions = step(self._state, event)
            self._done.switches += before is not None and self._state.active != before
            self._carry_out(actions)

    def _put(self, event: Event) -> None:
        heapq.heappush(self._queue, (event.at_s, self._count, event))
        self._count += 1

    def _carry_out(self, actions: tuple[Action, ...]) -> None:
        now_s = self._state.now_s
        for action in actions:
            match action:
                case Prepare(plan):
                    for tier in plan.route:
                        self._put(Ready(now_s + _PREPARE_S, plan, tier))
                case ProbeLink(source, target, sent_bytes):
                    seconds = 2 * LATENCY_S + self._transfer_s(now_s, source, target, sent_bytes)
                    at_s = now_s + seconds + 2 * LATENCY_S
                    self._put(LinkProbed(at_s, source, target, sent_bytes, seconds, LATENCY_S))
                case MeasureTier(tier, start, stop, runtime):
                    prefix_s = self._course.prefix_s[tier]
                    seconds = float(prefix_s[stop] - prefix_s[start])
                    self._put(TierMeasured(now_s + seconds, tier, start, stop, seconds, runtime))

    def _transfer_s(self, at_s: float, source: str, target: str, n_bytes: int) -> float:
        if END in (source, target):
            return float(self._course.trace.transfer_s(at_s, n_bytes))
        link = self._course.profile.link(source, target)
        assert link is not None, "step asks for links of the profile only"
        return n_bytes / link.bytes_per_s

    def _request(self, number: int, at_s: float, plan: Plan) -> None:
        noise = self._noise.of(number)
        done = self._course.passage(plan, at_s, noise)
        expected_s = self._expected_s(plan)
        self._budget.refill()
        if plan.route == (END,):
            timings = self._whole(plan, float(done.back_s - at_s))
            self._put(Observed(float(done.back_s), timings))
            joules = self._joules(float(done.back_s - at_s), 0.0, 0.0)
            latency_s = float(done.back_s - at_s)
            self._done.requests.append(Replayed(latency_s, joules, plan, expected_s=expected_s))
            return
        begins_s = self._hedge_s(plan, done)
        fails_over_s = float(done.sent_s) + self._timeout_s(plan)
        rest_s = self._course.rest_s(plan.stages[0].stop) * float(noise.rest)
        hedged = begins_s < min(float(done.back_s), fails_over_s) and self._budget.take()
        failed_over = not hedged and fails_over_s < float(done.back_s)
        own_s = (begins_s if hedged else fails_over_s) + rest_s
        won = (hedged and own_s < float(done.back_s)) or failed_over
        if won:
            self._lost_race(at_s, plan, done, own_s, rest_s, "silent" if failed_over else "late")
        else:
            self._put(Observed(float(done.back_s), self._timings(at_s, plan, done)))
        end_s = own_s if won else float(done.back_s)
        computed_s = float(done.sent_s) - at_s
        computed_s += rest_s if won else max(0.0, end_s - begins_s) if hedged else 0.0
        sent_s = min(float(done.gone_s), end_s) - float(done.sent_s)
        joules = self._joules(computed_s, sent_s, 0.0 if won else float(done.receive_s))
        self._done.requests.append(
            Replayed(end_s - at_s, joules, plan, hedged, won and hedged, failed_over, expected_s)
        )

    def _joules(self, compute_s: float, transmit_s: float, receive_s: float) -> float:
        power = self._course.profile.tier(END).power
        return (
            power.compute_w * compute_s
            + power.transmit_w * transmit_s
            + power.receive_w * receive_s
        )

    def _expected_s(self, plan: Plan) -> float | None:
        if self._state.goal.probability is None:
            return None
        cost = cost_of(self._state, model_of(self._state, current_profile(self._state)), plan)
        return None if cost is None else cost.limited_s

    def _timeout_s(self, plan: Plan) -> float:
        if plan not in self._timeouts_s:
            self._timeouts_s[plan] = failover_timeouts(self._calibrated, plan)[1]
        return self._timeouts_s[plan]

    def _hedge_s(self, plan: Plan, done: Passage) -> float:
        """When the end tier would begin the rest itself; infinite: never, or no budget."""
        if self._budget.tokens < 1:
            return math.inf
        sent_s, gone_s, back_s = (float(x) for x in (done.sent_s, done.gone_s, done.back_s))
        n_bytes = self._course.graph.payload_bytes[plan.stages[0].stop]
        model = model_of(self._state, current_profile(self._state))
        cost = cost_of(self._state, model, plan)
        if cost is None:
            return math.inf
        slowdown = model.profile.tier(END).slowdown
        rest_s = slowdown * self._course.rest_s(plan.stages[0].stop)
        first_s = slowdown * float(self._course.prefix_s[END][plan.stages[0].stop])
        answer_s = cost.latency_s - first_s  # from sending on, as believed
        link = model.profile.link(END, EDGE)
        assert link is not None, "the plan uses it"
        remote_s = max(0.0, answer_s - link.latency_s - n_bytes / link.bytes_per_s)
        overdue_s = sent_s + answer_s + rest_s
        trace = self._course.trace
        looks: Floats = sent_s + np.arange(round(_EVIDENCE_S / LOOK_S), 4000.0) * LOOK_S
        looks = looks[looks < min(gone_s, overdue_s, back_s)]
        if len(looks):
            since: Floats = np.maximum(sent_s, looks - _RECENT_S)
            through = trace.sent_bytes(looks)
            rate = (through - trace.sent_bytes(since)) / (looks - since)
            left = n_bytes - (through - trace.sent_bytes(sent_s))
            remaining_s = np.divide(left, rate, out=np.full_like(left, np.inf), where=rate > 0)
            late = np.flatnonzero(remaining_s + remote_s > rest_s + MARGIN_S)
            if len(late):
                return float(looks[late[0]])
        return overdue_s if overdue_s < back_s else math.inf

    def _lost_race(
        self, at_s: float, plan: Plan, done: Passage, own_s: float, rest_s: float, why: str
    ) -> None:
        """The end tier finished; the loop hears how far the payload came meanwhile, and why."""
        sent_s = float(done.sent_s)
        for look_s in (own_s - rest_s, own_s):
            until_s = min(look_s, float(done.gone_s))
            if until_s - sent_s < LOOK_S:
                continue
            trace = self._course.trace
            through = float(trace.sent_bytes(until_s) - trace.sent_bytes(sent_s))
            seconds = until_s - sent_s + 2 * LATENCY_S
            sent_bytes = max(_LEAST_BYTES, int(through))
            self._put(LinkProbed(look_s, END, EDGE, sent_bytes, seconds, LATENCY_S))
        computed_s = sent_s - at_s + rest_s
        whole = self._whole(plan, computed_s, own_s - at_s, f"{EDGE} {why}")
        self._put(Observed(own_s, whole))

    def _whole(
        self, plan: Plan, compute_s: float, own_s: float | None = None, failed_over: str = ""
    ) -> tuple[TierTiming, ...]:
        """The timing of an end tier that ran all layers."""
        n, reply = plan.n_layers, self._course.graph.output_bytes
        own_s = compute_s if own_s is None else own_s
        row = (0.0, compute_s, own_s, 0.0, math.inf, 0, reply, 0.0, None)
        return (TierTiming(END, 0, n, *row, failed_over=failed_over),)

    def _timings(self, at_s: float, plan: Plan, done: Passage) -> tuple[TierTiming, ...]:
        """Those of a request that went along the whole plan."""
        sizes, reply = self._course.graph.payload_bytes, self._course.graph.output_bytes
        hop_s = float(done.back_s - done.sent_s)
        busy_s = [float(done.sent_s) - at_s, float(done.edge_s), float(done.cloud_s)]
        hops_s = [hop_s, float(done.wan_s) + busy_s[2], 0.0]
        timings = []
        for place, stage in enumerate(plan.stages):
            is_last = place == len(plan.stages) - 1
            onward_s = 0.0 if is_last else hops_s[place]
            sent = 0 if is_last else sizes[stage.stop]
            own_s = busy_s[place] + onward_s
            row = (0.0, busy_s[place], own_s, onward_s, math.inf, sent, reply, 0.0)
            timings.append(TierTiming(stage.tier, stage.start, stage.stop, *row))
        return tuple(timings)
