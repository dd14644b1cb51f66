"""A recording of one control loop as lines of JSON, safe to read from a stranger.

The first line says what it is, the second holds the state from which the events start, each other
line one event and what was done about it. Reading makes the declared values only, and checks them.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass, replace
from itertools import islice
from typing import Any

from edgesplit.core.control.belief import Beliefs
from edgesplit.core.control.estimate import Estimate
from edgesplit.core.control.event import ACTIONS, EVENTS, Action, Event
from edgesplit.core.control.shown import Shown
from edgesplit.core.control.state import ControlState
from edgesplit.core.layer_times import are_seconds
from edgesplit.core.plain_data import PlainDataError, plain_form, tagged
from edgesplit.core.policies.checked import bare, checked
from edgesplit.core.policies.learning import learns
from edgesplit.core.policies.named import policy_named
from edgesplit.core.policies.policy import Policy, score
from edgesplit.errors import EdgeSplitError, EventFileError

FORMAT, VERSION = "edgesplit events", 6
MOST_LINE_CHARACTERS = 16_000_000
MOST_EVENTS = 100_000
_MOST_LAYERS, _MOST_TIERS = 50_000, 64
_MOST_LEVEL = 300.0  # of an estimate: beyond, its value is no number
_events, _actions = tagged(EVENTS), tagged(ACTIONS)

Entry = tuple[Event, tuple[Action, ...]]


@dataclass(frozen=True)
class EventLog:
    """What happened to one workload's control loop, and what it asked for each time.

    edgesplit: the version that recorded it. policy: as the user named it; empty for a function,
    which no file can hold: `start` holds the policy `score` then. What a named policy had learned
    before the first event is in the file, where it is plain data.
    """

    edgesplit: str
    session_id: str
    workload_id: str
    policy: str
    start: ControlState
    entries: tuple[Entry, ...]


def lines_of(log: EventLog) -> Iterator[str]:
    """The lines of the file, each with its end."""
    head = {
        "format": FORMAT,
        "version": VERSION,
        "edgesplit": log.edgesplit,
        "session": log.session_id,
        "workload": log.workload_id,
        "policy": log.policy,
        "events": len(log.entries),
        "learned": _learned(bare(log.start.policy)) if log.policy else None,
    }
    yield _line(head)
    yield _line(plain_form(ControlState).encode(log.start))
    for event, actions in log.entries:
        yield _line([_events.encode(event), [_actions.encode(action) for action in actions]])


def read_lines(lines: Iterable[str]) -> EventLog:
    """The recording. Raises EventFileError, with the number of the line that is wrong."""
    numbered = enumerate(_short(lines), 1)
    head = _head(next(numbered, (1, ""))[1])
    number, text = next(numbered, (2, ""))
    state = _checked(_value(number, text, plain_form(ControlState).decode))
    policy = _policy(head, state.profile.names)
    wanted = head["events"]
    entries = tuple(_value(n, line, _entry) for n, line in islice(numbered, wanted))
    if len(entries) < wanted:
        raise EventFileError(
            f"the file ends after {len(entries)} of {wanted} events: it is cut short"
        )
    if next(numbered, None) is not None:
        raise EventFileError(f"line {wanted + 3}: more follows than the {wanted} events announced")
    about = (head["edgesplit"], head["session"], head["workload"], head["policy"])
    return EventLog(*about, replace(state, policy=policy), entries)


def _learned(policy: Policy) -> Any:
    """What a policy has learned, as plain data; None where it learns nothing, or cannot be so."""
    if not (learns(policy) and is_dataclass(policy)):
        return None
    try:
        return plain_form(type(policy)).encode(policy)
    except (TypeError, ValueError):  # a field of no declared plain type
        return None


def _policy(head: Mapping[str, Any], tiers: Sequence[str]) -> Policy:
    """The policy of that name, as it had learned. Raises EventFileError."""
    try:
        policy = policy_named(head["policy"], tiers) if head["policy"] else score
        if head.get("learned") is not None and learns(policy) and is_dataclass(policy):
            policy = plain_form(type(policy)).decode(head["learned"])
    except (EdgeSplitError, PlainDataError) as error:
        raise EventFileError(f"line 1: {error}") from error
    return checked(policy)  # what a stranger's file says that it has learned may make no sense


def _line(data: Any) -> str:
    return json.dumps(data, separators=(",", ":"), allow_nan=False) + "\n"


def _short(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if len(line) > MOST_LINE_CHARACTERS:
            raise EventFileError(f"line {number} is over {MOST_LINE_CHARACTERS:,} characters")
        yield line


def _head(text: str) -> dict[str, Any]:
    try:
        head = json.loads(text)
    except (ValueError, RecursionError):
        head = None
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise EventFileError(
            "this is no recording of events: the first line should be that of a file that "
            "`edgesplit events --out FILE` wrote"
        )
    if head.get("version") != VERSION:
        raise EventFileError(
            f"the file has version {head.get('version')!r:.20} of the format, this EdgeSplit reads "
            f"{VERSION}: use the EdgeSplit that wrote it ({head.get('edgesplit')!r:.20})"
        )
    texts = (head.get(name) for name in ("edgesplit", "session", "workload", "policy"))
    count = head.get("events")
    is_count = isinstance(count, int) and not isinstance(count, bool) and 0 <= count <= MOST_EVENTS
    if not (is_count and all(isinstance(text, str) for text in texts)):
        raise EventFileError(
            f"line 1: who recorded what is missing, or it is over {MOST_EVENTS:,} events"
        )
    return head


def _value(number: int, text: str, decode: Any) -> Any:
    if not text.endswith("\n"):
        raise EventFileError(f"line {number} does not end: the file is cut short")
    try:
        return decode(json.loads(text, parse_constant=_no_constant))
    except PlainDataError as error:
        raise EventFileError(f"line {number}: {error}") from error
    except (ValueError, RecursionError) as error:
        raise EventFileError(f"line {number} is no JSON: {error}") from error


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _entry(data: Any) -> Entry:
    if not (isinstance(data, list) and len(data) == 2 and isinstance(data[1], list)):
        raise PlainDataError("expected an event and what was done about it")
    return _events.decode(data[0]), tuple(_actions.decode(action) for action in data[1])


def _checked(state: ControlState) -> ControlState:
    """The state itself. Raises EventFileError where its parts do not belong together."""
    graph, names = state.graph, state.profile.names
    pairs = {link.pair for link in state.profile.links}
    known = {*names, *pairs}
    held = (state.pending, state.refused, state.weighed)
    plans = [state.active, *(one.plan for one in held if one is not None)]
    same = (
        (len(graph) <= _MOST_LAYERS and len(names) <= _MOST_TIERS, "its size"),
        (all(len(t.layer_s) == len(graph) for t in state.profile.tiers), "its layers"),
        (set(state.beliefs.tiers) == set(names), "the tiers believed in"),
        (set(state.beliefs.links) == pairs, "the links believed in"),
        (all(_is_shown(tier.shown, len(graph)) for tier in state.beliefs.tiers.values()),
         "the ranges shown"),
        (all(map(_is_sane, _estimates(state.beliefs))), "its estimates"),
        (state.basis.profile.entry_tier == names[0], "the tiers decided for"),
        ({*state.lost, *state.trusts} <= set(names), "the tiers trusted"),
        (set(state.removed) <= set(names[1:]), "the tiers removed"),
        (set(state.asking) <= known, "what was asked"),
        (state.calm is None or {*state.calm.tiers, *state.calm.links} == known, "what was weighed"),
        (math.isfinite(state.now_s) and math.isfinite(state.decided_s), "its times"),
    )  # fmt: skip
    for is_so, what in same:
        if not is_so:
            raise EventFileError(f"line 2: {what} cannot be: the parts do not belong together")
    try:
        for plan in filter(None, plans):
            plan.check(graph, names)
        for repeated in state.repeated:
            list(map(state.profile.tier, _tiers_of(repeated.ask)))
    except EdgeSplitError as error:
        raise EventFileError(f"line 2: {error}") from error
    return state


def _tiers_of(ask: Any) -> tuple[str, ...]:
    return (ask.tier,) if hasattr(ask, "tier") else (ask.source, ask.target)


def _estimates(beliefs: Beliefs) -> Iterator[Estimate]:
    yield from (tier.slowdown for tier in beliefs.tiers.values())
    for link in beliefs.links.values():
        yield from (link.rate, link.latency)


def _is_shown(shown: Shown, n_layers: int) -> bool:
    ranges = (*shown.took, *shown.ranges)
    stages = [*(one.stage for one in ranges), *([shown.current] if shown.current else ())]
    return (
        all(0 <= stage.start < stage.stop <= n_layers for stage in stages)
        and all(0 < one.seconds < math.inf for one in ranges)
        and all(len(row) == n_layers and are_seconds(row) for row in shown.layer_s.values())
    )


def _is_sane(one: Estimate) -> bool:
    levels = (one.level, *one.recent)
    is_spread = 0 < one.sigma_floor <= one.sigma < _MOST_LEVEL
    return is_spread and all(abs(level) < _MOST_LEVEL for level in levels)
