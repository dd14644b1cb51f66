"""A simulated caller and its control loop: requests of which each takes what its links now take.

What is made here for the loop is not counted as the loop's cost.
"""

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.random import Generator

from edgesplit.core.control.due import next_due_s
from edgesplit.core.control.event import (
    Action,
    Activate,
    Event,
    LinkProbed,
    MeasureTier,
    Observed,
    Prepare,
    ProbeLink,
    Ready,
    TierMeasured,
)
from edgesplit.core.control.state import ControlState, Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.cost import CostModel
from edgesplit.core.plan import Plan
from edgesplit.core.policies.policy import score
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from experiments.planner.instances import realistic

LAYERS, TIERS = 38, 3
NOISE = 0.05  # sigma of a lognormal on each duration
SLOWER = 8.0  # times, the link that the plan uses first, once it has changed
PREPARE_S = 0.1


@dataclass
class SimulatedSession:
    """One workload of one caller. true: what is; state: what its loop believes."""

    state: ControlState
    true: Profile
    generator: Generator
    due_s: float = 0.0
    timings: dict[Plan, tuple[TierTiming, ...]] = field(default_factory=dict)

    def take(self, event: Event) -> tuple[Action, ...]:
        """What the loop does about an event; and when it wants to be ticked next."""
        self.state, actions = step(self.state, event)
        self.due_s = next_due_s(self.state)
        return actions

    def observed(self, at_s: float) -> Observed:
        """A request that has finished then."""
        plan = self.state.active
        assert plan is not None, "the first plan is ready"
        if plan not in self.timings:
            self.timings[plan] = _timings(self.state, self.true, plan)
        noise = self.generator.lognormal(0.0, NOISE, 2 * len(plan.stages))
        own_s, rows = 0.0, list[TierTiming]()
        for number, timing in enumerate(reversed(self.timings[plan])):
            compute_s = timing.compute_s * float(noise[2 * number])
            hop_s = timing.hop_s * float(noise[2 * number + 1]) + own_s if rows else 0.0
            own_s = compute_s + hop_s
            rows.append(replace(timing, compute_s=compute_s, own_s=own_s, hop_s=hop_s))
        return Observed(at_s, tuple(reversed(rows)))

    def answers(self, action: Action, now_s: float) -> list[Event]:
        """What comes of an action, later."""
        match action:
            case Prepare(plan):
                return [Ready(now_s + PREPARE_S, plan, tier) for tier in plan.route]
            case ProbeLink(source, target, sent_bytes):
                link, back = self.true.link(source, target), self.true.link(target, source)
                assert link is not None
                assert back is not None
                delay_s = link.latency_s + back.latency_s
                seconds = delay_s + sent_bytes / link.bytes_per_s
                at_s = now_s + seconds + delay_s
                return [LinkProbed(at_s, source, target, sent_bytes, seconds, delay_s / 2)]
            case MeasureTier(tier, start, stop, runtime):
                seconds = max(1e-6, sum(self.true.tier(tier).layer_s[start:stop]))
                return [TierMeasured(now_s + seconds, tier, start, stop, seconds, runtime)]
            case Activate():
                return []

    def slow_down(self) -> bool:
        """Make the first link of the plan in force slower; False where it uses none."""
        plan = self.state.active
        if plan is None or len(plan.stages) < 2:
            return False
        for pair in (plan.route[:2], plan.route[1::-1]):
            link = self.true.link(*pair)
            assert link is not None
            slower = replace(link, bytes_per_s=link.bytes_per_s / SLOWER)
            self.true = self.true.with_link(slower)
        self.timings = {}
        return True


def opened(seed: int, at_s: float) -> SimulatedSession:
    """A session whose first plan is in force: its own model, tiers and links."""
    generator = np.random.default_rng(seed)
    graph, profile, goal = realistic(generator, LAYERS, TIERS)
    settings = Settings(load_settle_s=float(generator.uniform(5.0, 20.0)))
    state, actions = begin(graph, profile, replace(goal, max_stages=4), score, settings, at_s)
    session = SimulatedSession(state, state.profile, generator)
    for action in actions:
        for event in session.answers(action, at_s - PREPARE_S):
            session.take(event)
    return session


def _timings(state: ControlState, true: Profile, plan: Plan) -> tuple[TierTiming, ...]:
    """Of one request without noise; hop_s without what the next tier itself takes."""
    model, sizes = CostModel(state.graph, true, state.goal), state.graph.payload_bytes
    index = {name: number for number, name in enumerate(true.names)}
    rows = []
    for number, stage in enumerate(plan.stages):
        layer_s = true.tier(stage.tier).layer_s_in(stage.runtime)[stage.start : stage.stop]
        hop_s, sent = 0.0, 0
        if number + 1 < len(plan.stages):
            u, v = index[stage.tier], index[plan.route[number + 1]]
            hop_s, sent = float(model.transfer.latency_s[0, u, v, stage.stop]), sizes[stage.stop]
        times = (0.0, sum(layer_s), 0.0, hop_s, float("inf"), sent, sizes[-1], 0.0)
        rows.append(TierTiming(stage.tier, stage.start, stage.stop, *times, None, stage.runtime))
    return tuple(rows)
