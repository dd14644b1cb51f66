"""The control loop as one pure function: step(state, event) -> (state, actions).

No clock, no I/O: the scheduler turns what happens into events and carries out the actions.
An illegal event raises and changes nothing.
"""

from dataclasses import replace

from edgesplit.core.changed import changed
from edgesplit.core.control.ask import (
    answered,
    confirm,
    feared_rates,
    look_for_probes,
    probe_for_load,
    probes_for_doubts,
    probes_for_new_doubts,
    probes_for_questions,
    repeat,
)
from edgesplit.core.control.belief import believe
from edgesplit.core.control.believed_profile import with_scatter
from edgesplit.core.control.calm import calm_after, is_calm
from edgesplit.core.control.check import check
from edgesplit.core.control.decide import (
    candidate_decision,
    cost_of,
    has_doubts,
    holds,
    is_better,
    is_worth,
    model_of,
    reason,
)
from edgesplit.core.control.event import (
    Action,
    Activate,
    CodecsMeasured,
    Event,
    GoalChanged,
    LayerTimesMeasured,
    LinkProbed,
    Observed,
    Prepare,
    PrepareFailed,
    Ready,
    RowDropped,
    Tick,
    TierAdded,
    TierJoined,
    TierLoaded,
    TierLost,
    TierMeasured,
    TierRemoved,
    Transferring,
)
from edgesplit.core.control.learn import learn_load, learn_measure, learn_request
from edgesplit.core.control.learn_link import learn_probe, learn_transferring
from edgesplit.core.control.state import (
    Basis,
    Chooser,
    ControlState,
    Hope,
    Pending,
    Refused,
    Settings,
    current_profile,
)
from edgesplit.core.control.tiers import added, forget, joined, lost, removed
from edgesplit.core.control.trust import after_probe, after_request, doubted
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policies.learning import is_followed, learns
from edgesplit.core.profile import Profile
from edgesplit.errors import EdgeSplitError

Step = tuple[ControlState, tuple[Action, ...]]


def begin(
    graph: Graph, profile: Profile, goal: Goal, policy: Chooser, settings: Settings, at_s: float
) -> Step:
    """The first state and the preparation of the first plan.

    profile: as calibrated; where it has no score reference, its own all-on-end plan gives one for
    good. policy: whatever it chooses by, a gain is measured in the goal's score, unless the policy
    is followed (core/policies/learning.py). Raises PlanError where it has no plan that fits.
    """
    profile = replace(profile, score_reference=CostModel(graph, profile, goal).score_reference)
    beliefs = believe(profile, at_s)
    seen = profile if goal.probability is None else with_scatter(profile, beliefs)
    best = CostModel(graph, seen, goal).cost(policy(graph, seen.on_quickest(), goal))
    state = ControlState(
        graph,
        profile,
        goal,
        policy,
        settings,
        beliefs,
        Basis(goal, profile, frozenset()),
        now_s=at_s,
        decided_s=at_s,
        requested_s=at_s,
    )
    state, actions = _prepare(state, best, None)
    return state, tuple(actions)


def step(state: ControlState, event: Event) -> Step:
    """The state after one event and what is to be done about it.

    Raises EventError for what cannot have happened, UnknownNameError for unknown tiers and links.
    """
    check(state, event)
    alarms = state.beliefs.alarms
    state, is_urgent, actions = _take(changed(state, now_s=event.at_s), event)
    is_urgent = is_urgent or state.is_due or state.beliefs.alarms > alarms
    if is_urgent or event.at_s - state.decided_s >= state.settings.interval_s:
        state, more = _decide(state, is_urgent)
        actions += more
    elif state.hopes:
        state = look_for_probes(state)
    if isinstance(event, Observed | Transferring | LinkProbed | TierMeasured):
        state, more = confirm(state, probes_for_new_doubts(state))
        actions += more
    elif isinstance(event, TierLoaded):
        state, more = probe_for_load(state, event.tier)
        actions += more
    state, more = repeat(state)
    return state, (*actions, *more)


def _take(state: ControlState, event: Event) -> tuple[ControlState, bool, list[Action]]:
    """What the event itself changes; True if it calls for a decision now."""
    match event:
        case Observed():
            policy = _learned(state, event)
            beliefs = learn_request(state.beliefs, state.profile, event.timings, event.at_s)
            gap_s = event.at_s - state.requested_s
            trusts = after_request(state.trusts, event.timings, event.at_s)
            arrivals = state.arrivals
            if event.timings:  # else the caller has run it
                first, queue_s = event.timings[0], sum(t.queue_s for t in event.timings)
                arrivals = arrivals.after(event.at_s, first.gap_s, first.own_s, queue_s)
            is_news = doubted(trusts) != doubted(state.trusts)
            state = changed(
                state, policy=policy, beliefs=beliefs, trusts=trusts, request_gap_s=gap_s,
                requested_s=event.at_s, arrivals=arrivals,
            )  # fmt: skip
            return state, is_news, []
        case Transferring():
            return changed(state, beliefs=learn_transferring(state.beliefs, event)), False, []
        case LinkProbed():
            trusts = after_probe(state.trusts, event.target, event.at_s)
            is_news = doubted(trusts) != doubted(state.trusts)
            pair = event.source, event.target
            beliefs = learn_probe(state.beliefs, event, feared_rates(state).get(pair))
            state = changed(state, beliefs=beliefs, trusts=trusts)
            return answered(state, pair, event.seconds), is_news, []
        case TierMeasured():
            state = changed(state, beliefs=learn_measure(state.beliefs, state.profile, event))
            return answered(state, event.tier, event.seconds), False, []
        case TierLoaded():
            beliefs = learn_load(state.beliefs, event, state.settings.load_settle_s)
            return changed(state, beliefs=beliefs), False, []
        case LayerTimesMeasured():
            tier = state.profile.tier(event.tier).with_layer_times(event.times)
            beliefs = state.beliefs.without_runtime(event.tier, event.times.runtime)
            profile = state.profile.with_tier(tier)
            return changed(state, profile=profile, beliefs=beliefs), True, []
        case RowDropped():
            return _without_row(state, event), True, []
        case CodecsMeasured():
            profile = state.profile.with_codecs(event.codecs, dict(event.speeds))
            return changed(state, profile=profile), True, []
        case TierLost():
            return lost(state, event.tier), True, []
        case TierJoined():
            return joined(state, event.tier), True, []
        case TierAdded():
            return added(state, event), True, []
        case TierRemoved():
            return removed(state, event.tier), True, []
        case GoalChanged():
            # What is being prepared was chosen for the old goal, as was what could not be.
            return changed(state, goal=event.goal, pending=None, refused=None), True, []
        case Ready():
            return _ready(state, event)
        case PrepareFailed():
            return _refuse(state, event.plan), False, []
        case Tick():
            return _timed_out(state), False, []


def _learned(state: ControlState, event: Observed) -> Chooser:
    """The policy after a request, by what was believed before it; as it was where it cannot learn.

    One that does not learn costs a look at its type.
    """
    if not learns(state.policy):
        return state.policy
    try:
        believed = current_profile(state).on_quickest()
        return state.policy.after(state.graph, believed, event.timings)
    except EdgeSplitError:
        return state.policy


def _without_row(state: ControlState, event: RowDropped) -> ControlState:
    tier = state.profile.tier(event.tier)
    if event.runtime not in tier.runtimes:  # never there, or dropped before for one reason
        tier = tier.without(event.runtime, event.why)
        return changed(state, profile=state.profile.with_tier(tier))
    if not tier.layer_times:  # nothing is left to run layers in
        return changed(state, lost=state.lost | {event.tier})
    tier = tier.without_layer_times(event.runtime).without(event.runtime, event.why)
    beliefs = state.beliefs.without_runtime(event.tier, event.runtime)
    return changed(state, profile=state.profile.with_tier(tier), beliefs=beliefs)


def _ready(state: ControlState, event: Ready) -> tuple[ControlState, bool, list[Action]]:
    pending = state.pending
    if pending is None or pending.plan != event.plan:
        return state, False, []  # of a plan given up meanwhile
    waiting = pending.waiting - {event.tier}
    if waiting:
        return changed(state, pending=changed(pending, waiting=waiting)), False, []
    model = model_of(state, current_profile(state))
    if not holds(state, pending.plan, cost_of(state, model, state.active)):
        return changed(state, pending=None), True, []  # put in doubt while it was prepared
    crowded = state.arrivals.is_crowded
    basis = Basis(state.goal, current_profile(state), state.away, crowded)
    state = changed(state, active=pending.plan, pending=None, basis=basis)
    return state, True, [Activate(pending.plan, pending.reason)]


def _refuse(state: ControlState, plan: Plan) -> ControlState:
    if state.pending is None or state.pending.plan != plan:
        return state
    until_s = state.now_s + state.settings.retry_s
    return changed(state, pending=None, refused=Refused(plan, until_s))


def _timed_out(state: ControlState) -> ControlState:
    pending = state.pending
    if pending and state.now_s - pending.since_s >= state.settings.prepare_timeout_s:
        return _refuse(state, pending.plan)
    return state


def _decide(state: ControlState, is_urgent: bool) -> tuple[ControlState, list[Action]]:
    """Evaluate again: keep the plan, prepare a better one, or ask what is in doubt first."""
    state = forget(state)
    if not is_urgent and is_calm(state):
        return changed(state, decided_s=state.now_s), []
    model = model_of(state, current_profile(state))
    current = cost_of(state, model, state.active)
    decision = candidate_decision(state, model, current)
    best = None if decision is None else decision.cost
    hopes: tuple[Hope, ...] = ("stale", "unused") if current is not None else ()
    state = changed(
        state, decided_s=state.now_s, is_due=False, weighed=current, hopes=hopes,
        repeated=state.repeated if hopes else (), calm=calm_after(state, model, decision, current),
    )  # fmt: skip
    state = _review_pending(state, model, best, current)
    if best is None or state.pending or best.plan == state.active or _is_refused(state, best.plan):
        return state, []
    if is_followed(state.policy):
        return _prepare(state, best, current)
    if not is_worth(state, best, current):
        return state, []
    if current is not None:
        asks = probes_for_questions(state, best.plan)
        if asks:  # for so long as a probe may take; then the plan is tried as it is believed
            return confirm(changed(state, is_due=True), asks)
    if has_doubts(state) and not holds(state, best.plan, current):
        since_s = state.now_s - state.settings.probe_timeout_s
        return confirm(changed(state, is_due=True), probes_for_doubts(state, best.plan, since_s))
    return _prepare(state, best, current)


def _review_pending(
    state: ControlState, model: CostModel, best: Cost | None, current: Cost | None
) -> ControlState:
    """Drop a preparation that is no longer better than what runs, or clearly not the best.

    One of a policy that is followed goes on while it can run, whatever the policy would choose now.
    """
    if state.pending is None:
        return state
    pending = cost_of(state, model, state.pending.plan)
    if pending is not None and is_followed(state.policy):
        return state
    if pending is None or not is_better(state, pending, current):
        return changed(state, pending=None)
    if best is not None and best.plan != pending.plan and is_worth(state, best, pending):
        return changed(state, pending=None)
    return state


def _is_refused(state: ControlState, plan: Plan) -> bool:
    refused = state.refused
    return refused is not None and refused.plan == plan and state.now_s < refused.until_s


def _prepare(
    state: ControlState, best: Cost, current: Cost | None
) -> tuple[ControlState, list[Action]]:
    pending = Pending(
        best.plan, frozenset(best.plan.route), state.now_s, reason(state, best, current)
    )
    return changed(state, pending=pending), [Prepare(best.plan)]
