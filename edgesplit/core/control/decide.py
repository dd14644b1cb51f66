"""Whether a better plan is worth switching to, and the words for why."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from edgesplit.core.control.believed_profile import profile_if_suspicions_hold
from edgesplit.core.control.state import Basis, ControlState, Settings, current_profile
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.planner.choose import Decision
from edgesplit.core.policies.learning import is_followed
from edgesplit.core.policies.pipeedge import pipeline
from edgesplit.core.policies.policy import CostPolicy, score
from edgesplit.core.profile import Profile, Tier
from edgesplit.errors import EdgeSplitError, PlanError

_SMALL = "small changes"
_MOST_IN_PIPELINE = 5  # tiers: with eight it would take 20 ms at each evaluation
_TOLD = math.log(1.05)  # a change below 5 % is not given as a reason


def model_of(state: ControlState, profile: Profile) -> CostModel:
    """Costs under `profile`, as one of which the tiers that are away have no links."""
    return CostModel(state.graph, profile.without(tuple(state.away)), state.goal)


def cost_of(state: ControlState, model: CostModel, plan: Plan | None) -> Cost | None:
    """The plan's cost, None where it cannot run: no plan, a tier away, no such link or runtime."""
    if plan is None or state.away.intersection(plan.route):
        return None
    try:
        return _crowded(state, model, model.cost(plan))
    except PlanError:
        return None


def _crowded(state: ControlState, model: CostModel, cost: Cost) -> Cost:
    """The cost with what a request waits for others, where those come close together.

    Other policies than ours are measured by what they know of: one request alone.
    """
    if state.policy != score or not state.arrivals.is_crowded:
        return cost
    return model.crowded(cost, state.arrivals.wait_s(model.period_s(cost.plan)))


def candidate(state: ControlState, model: CostModel, current: Cost | None) -> Cost | None:
    """The policy's choice under the model's profile, None where it has none that can run.

    A plan within the latency limit is only left for one with headroom below it: near the limit,
    noise would make plans feasible and infeasible by turns. A policy that is followed decides by
    the limit itself.
    """
    decision = candidate_decision(state, model, current)
    return None if decision is None else decision.cost


def candidate_decision(
    state: ControlState, model: CostModel, current: Cost | None
) -> Decision | None:
    """The same, and whether no plan scores less."""
    limit = state.goal.latency_limit_s
    if limit is None or current is None or current.limited_s > limit or is_followed(state.policy):
        return _decision(state, model, limit)
    return _decision(state, model, _with_headroom(limit, state.settings))


def chosen(state: ControlState, model: CostModel, limit_s: float | None) -> Cost | None:
    """The policy's choice under that latency limit, None where it has none that can run."""
    decision = _decision(state, model, limit_s)
    return None if decision is None else decision.cost


def _decision(state: ControlState, model: CostModel, limit_s: float | None) -> Decision | None:
    try:
        if isinstance(state.policy, CostPolicy):
            return _shortest_queue(state, model, state.policy.decision(model, limit_s))
        goal = replace(state.goal, latency_limit_s=limit_s)
        plan = state.policy(state.graph, model.profile.on_quickest(), goal)
    except EdgeSplitError:  # the policy has no plan under these conditions: keep what there is
        return None
    cost = cost_of(state, model, plan)
    return None if cost is None else Decision(cost, is_proved=False)


def _shortest_queue(state: ControlState, model: CostModel, alone: Decision) -> Decision:
    """What was decided for one request alone, or a plan of least period if that is better.

    The period of a plan is no sum, so the planner does not see it. Between the two there may be
    plans that are better still.
    """
    if state.policy != score or not state.arrivals.is_crowded:
        return alone
    best = _crowded(state, model, alone.cost)
    steady = cost_of(state, model, _of_least_period(model))
    if steady is not None and is_better(state, steady, best):
        best = steady
    return replace(alone, cost=best, is_proved=False)


def _of_least_period(model: CostModel) -> Plan | None:
    """None where there is none within the goal's limits, or too many tiers to look at."""
    if len(model.profile.tiers) > _MOST_IN_PIPELINE:
        return None
    profile = replace(model.profile.on_quickest(), score_reference=model.score_reference)
    try:
        return pipeline(CostModel(model.graph, profile, model.goal))[0]
    except PlanError:
        return None


def _with_headroom(limit_s: float, settings: Settings) -> float:
    return (1 - settings.min_gain) * limit_s


def is_worth(state: ControlState, best: Cost, current: Cost | None) -> bool:
    """True if going from `current` (None: it cannot run) to `best` repays the switch."""
    if current is None:
        return True
    settings, limit = state.settings, state.goal.latency_limit_s
    if limit is not None and current.limited_s > limit:
        faster = best.limited_s < (1 - settings.min_gain) * current.limited_s
        return best.feasible or faster
    if best.feasible != current.feasible:
        return best.feasible  # a plan that the goal forbids is left, whatever it scores
    if limit is not None and best.limited_s > _with_headroom(limit, settings):
        return False
    if current.score <= 0:
        return False
    gain = 1 - best.score / current.score
    return gain > settings.min_gain and gain * settings.expected_stay_s > settings.switch_cost_s


def has_doubts(state: ControlState) -> bool:
    """Whether any figure is in doubt; where none is, a switch that is worth it holds."""
    since_s = state.now_s - state.settings.probe_timeout_s
    tiers, links = state.beliefs.tiers.values(), state.beliefs.links.values()
    return any(t.in_doubt(since_s) for t in tiers) or any(ln.in_doubt(since_s) for ln in links)


def holds(state: ControlState, plan: Plan, current: Cost | None) -> bool:
    """True if the switch would also be worth it, were all that is in doubt true.

    Where the policy is followed: if the plan can run.
    """
    if is_followed(state.policy):
        return cost_of(state, model_of(state, current_profile(state)), plan) is not None
    since_s = state.now_s - state.settings.probe_timeout_s
    model = model_of(
        state, profile_if_suspicions_hold(current_profile(state), state.beliefs, since_s)
    )
    best = cost_of(state, model, plan)
    if best is None or current is None:
        return best is not None
    return is_worth(state, best, cost_of(state, model, state.active))


def is_better(state: ControlState, plan: Cost, current: Cost | None) -> bool:
    """True if `plan` still has anything over `current`, hysteresis aside."""
    if current is None:
        return True
    limit = state.goal.latency_limit_s
    if limit is not None and current.limited_s > limit:
        return plan.feasible or plan.limited_s < current.limited_s
    if plan.feasible != current.feasible:
        return plan.feasible
    return plan.score < current.score


def reason(state: ControlState, best: Cost, current: Cost | None) -> str:
    """For people: what has changed since the last choice, and what the switch brings."""
    if state.active is None:
        return f"first plan: score {best.score:.3f}"
    if current is not None and is_followed(state.policy):
        return f"as the policy chose: score {current.score:.3f} -> {best.score:.3f}"
    crowded = state.arrivals.is_crowded
    now = Basis(state.goal, current_profile(state), state.away, crowded)
    cause = _rows(state.active, best.plan, state.basis, now)
    cause = cause or _codecs(state.active, best.plan, state.basis, now)
    cause = cause or _cause(state, now, best.plan)
    if current is None:
        return f"{cause}: score {best.score:.3f}"
    limit = state.goal.latency_limit_s
    if limit is not None and current.limited_s > limit:
        probability = state.goal.probability
        what = "latency" if probability is None else f"latency kept with {probability:g}"
        return (
            f"{cause}: {what} {current.limited_s:.3f} -> {best.limited_s:.3f} s, "
            f"limit {limit:.3f} s"
        )
    return f"{cause}: score {current.score:.3f} -> {best.score:.3f}"


def _rows(active: Plan, best: Plan, old: Basis, new: Basis) -> str:
    """Runtimes of the active plan that are gone, and new ones that the better plan uses."""
    then, there = old.profile.offered, new.profile.offered
    gone = [f"{s.tier} lost {s.runtime}" for s in active.stages if _lacks(there, s)]
    made = [f"{s.tier} has {s.runtime} now" for s in best.stages if _lacks(then, s)]
    return ", ".join(gone + made)


def _codecs(active: Plan, best: Plan, old: Basis, new: Basis) -> str:
    """Codecs of the active plan that may not be used so any more, and new ones that the better
    plan uses.
    """
    gone = _unusable(active, new) - _unusable(active, old)
    made = _unusable(best, old) - _unusable(best, new)
    return ", ".join([f"{hop} no longer" for hop in sorted(gone)] + [*sorted(made)])


def _unusable(plan: Plan, basis: Basis) -> set[str]:
    """Hops of a plan whose codec had no size there, or a loss that was not granted."""
    hops = zip(plan.codecs, plan.cuts, strict=True)
    most = basis.goal.max_accuracy_loss
    found = ((codec, cut, basis.profile.codec(codec)) for codec, cut in hops if codec != AS_IS)
    return {
        f"{codec} at cut {cut}"
        for codec, cut, sizes in found
        if sizes is None
        or not math.isfinite(sizes.payload_bytes[cut])
        or not sizes.is_granted(cut, most)
    }


def _lacks(offered: Mapping[str, Sequence[str]], stage: Stage) -> bool:
    return len(stage) > 0 and stage.runtime not in offered.get(stage.tier, (stage.runtime,))


def _cause(state: ControlState, new: Basis, best: Plan) -> str:
    old = state.basis
    if new.goal != old.goal:
        return "another goal"
    then, there = set(old.profile.names), set(new.profile.names)
    removed = {*state.removed, *(then - there)}
    left = sorted(((new.away | removed) - old.away) & then)
    gone = [f"tier {tier} {'removed' if tier in removed else 'lost'}" for tier in left]
    back = [f"tier {tier} back" for tier in sorted((old.away - new.away) & there)]
    back += [f"tier {tier} added" for tier in best.route if tier not in then]
    if gone or back:
        return ", ".join(gone + back)
    if new.is_crowded and not old.is_crowded:
        return "requests wait for each other"
    size, text = max(_changes(old.profile, new.profile), default=(0.0, ""))
    if size > _TOLD:
        return text
    return "requests wait less for each other" if old.is_crowded > new.is_crowded else _SMALL


def _changes(old: Profile, new: Profile) -> list[tuple[float, str]]:
    """Of every figure that is in both, its change as |log ratio| and words."""
    changes = []
    tiers, links = {t.name: t for t in old.tiers}, {ln.pair: ln for ln in old.links}
    for was, now in [(tiers[t.name], t) for t in new.tiers if t.name in tiers]:
        text = f"tier {now.name} slowdown {was.slowdown:.2f} -> {now.slowdown:.2f}"
        changes.append((abs(math.log(now.slowdown / was.slowdown)), text))
        changes.append(_pressed(was, now))
    for before, after in [(links[ln.pair], ln) for ln in new.links if ln.pair in links]:
        name = f"link {after.source}->{after.target}"
        rates = before.bytes_per_s / 1e6, after.bytes_per_s / 1e6
        text = f"{name} {_rate(rates[0])} -> {_rate(rates[1])} MB/s"
        changes.append((abs(math.log(rates[1] / rates[0])), text))
        waits = before.latency_s * 1e3, after.latency_s * 1e3
        if abs(waits[1] - waits[0]) > 1:  # below a millisecond no plan depends on it
            text = f"{name} latency {waits[0]:.1f} -> {waits[1]:.1f} ms"
            changes.append((abs(math.log((waits[1] + 1) / (waits[0] + 1))), text))
    return changes


def _pressed(was: Tier, now: Tier) -> tuple[float, str]:
    """How much the pressures on a tier have changed; one that is 0 counts from 1."""
    before, after = was.pressure.words() or "none", now.pressure.words() or "none"
    totals = [tier.pressure.total(1.0, 1.0, 1.0) for tier in (was, now)]
    text = f"tier {now.name} pressed: {before} -> {after}"
    return abs(math.log((totals[1] + 1) / (totals[0] + 1))), text


def _rate(megabytes_per_s: float) -> str:
    return f"{megabytes_per_s:.1f}" if megabytes_per_s >= 10 else f"{megabytes_per_s:.2f}"
