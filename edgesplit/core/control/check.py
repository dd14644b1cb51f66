"""What cannot have happened: time running back, negative durations, tiers that are not there."""

import math
from itertools import pairwise

from edgesplit.core.control.belief import Pair
from edgesplit.core.control.event import (
    CodecsMeasured,
    Event,
    GoalChanged,
    LayerTimesMeasured,
    LinkProbed,
    Observed,
    PrepareFailed,
    Ready,
    RowDropped,
    TierAdded,
    TierJoined,
    TierLoaded,
    TierLost,
    TierMeasured,
    TierRemoved,
    Transferring,
)
from edgesplit.core.control.state import ControlState
from edgesplit.errors import EventError, ProfileError, UnknownNameError


def check(state: ControlState, event: Event) -> None:
    """Raise EventError for what cannot have happened, UnknownNameError for unknown tiers, links."""
    if not (math.isfinite(event.at_s) and event.at_s >= state.now_s):
        raise EventError(f"time runs forward: the last event was at {state.now_s} s, now {event}")
    match event:
        case Observed():
            _check_samples(state, event)
        case LinkProbed():
            if (event.source, event.target) not in state.beliefs.links:
                raise UnknownNameError(f"no link {event.source}->{event.target}, given {event}")
            _check_durations(event, event.seconds, event.latency_s)
            if event.sent_bytes <= 0 or event.seconds <= 0:
                raise EventError(f"a probe sends bytes and takes time, given {event}")
        case Transferring():
            if (event.source, event.target) not in state.beliefs.links:
                raise UnknownNameError(f"no link {event.source}->{event.target}, given {event}")
            _check_durations(event, event.seconds)
            if event.sent_bytes < 0:
                raise EventError(f"a payload has no fewer than 0 bytes, given {event}")
        case TierMeasured():
            _check_segment(state, event.tier, event.start, event.stop)
            _check_durations(event, event.seconds)
        case GoalChanged():
            if event.goal.boundary != state.goal.boundary:
                raise EventError(
                    f"joules are counted {state.goal.boundary} here, which stays; given {event}"
                )
        case TierAdded():
            _check_added(state, event)
        case TierRemoved():
            if state.profile.tier(event.tier).name == state.profile.entry_tier:
                raise EventError(f"the tier that holds the input stays, given {event}")
        case CodecsMeasured():
            _check_codecs(state, event)
        case LayerTimesMeasured():
            _check_row(state, event)
        case TierLoaded():
            state.profile.tier(event.tier)
            if not (math.isfinite(event.demand_price) and event.demand_price >= 0):
                raise EventError(f"a price of demand is a finite number >= 0, given {event}")
        case Ready() | PrepareFailed() | TierLost() | TierJoined() | RowDropped():
            state.profile.tier(event.tier)


def _check_samples(state: ControlState, event: Observed) -> None:
    for timing in event.timings:
        _check_segment(state, timing.tier, timing.start, timing.stop)
        _check_durations(event, timing.busy_s, timing.own_s, timing.hop_s)
        if timing.given_up is not None:
            state.profile.tier(timing.given_up[0])
    route = [timing.tier for timing in event.timings]
    for pair in pairwise(route):
        if pair not in state.beliefs.links:
            raise UnknownNameError(f"no link {pair[0]}->{pair[1]}, given {event}")


def _check_segment(state: ControlState, tier: str, start: int, stop: int) -> None:
    state.profile.tier(tier)
    if not 0 <= start <= stop <= len(state.graph):
        raise EventError(
            f"{state.graph.name} has layers 0-{len(state.graph)}, given {tier}:{start}-{stop}"
        )


def _check_added(state: ControlState, event: TierAdded) -> None:
    name, there = event.tier.name, set(state.profile.names) - state.removed.keys()
    if name in there:
        raise EventError(
            f"tier {name!r} is there already; TierJoined says that a lost one is back, TierRemoved "
            "first that it is another one"
        )
    if len(event.tier.layer_s) != len(state.graph):
        raise EventError(
            f"{state.graph.name} has {len(state.graph)} layers, tier {name!r} was profiled on "
            f"{len(event.tier.layer_s)}"
        )
    pairs = [link.pair for link in event.links]
    others = {end for pair in pairs for end in pair} - {name}
    if not (pairs and others <= there and all(name in pair for pair in pairs)):
        raise EventError(
            "the links of a new tier are between it and tiers that are there "
            f"({', '.join(sorted(there))}), given {_text(pairs)}"
        )
    if len(set(pairs)) < len(pairs) or {pair[::-1] for pair in pairs} != set(pairs):
        raise EventError(
            f"each link of a new tier is given once, and so is its reverse, given {_text(pairs)}"
        )


def _text(pairs: list[Pair]) -> str:
    return ", ".join("->".join(pair) for pair in pairs) or "none"


def _check_row(state: ControlState, event: LayerTimesMeasured) -> None:
    state.profile.tier(event.tier)
    if len(event.times.layer_s) != len(state.graph):
        raise EventError(
            f"{state.graph.name} has {len(state.graph)} layers, the layer times of tier "
            f"{event.tier!r} in {event.times.runtime!r} are {len(event.times.layer_s)}"
        )


def _check_codecs(state: ControlState, event: CodecsMeasured) -> None:
    tiers = [tier for tier, _ in event.speeds]
    if len(set(tiers)) != len(tiers):
        raise EventError(f"a tier's speeds are given twice: {', '.join(tiers)}")
    try:
        for tier in tiers:
            state.profile.tier(tier)
        state.profile.with_codecs(event.codecs, dict(event.speeds))
    except ProfileError as error:
        raise EventError(f"{error}, given {type(event).__name__}") from error


def _check_durations(event: Event, *durations_s: float) -> None:
    if not all(math.isfinite(seconds) and seconds >= 0 for seconds in durations_s):
        raise EventError(f"durations must be finite seconds >= 0, given {event}")
