"""Which tiers there are: some are lost and come back, others are added and removed.

A removed tier is left out of plans at once and forgotten later: requests that were under way say
something of it for a while.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from edgesplit.core.control.ask import key_of
from edgesplit.core.control.belief import Pair, believe_link, believe_tier
from edgesplit.core.control.event import TierAdded
from edgesplit.core.control.state import ControlState, ProbeKey
from edgesplit.core.control.trust import TRUSTED

_Key = TypeVar("_Key", str, Pair, ProbeKey)
_Value = TypeVar("_Value")

FORGET_S = 60.0  # after it was removed: as long as a request may take


def lost(state: ControlState, tier: str) -> ControlState:
    """The state once the tier cannot be reached; its trust has gone down."""
    if tier in state.lost:
        return state  # every call that finds the actor dead says so
    trust = state.trusts.get(tier, TRUSTED).failed(state.profile.entry_tier, state.now_s)
    return replace(state, lost=state.lost | {tier}, trusts={**state.trusts, tier: trust})


def joined(state: ControlState, tier: str) -> ControlState:
    """The state once a lost tier is back, perhaps on trial."""
    if tier not in state.lost:
        return state
    trust = state.trusts.get(tier, TRUSTED).joined(state.now_s)
    return replace(state, lost=state.lost - {tier}, trusts={**state.trusts, tier: trust})


def added(state: ControlState, event: TierAdded) -> ControlState:
    """The state with one more tier, believed to be as it was profiled.

    One of that name that was removed is forgotten first; what is held of its reliability stays.
    """
    name, trusts = event.tier.name, state.trusts
    state = _without(state, {name})
    tiers = {**state.beliefs.tiers, name: believe_tier(event.tier, event.at_s)}
    links = {link.pair: believe_link(link, event.at_s) for link in event.links}
    beliefs = replace(state.beliefs, tiers=tiers, links={**state.beliefs.links, **links})
    profile = state.profile.with_added(event.tier, event.links)
    return replace(state, profile=profile, beliefs=beliefs, trusts=trusts)


def removed(state: ControlState, tier: str) -> ControlState:
    """The state in which no plan may use the tier any more. What is being prepared on it is not."""
    if tier in state.removed:
        return state
    pending = state.pending
    if pending is not None and tier in pending.plan.route:
        pending = None
    return replace(state, removed={**state.removed, tier: state.now_s}, pending=pending)


def forget(state: ControlState) -> ControlState:
    """The state without what was removed a while ago and is named by no plan and no limit."""
    if not state.removed:
        return state
    plans = [state.active] + ([state.pending.plan] if state.pending else [])
    named = {tier for plan in plans if plan is not None for tier in plan.route}
    named |= set(state.goal.memory_bytes)
    old_s = state.now_s - FORGET_S
    gone = {tier for tier, at_s in state.removed.items() if at_s <= old_s} - named
    return _without(state, gone) if gone else state


def _without(state: ControlState, gone: set[str]) -> ControlState:
    """The state as if those tiers had never been there; the plan in force is left as it is."""
    if gone.isdisjoint(state.profile.names):
        return state

    tiers, links = _kept(state.beliefs.tiers, gone), _kept(state.beliefs.links, gone)
    refused = state.refused
    if refused is not None and not gone.isdisjoint(refused.plan.route):
        refused = None
    return replace(
        state,
        profile=state.profile.without_tiers(gone),
        beliefs=replace(state.beliefs, tiers=tiers, links=links),
        refused=refused,
        lost=state.lost - gone,
        removed=_kept(state.removed, gone),
        asking=_kept(state.asking, gone),
        repeated=tuple(one for one in state.repeated if _stays(key_of(one.ask), gone)),
        trusts=_kept(state.trusts, gone),
        calm=None,
    )


def _kept(mapping: Mapping[_Key, _Value], gone: set[str]) -> dict[_Key, _Value]:
    return {key: value for key, value in mapping.items() if _stays(key, gone)}


def _stays(key: ProbeKey, gone: set[str]) -> bool:
    return gone.isdisjoint((key,) if isinstance(key, str) else key)
