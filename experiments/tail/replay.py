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
    Transferring,
)
from edgesplit.core.control.state import ControlState, Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.cost import CostModel
from edgesplit.core.failover import failover_timeouts
from edgesplit.core.goal import Goal
from edgesplit.core.hedge import HedgeBudget, HedgeRule, PayloadProgress, hedge_rules
from edgesplit.core.plan import Plan
from edgesplit.core.policies.policy import score
from edgesplit.core.tier_timing import TierTiming
from edgesplit.node.tier.sent_request import LOOK_S, TELL_S
from edgesplit.node.transport.wire import LATE
from experiments.shared.stated_devices import EDGE, END, LATENCY_S
from experiments.shared.trace import Floats
from experiments.shared.trace_file import PACKET_BYTES
from experiments.tail.passage import Course, Noise, Passage

_PREPARE_S, _TICK_S = 0.2, 0.25
_CONFIRM_S = 2 * LATENCY_S  # until a sender knows what has arrived
_WAKING_S = 1e-4  # that a look comes later than it is due


@dataclass(frozen=True)
class Replayed:
    """One request. hedged: the end tier began the rest too; won: and came first with it.

    taken_back: it ran the rest alone, since the payload took too long to leave.
    expected_s: under a promise, the quantile of its plan as believed when it began; else None.
    """

    latency_s: float
    end_j: float
    plan: Plan
    hedged: bool = False
    won: bool = False
    failed_over: bool = False
    taken_back: bool = False
    expected_s: float | None = None


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
    return _Replay(course, noise, goal, hedge).run(at_s)


class _Replay:
    """Events in order of time, requests in between."""

    def __init__(self, course: Course, noise: Noise, goal: Goal, hedge: float) -> None:
        self._course, self._noise = course, noise
        self._hedges, self._budget = hedge > 0, HedgeBudget(hedge)
        self._calibrated = CostModel(course.graph, course.profile, goal)
        self._queue: list[tuple[float, int, Event]] = []
        self._count = 0
        self._of_plan: dict[Plan, tuple[HedgeRule | None, float]] = {}
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
        sent_s, gone_s, back_s = (float(x) for x in (done.sent_s, done.gone_s, done.back_s))
        expected_s, (rule, timeout_s) = self._expected_s(plan), self._waits(plan)
        rest_s = self._course.rest_s(plan.stages[0].stop) * float(noise.rest)
        fails_s = sent_s + timeout_s
        hedged_s, is_alone = self._watched(plan, done, rule, min(back_s, fails_s), rest_s)
        back_s = math.inf if is_alone else back_s
        begun_s, is_hedged = min(hedged_s, fails_s), hedged_s < math.inf
        is_own = fails_s < back_s or begun_s + rest_s < back_s
        end_s = begun_s + rest_s if is_own else back_s
        if is_own:
            why = f"{EDGE} {LATE if is_hedged else 'silent'}"
            timings = self._whole(plan, sent_s - at_s + rest_s, end_s - at_s, why)
        else:
            timings = self._timings(at_s, plan, done)
        self._put(Observed(end_s, timings))
        ran_s = rest_s if begun_s < back_s else 0.0  # to its end, where it lost
        power = self._course.profile.tier(END).power
        joules = power.compute_w * (sent_s - at_s + ran_s)
        joules += power.transmit_w * (min(gone_s, hedged_s if is_alone else end_s) - sent_s)
        joules += power.receive_w * (0.0 if is_own else float(done.receive_s))
        self._done.requests.append(
            Replayed(
                end_s - at_s,
                joules,
                plan,
                hedged=is_hedged and not is_alone,
                won=is_own and is_hedged and not is_alone,
                failed_over=is_own and not is_hedged,
                taken_back=is_alone,
                expected_s=expected_s,
            )
        )

    def _watched(
        self, plan: Plan, done: Passage, rule: HedgeRule | None, until_s: float, rest_s: float
    ) -> tuple[float, bool]:
        """Look at a payload on its way as a tier does (node/tier/sent_request.py), and say so.

        Returns when the end tier begins the rest itself, which takes rest_s, and whether alone: the
        payload was taken back then. Infinite: never.
        """
        self._budget.count()
        sent_s, n_bytes = float(done.sent_s), self._course.graph.payload_bytes[plan.stages[0].stop]
        looks_s: Floats = np.arange(sent_s, until_s, LOOK_S + _WAKING_S)[1:]
        sent: Floats = self._course.trace.sent_bytes(np.maximum(sent_s, looks_s - _CONFIRM_S))
        sent = sent - self._course.trace.sent_bytes(sent_s)
        sent = np.where(sent < n_bytes, sent // PACKET_BYTES * PACKET_BYTES, n_bytes)
        progress = PayloadProgress(n_bytes, sent_s)
        told_s, arrived_s, hedged_s = sent_s, math.inf, math.inf
        for now_s, sent_bytes in zip(looks_s.tolist(), sent.tolist(), strict=True):
            if now_s >= hedged_s + rest_s:
                break
            if progress.left_bytes:
                progress.look(now_s, n_bytes - int(sent_bytes))
                arrived_s = math.inf if progress.left_bytes else now_s
            if hedged_s == math.inf and rule is not None:
                waiting_s = rule.waiting_s(max(0.0, now_s - arrived_s))
                is_late = rule.is_due(now_s - sent_s, progress.expected_s(), waiting_s)
                if is_late and progress.left_bytes and progress.is_moving:
                    self._tell(now_s, progress.sent_bytes, now_s - sent_s, is_over=True)
                    return now_s, True
                hedged_s = now_s if is_late and self._budget.take() else math.inf
            if progress.left_bytes and now_s - told_s >= TELL_S:
                told_s = now_s
                self._tell(now_s, progress.sent_bytes, progress.moving_s)
        end_s = hedged_s + rest_s
        if end_s < until_s and progress.left_bytes:
            self._tell(end_s, progress.sent_bytes, end_s - sent_s, is_over=True)
        return hedged_s, False

    def _tell(self, at_s: float, sent_bytes: int, seconds: float, is_over: bool = False) -> None:
        if seconds:
            self._put(Transferring(at_s, END, EDGE, sent_bytes, seconds, is_over))

    def _expected_s(self, plan: Plan) -> float | None:
        if self._state.goal.probability is None:
            return None
        cost = cost_of(self._state, model_of(self._state, current_profile(self._state)), plan)
        return None if cost is None else cost.limited_s

    def _waits(self, plan: Plan) -> tuple[HedgeRule | None, float]:
        """The end tier's rule, and its failover timeout: as the caller computes them, per plan."""
        if plan.route == (END,):
            return None, math.inf
        if plan not in self._of_plan:
            rule = hedge_rules(self._calibrated, plan)[1] if self._hedges else None
            self._of_plan[plan] = rule, failover_timeouts(self._calibrated, plan)[1]
        return self._of_plan[plan]

    def _whole(
        self, plan: Plan, compute_s: float, own_s: float, why: str
    ) -> tuple[TierTiming, ...]:
        """The timing of an end tier that ran the next tiers' layers too."""
        n, reply = plan.n_layers, self._course.graph.output_bytes
        row = (0.0, compute_s, own_s, 0.0, math.inf, 0, reply, 0.0, None)
        return (TierTiming(END, 0, n, *row, failed_over=why),)

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
