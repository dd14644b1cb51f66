"""Whether an evaluation can be spared: nothing has moved far enough to make a switch worth it.

A score is a sum of seconds with weights >= 0. Where no figure has become better by more than a few
per cent since the last whole evaluation, no plan's score has fallen by more; and while that is less
than the switching margin, a whole evaluation would find nothing to do.
"""

import math
from itertools import pairwise

from edgesplit.core.control.ask import used_links, used_tiers
from edgesplit.core.control.belief import Pair
from edgesplit.core.control.state import Calm, ControlState
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.payload_codec import AS_IS, PICTURE
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import Decision
from edgesplit.core.policies.policy import score

# Times load_settle_s: a whole evaluation is made so often all the same, and hopes of better figures
# looked into. Sessions settle at their own pace, so that those of one process do not all do it at
# once.
LONGEST = 2.0
_FAR = math.log(1.1)  # beyond, a figure's share of a price is not bounded as it is below


def calm_after(
    state: ControlState, model: CostModel, decision: Decision | None, current: Cost | None
) -> Calm | None:
    """What the next evaluations are compared with after one that found no switch worth it.

    None where the scores of all plans are not known to be at least the decision's.
    """
    if decision is None or current is None or state.active is None or state.pending is not None:
        return None
    is_least = decision.is_proved and not decision.binding and state.policy == score
    is_within = decision.cost.feasible and current.feasible and state.goal.probability is None
    if not (is_least and is_within and decision.cost.score > 0):
        return None
    coding_s = sum(seconds.max(axis=(0, 2)) for seconds in model.coding.seconds)
    opening_s = model.coding.opening_s
    whole_s = model.prefix_s[:, :, -1].max(axis=0) + coding_s
    whole_s = whole_s if opening_s is None else whole_s + opening_s
    whole = whole_s / model.score_reference.latency_s
    beliefs = state.beliefs
    return Calm(
        state.now_s,
        decision.cost.score,
        current.score,
        current.limited_s,
        {
            name: (beliefs.tiers[name].slowdown.level, float(price), float(seconds))
            for name, price, seconds in zip(model.profile.names, model.prices, whole, strict=True)
        },
        {pair: (ln.rate.level, ln.latency.level) for pair, ln in beliefs.links.items()},
        _stale_links(state, state.active),
    )


def is_calm(state: ControlState) -> bool:
    """Whether a whole evaluation now would find no switch worth it."""
    calm, active = state.calm, state.active
    if calm is None or active is None or state.pending is not None or state.arrivals.is_crowded:
        return False
    longest_s = LONGEST * state.settings.load_settle_s
    if state.now_s - calm.at_s >= longest_s or _stale_links(state, active) != calm.stale:
        return False
    fallen, risen, cheaper, dearer = _moves(state, calm, active)
    if max(-fallen, risen) > _FAR:
        return False
    limit_s = state.goal.latency_limit_s
    if limit_s is not None and calm.limited_s * math.exp(risen) > limit_s:
        return False
    best = calm.best * math.exp(fallen) - cheaper
    current = calm.current * math.exp(risen) + dearer
    return best >= (1 - state.settings.min_gain) * current


def _moves(state: ControlState, calm: Calm, active: Plan) -> tuple[float, float, float, float]:
    """How far figures have moved at most since then.

    Down, as a logarithm of seconds, of any tier or link; up, of those that the active plan uses.
    Then what of a score may have become cheaper, and what of the active plan's dearer, by prices.
    """
    goal, links = state.goal, used_links(active)
    tiers = used_tiers(active) | _coding_tiers(active)
    if state.profile.codec(PICTURE) is not None:  # one of them decodes it
        tiers |= set(active.route)
    fallen, risen, cheaper, dearer = 0.0, 0.0, 0.0, 0.0
    for name, (level, price, whole) in calm.tiers.items():
        belief = state.beliefs.tiers[name]
        moved, is_used = belief.slowdown.level - level, name in tiers
        fallen = min(fallen, moved)
        risen = max(risen, moved) if is_used else risen
        now = belief.pressed.total(goal.load, goal.temperature, goal.memory)
        if now != price:
            cheaper += max(0.0, price - now) * whole * math.exp(_FAR)
            dearer += max(0.0, now - price) * whole * math.exp(_FAR) if is_used else 0.0
    for pair, (rate, latency) in calm.links.items():
        link = state.beliefs.links[pair]
        slower, later = rate - link.rate.level, link.latency.level - latency
        fallen = min(fallen, slower, later)
        if pair in links:
            risen = max(risen, slower, later)
    return fallen, risen, cheaper, dearer


def _coding_tiers(plan: Plan) -> set[str]:
    """Tiers that write or read a payload in a codec."""
    hops = zip(pairwise(plan.route), plan.codecs, strict=True)
    return {tier for ends, codec in hops if codec != AS_IS for tier in ends}


def _stale_links(state: ControlState, active: Plan) -> frozenset[Pair]:
    """Links of the active plan that its requests have not shown of late."""
    oldest_s = state.now_s - state.settings.probe_timeout_s
    links = state.beliefs.links
    return frozenset(pair for pair in used_links(active) if links[pair].seen_s < oldest_s)
