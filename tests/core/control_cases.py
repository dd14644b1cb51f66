"""Driving the control loop by hand: a first plan made ready, requests without noise."""

import math

from worlds import GOAL, VGG, chain

from edgesplit.core.control.event import Observed, Prepare, Ready
from edgesplit.core.control.state import ControlState, Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.plan import Plan
from edgesplit.core.policies.policy import score
from edgesplit.core.tier_timing import TierTiming


def started(policy=score, settings=None, goal=GOAL, graph=VGG, profile=None) -> ControlState:
    """A state whose first plan is active, at 0 s."""
    profile = profile or chain(graph)
    state, actions = begin(graph, profile, goal, policy, settings or Settings(), 0.0)
    assert isinstance(actions[0], Prepare)
    return make_ready(state, actions[0].plan, 0.0)[0]


def make_ready(state: ControlState, plan: Plan, at_s: float):
    """Every tier says ready; the state and the actions of the last one."""
    actions = ()
    for tier in plan.route:
        state, actions = step(state, Ready(at_s, plan, tier))
    return state, actions


def request(plan: Plan, profile, at_s: float, graph=VGG) -> Observed:
    """A request without noise."""
    timings: list[TierTiming] = []
    reply = graph.output_bytes
    for stage in reversed(plan.stages):
        tier = profile.tier(stage.tier)
        layer_s = tier.layer_s_in(stage.runtime)[stage.start : stage.stop]
        compute_s = sum(layer_s) * tier.slowdown
        hop_s, sent = 0.0, 0
        if timings:
            there, sent = timings[-1], graph.payload_bytes[stage.stop]
            out, back = profile.link(tier.name, there.tier), profile.link(there.tier, tier.name)
            delay_s = out.latency_s + back.latency_s
            hop_s = delay_s + sent / out.bytes_per_s + reply / back.bytes_per_s + there.own_s
        row = (0.0, compute_s, compute_s + hop_s, hop_s, math.inf, sent, reply, 0.0)
        timings.append(TierTiming(tier.name, stage.start, stage.stop, *row, None, stage.runtime))
    return Observed(at_s, tuple(reversed(timings)))


def feed(state: ControlState, profile, times, plan=None):
    """Requests without noise at these times; the state and every action."""
    actions = []
    for at_s in times:
        state, more = step(state, request(plan or state.active, profile, at_s))
        actions += more
    return state, actions


def of_kind(actions, kind):
    return [action for action in actions if isinstance(action, kind)]
