"""What to ask of tiers and links that requests do not show, and how often: probes cost time.

An ask is worth it only if an answer could change the plan. Each tier and link has a credit of
seconds that grows with time, so that what is asked of it stays a known share of the time.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from itertools import pairwise

from edgesplit.core.changed import changed
from edgesplit.core.coding import sent_bytes
from edgesplit.core.control.belief import Pair, TierBelief
from edgesplit.core.control.believed_profile import (
    optimistic_profile,
    profile_if_suspicions_hold,
)
from edgesplit.core.control.decide import candidate, cost_of, is_worth, model_of
from edgesplit.core.control.event import Action, MeasureTier, ProbeLink
from edgesplit.core.control.shared_end import in_question
from edgesplit.core.control.state import (
    Ask,
    Asking,
    ControlState,
    Hope,
    ProbeKey,
    RepeatedProbe,
    current_profile,
)
from edgesplit.core.control.trust import doubted
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.plan import Plan
from edgesplit.core.policies.policy import score
from edgesplit.core.profile import Link, Profile, Tier

_LEAST_BYTES = 16 * 1024  # smaller ones vanish in latency and in a shaper's bucket
_SLOW_LEAST_BYTES = 4 * 1024  # where these would take longer than a probe may: the least that tells
_QUIET_SHARE, _LONGEST_S = 0.05, 30.0  # of the time since a figure changed, until the next ask
_WATCHED_SHARE = 0.2  # the same where its host would say that its load has changed
_CREDIT_PROBES = 4  # of the longest kind, saved up for a burst: four confirm a change
_HOPE = 16.0  # times the best rate known: a link may have become better than ever seen
_RARELY = 20.0  # times as long as it was never better, until such a hope comes true on average
_ROUTES = 2  # plans that are hoped for at once, the second without the figures of the first
_TRIED = 3  # asks that are looked at whether one of them alone decides: each costs a decision
_LIKELY = 0.2  # that a doubt is true: what may be paid to know it one request earlier
_BETTER = 1.25  # a figure that could improve by less is not asked for: its error is near that
_CLEARLY = 1.5  # times better: what noise of 10 % does not pretend, so worth a burst
_LATENCY_MATTERS_S = 1e-3  # nor a latency below this: scheduling jitter
_DEAREST = 2.0  # an answer is charged at most so often the time expected: outliers are no fault


def key_of(ask: Ask) -> ProbeKey:
    """The tier or link that an ask is about."""
    return (ask.source, ask.target) if isinstance(ask, ProbeLink) else ask.tier


def answered(state: ControlState, key: ProbeKey, seconds: float) -> ControlState:
    """The state after an answer that took so many seconds."""
    asking, settings = asking_of(state, key), state.settings
    charged_s = min(seconds, _DEAREST * asking.expected_s)
    # A link that has broken down is asked again all the same, or its recovery would not be seen.
    credit_s = max(asking.credit_s - charged_s, -settings.probe_share * settings.patrol_s)
    asking = changed(asking, is_waiting=False, credit_s=credit_s)
    return changed(state, asking={**state.asking, key: asking}, asked_s=state.asked_s + seconds)


def repeat(state: ControlState) -> tuple[ControlState, list[Action]]:
    """Ask what is wanted and due, briefly; tiers in doubt first, whether they answer again."""
    actions, longest_s = list[Action](), _longest_s(state)
    for one in wanted(state):
        state, asks = _ask(state, one.ask, one.every_s, longest_s)
        actions += asks
    return state, actions


def wanted(state: ControlState) -> list[RepeatedProbe]:
    """What is to be asked again and again, and how often by now: trials first."""
    rarer = (replace(one, every_s=_every_s(state, one)) for one in state.repeated)
    return [*trials(state), *rarer]


def _every_s(state: ControlState, repeated: RepeatedProbe) -> float:
    """Seconds between two such asks now: the longer nothing has changed, the longer it may last."""
    key, beliefs = key_of(repeated.ask), state.beliefs
    belief = beliefs.tiers[key] if isinstance(key, str) else beliefs.links[key]
    is_watched = isinstance(belief, TierBelief) and belief.is_watched
    share = _WATCHED_SHARE if is_watched else _QUIET_SHARE
    quiet_s = state.now_s - belief.changed_s
    # Every t seconds costs 1 / t probes a second, and the change is seen t / 2 late.
    repaying_s = math.sqrt(2 * repeated.repaid_s * _RARELY * quiet_s)
    return max(repeated.every_s, min(max(share * quiet_s, repaying_s), _LONGEST_S))


def trials(state: ControlState) -> list[RepeatedProbe]:
    """A probe of each tier in doubt, over its link from the tier that reported it if that is up."""
    probes = list[RepeatedProbe]()
    for tier in sorted(doubted(state.trusts) - state.lost - state.removed.keys()):
        sources = [ln.source for ln in state.profile.links if ln.target == tier]
        reporter = state.trusts[tier].asked_by
        sources.sort(key=lambda name: (name in state.away, name != reporter))
        if sources:
            ask = ProbeLink(sources[0], tier, _LEAST_BYTES)
            probes.append(RepeatedProbe(ask, state.settings.probe_interval_s))
    return probes


def confirm(state: ControlState, asks: Iterable[Ask]) -> tuple[ControlState, list[Action]]:
    """Ask at once and with bulk, so that a doubt is soon cleared."""
    actions = list[Action]()
    for ask in asks:
        state, more = _ask(state, ask, 0.0, state.settings.probe_longest_s)
        actions += more
    return state, actions


def _ask(
    state: ControlState, ask: Ask, every_s: float, longest_s: float
) -> tuple[ControlState, list[Action]]:
    key, settings, now_s = key_of(ask), state.settings, state.now_s
    asking = asking_of(state, key)
    wait_s = max(every_s, settings.probe_timeout_s) if asking.is_waiting else every_s
    is_idle = now_s - state.requested_s > settings.idle_s
    least_s = 0.0 if every_s else -settings.probe_longest_s  # or a burst would end too soon
    if is_idle or now_s - asking.asked_s < wait_s or asking.credit_s <= least_s:
        return state, []
    sized = _sized(state, ask, longest_s)
    expected_s = _expected_s(state, sized)
    asking = changed(asking, asked_s=now_s, is_waiting=True, expected_s=expected_s)
    return changed(state, asking={**state.asking, key: asking}), [sized]


def _expected_s(state: ControlState, ask: Ask) -> float:
    if isinstance(ask, ProbeLink):
        link = state.beliefs.links[ask.source, ask.target]
        return ask.sent_bytes / link.rate.value + 2 * link.latency.value
    layer_s = state.profile.tier(ask.tier).layer_s_in(ask.runtime)
    return sum(layer_s[ask.start : ask.stop]) * state.beliefs.tiers[ask.tier].slowdown.value


def asking_of(state: ControlState, key: ProbeKey) -> Asking:
    """What has been asked about it, with the credit that it has earned by now."""
    most_s = _CREDIT_PROBES * state.settings.probe_longest_s
    old = state.asking.get(key)
    if old is None:
        return Asking(-math.inf, False, math.inf, most_s, state.now_s)
    earned_s = state.settings.probe_share * (state.now_s - old.credited_s)
    return changed(old, credit_s=min(most_s, old.credit_s + earned_s), credited_s=state.now_s)


def _sized(state: ControlState, ask: Ask, longest_s: float) -> Ask:
    """The ask cut down to what takes longest_s by what is believed, last seen or feared."""
    if isinstance(ask, ProbeLink):
        rate = state.beliefs.links[ask.source, ask.target].rate
        feared = feared_rates(state).get((ask.source, ask.target), rate.value)
        most = int(longest_s * min(rate.value, rate.last, feared))
        least = max(_SLOW_LEAST_BYTES, min(_LEAST_BYTES, most))
        return replace(ask, sent_bytes=max(least, min(ask.sent_bytes, most)))
    slowdown = state.beliefs.tiers[ask.tier].slowdown
    left_s = longest_s / max(slowdown.value, slowdown.last)
    stop = ask.start
    layer_s = state.profile.tier(ask.tier).layer_s_in(ask.runtime)
    for seconds in layer_s[ask.start : ask.stop]:
        if stop > ask.start and seconds > left_s:
            break
        left_s -= seconds
        stop += 1
    return replace(ask, stop=stop)


def look_for_probes(state: ControlState) -> ControlState:
    """The state with what to ask while the active plan stands, and one hope less to look into.

    Figures that could make a plan beat it are asked for: stale ones as good as ever seen, and
    unused ones better than that. Each hope costs a decision of the policy or a few, so that one is
    looked into with each event after an evaluation, and none that could not be asked for anyway.
    """
    hope, *rest = state.hopes
    now = current_profile(state)
    asks = _asks_for(state, hope, now)
    if state.policy == score and not state.arrivals.is_crowded:  # else more need not be better
        decisive = _decisive(state, now, [one.ask for one in asks])
        if decisive is not None:
            asks, rest = [one for one in asks if one.ask == decisive], []
    # Those of the hope before, which this evaluation has looked into; older ones are for nothing.
    kept = state.repeated if hope == "unused" else ()
    keys = {key_of(one.ask) for one in kept}
    repeated = (*kept, *(one for one in asks if key_of(one.ask) not in keys))
    return changed(state, repeated=repeated, hopes=tuple(rest))


def _asks_for(state: ControlState, hope: Hope, now: Profile) -> list[RepeatedProbe]:
    """Asks of the plan that would beat the active one, and of the next one that does without them.

    Or a route would never be asked about while a better one cannot come true. Another's policy may
    be slow: it is asked once.
    """
    found = list[RepeatedProbe]()
    for _ in range(_ROUTES if state.policy == score else 1):
        known = {key_of(one.ask) for one in found}
        more = _asks_of_best(state, hope, now, _hoped(state, hope, now, known))
        found += [one for one in more if key_of(one.ask) not in known]
        if not more:
            break
    return found


def _hoped(state: ControlState, hope: Hope, now: Profile, known: Collection[ProbeKey]) -> Profile:
    """The profile as it might be, but for what is known."""
    assert state.active is not None, "hopes are of a plan in force"
    if hope == "stale":
        stale = _stale(state, state.active).difference(known)
        return optimistic_profile(state.profile, now, stale, 1.0)
    unused = _unused(state, state.active).difference(known)
    return optimistic_profile(state.profile, now, unused, _HOPE)


def _asks_of_best(
    state: ControlState, hope: Hope, now: Profile, hoped: Profile
) -> list[RepeatedProbe]:
    """Asks about figures of the plan that would beat the active one, were they as hoped."""
    current, settings = state.weighed, state.settings
    better = {*_better_tiers(now, hoped), *_better_links(now, hoped)}
    best = _worth_leaving_for(state, model_of(state, hoped), current) if better else None
    if best is None or current is None:
        return []
    asks = [ask for ask in asks_along(state, best.plan) if key_of(ask) in better]
    if hope == "stale":
        return [RepeatedProbe(ask, settings.probe_interval_s) for ask in asks]
    model, longest_s, gain_per_s = model_of(state, now), _longest_s(state), 0.0
    gap_s = state.arrivals.mean_gap_s
    if gap_s is not None and best.feasible == current.feasible:  # else it is no matter of score
        gain_per_s = max(0.0, current.score - best.score) / gap_s
    found = list[RepeatedProbe]()
    for ask in asks:
        price = _price(state, model, _sized(state, ask, longest_s))
        repaid_s = price / gain_per_s if gain_per_s else 0.0
        found.append(RepeatedProbe(ask, settings.patrol_s, repaid_s))
    return found


def _decisive(state: ControlState, now: Profile, asks: list[Ask]) -> Ask | None:
    """One of the first asks, if nothing is gained while it is as believed; None if there is none.

    While that is so, what all the others would answer does not matter, however good. Links come
    first, in the order of the route: all that is offloaded goes over the first of them.
    """
    assert state.active is not None, "hopes are of a plan in force"
    stale = _stale(state, state.active)
    asks = sorted(asks, key=lambda ask: isinstance(ask, MeasureTier))
    for ask in asks[:_TRIED] if len(asks) > 1 else ():
        others = stale - {key_of(ask)}
        hoped = optimistic_profile(state.profile, now, others, _HOPE)
        if _worth_leaving_for(state, model_of(state, hoped), state.weighed) is None:
            return ask
    return None


def _worth_leaving_for(state: ControlState, model: CostModel, current: Cost | None) -> Cost | None:
    """Of the plan that is worth leaving the active one for by the model. current: the active one's.

    None where no plan is.
    """
    best = candidate(state, model, current)
    if best is None or best.plan == state.active or not is_worth(state, best, current):
        return None
    return best


def _price(state: ControlState, model: CostModel, ask: Ask) -> float:
    """What the joules of an ask add to a score."""
    seconds = _expected_s(state, ask)
    if isinstance(ask, MeasureTier):
        return model.busy_score(ask.tier, "compute", seconds)
    sending = model.busy_score(ask.source, "transmit", seconds)
    return sending + model.busy_score(ask.target, "receive", seconds)


def _unused(state: ControlState, active: Plan) -> set[ProbeKey]:
    """Tiers and links that the active plan does not use."""
    tiers = set[ProbeKey](state.beliefs.tiers) - used_tiers(active)
    return tiers.union(set(state.beliefs.links) - used_links(active))


def _stale(state: ControlState, active: Plan) -> set[ProbeKey]:
    """Those, and links that the requests of the active plan have not shown of late."""
    oldest_s = state.now_s - state.settings.probe_timeout_s
    links = state.beliefs.links.items()
    return _unused(state, active).union(pair for pair, ln in links if ln.seen_s < oldest_s)


def used_tiers(plan: Plan) -> set[str]:
    """Tiers that compute something."""
    return {stage.tier for stage in plan.stages if len(stage)}


def used_links(plan: Plan) -> set[Pair]:
    """Links of the route, both ways."""
    hops = list(zip(plan.route[:-1], plan.route[1:], strict=True))
    return {*hops, *((v, u) for u, v in hops)}


def _better_tiers(now: Profile, hoped: Profile) -> list[ProbeKey]:
    def gains(old: Tier, new: Tier) -> bool:
        return old.slowdown > _BETTER * new.slowdown

    pairs = zip(now.tiers, hoped.tiers, strict=True)
    return [old.name for old, new in pairs if gains(old, new)]


def _better_links(now: Profile, hoped: Profile) -> list[ProbeKey]:
    def gains(old: Link, new: Link) -> bool:
        is_sooner = old.latency_s > max(_BETTER * new.latency_s, _LATENCY_MATTERS_S)
        return is_sooner or new.bytes_per_s > _BETTER * old.bytes_per_s

    pairs = zip(now.links, hoped.links, strict=True)
    return [old.pair for old, new in pairs if gains(old, new)]


def asks_along(state: ControlState, plan: Plan) -> list[Ask]:
    """An ask for each figure that `plan` relies on: its segments, its links both ways."""
    graph, profile = state.graph, state.profile
    asks: list[Ask] = [
        MeasureTier(s.tier, s.start, s.stop, s.runtime) for s in plan.stages if len(s)
    ]
    for (u, v), codec, cut in zip(pairwise(plan.route), plan.codecs, plan.cuts, strict=True):
        sent = int(sent_bytes(graph, profile, codec, cut))
        asks += [ProbeLink(u, v, sent), ProbeLink(v, u, graph.output_bytes)]
    return asks


def feared_rates(state: ControlState) -> Mapping[Pair, float]:
    """By link that is in question now, the rate that it may have fallen to, in bytes/s."""
    return in_question(state.beliefs, state.now_s - state.settings.probe_timeout_s)


def probes_for_questions(state: ControlState, plan: Plan) -> list[Ask]:
    """Asks about links of `plan` that may have become slow beside another one; not for replies."""
    pairs = set(feared_rates(state)).intersection(pairwise(plan.route))
    return [ask for ask in asks_along(state, plan) if key_of(ask) in pairs] if pairs else []


def probes_for_doubts(state: ControlState, plan: Plan, since_s: float) -> list[Ask]:
    """Asks about figures of `plan` put in doubt since then, but not what requests show anyway."""
    keys = _in_doubt(state, since_s) - _shown(state)
    return [ask for ask in asks_along(state, plan) if key_of(ask) in keys] if keys else []


def probes_for_new_doubts(state: ControlState) -> list[Ask]:
    """Asks about figures that this very event has put in doubt, if the doubt could matter.

    It matters if a figure hoped to be better seems so, or if another plan would be worth switching
    to, were the last observations true. After one surprise, what the next request shows of a tier
    anyway is only asked where that costs less than it may save.
    """
    active, now_s = state.active, state.now_s
    keys = _in_doubt(state, now_s) - _shown(state)
    if active is None or state.pending is not None or not keys:
        return []
    hopes = [w.ask for w in state.repeated if key_of(w.ask) in keys and _seems_better(state, w.ask)]
    if hopes:
        return hopes
    model = model_of(
        state, profile_if_suspicions_hold(current_profile(state), state.beliefs, now_s)
    )
    current = cost_of(state, model, active)
    best = _worth_leaving_for(state, model, current)
    if best is None:
        return []
    asks = {key_of(ask): ask for plan in (active, best.plan) for ask in asks_along(state, plan)}
    asked = [ask for key, ask in asks.items() if key in keys]
    if current is None or best.feasible != current.feasible:
        return asked
    most = _LIKELY * (current.score - best.score)
    return [ask for ask in asked if not _is_too_dear(state, model, ask, most)]


def _is_too_dear(state: ControlState, model: CostModel, ask: Ask, most: float) -> bool:
    """Whether it may be an outlier that the next request shows, and asking costs more than that."""
    key, active = key_of(ask), state.active
    if not isinstance(key, str) or active is None or key not in used_tiers(active):
        return False
    if not state.beliefs.tiers[key].slowdown.doubted_once:
        return False
    return _price(state, model, _sized(state, ask, state.settings.probe_longest_s)) > most


def probe_for_load(state: ControlState, tier: str) -> tuple[ControlState, list[Action]]:
    """Measure a tier whose load has changed since it was measured, if that could matter."""
    if state.active is None or state.pending or tier in state.away:
        return state, []
    if not state.beliefs.tiers[tier].is_outdated:
        return state, []
    asks = [repeated.ask for repeated in state.repeated]
    if tier in used_tiers(state.active):
        asks = asks_along(state, state.active)
    actions, runtimes = list[Action](), state.profile.tier(tier).runtimes
    for ask in asks:
        # A plan that is about to be left may name a runtime that was dropped.
        if isinstance(ask, MeasureTier) and ask.tier == tier and ask.runtime in runtimes:
            state, more = _ask(state, ask, 0.0, _longest_s(state))
            actions += more
    return state, actions


def _longest_s(state: ControlState) -> float:
    """What one of the probes that are repeated may take."""
    settings = state.settings
    return min(settings.probe_longest_s, settings.probe_share * settings.probe_interval_s)


def _in_doubt(state: ControlState, since_s: float) -> set[ProbeKey]:
    tiers, links = state.beliefs.tiers.items(), state.beliefs.links.items()
    keys = set[ProbeKey](name for name, tier in tiers if tier.in_doubt(since_s))
    return keys.union(pair for pair, link in links if link.in_doubt(since_s))


def _shown(state: ControlState) -> set[ProbeKey]:
    """What the next requests show anyway, of what the active plan uses.

    Where they are rare, only tiers that have not run their range for long: there it may be the
    range that differs, not the tier's speed, and the layers that a probe runs are another range.
    """
    if state.active is None:
        return set()
    tiers = used_tiers(state.active)
    if state.request_gap_s < state.settings.probe_interval_s / 2:
        return {*tiers, *used_links(state.active)}
    return {name for name in tiers if not state.beliefs.tiers[name].shown.is_settled}


def _seems_better(state: ControlState, ask: Ask) -> bool:
    """True if the last observation alone was clearly better than what is believed."""
    if isinstance(ask, MeasureTier):
        slowdown = state.beliefs.tiers[ask.tier].slowdown
        return slowdown.value > _CLEARLY * slowdown.last
    link = state.beliefs.links[ask.source, ask.target]
    is_sooner = link.latency.value > max(_CLEARLY * link.latency.last, _LATENCY_MATTERS_S)
    return is_sooner or link.rate.last > _CLEARLY * link.rate.value
