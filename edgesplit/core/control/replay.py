"""Play recorded events through the control loop again: what it decides, why, and whether so then.

The same events in the same state give the same actions, on any machine and without Ray.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal

from edgesplit.core.control.event import Action, Activate, Event, Prepare
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.control.standing import Standing, standing
from edgesplit.core.control.state import ControlState
from edgesplit.core.control.step import Step, step
from edgesplit.core.plan import Plan
from edgesplit.errors import EdgeSplitError, EventFileError

Verb = Literal["prepare", "activate", "keep"]


@dataclass(frozen=True)
class Verdict:
    """One thing decided. plan: to be prepared or put in force, or the one that is kept."""

    verb: Verb
    plan: Plan
    reason: str = ""


@dataclass(frozen=True)
class ReplayedDecision:
    """What an event led to. number: of the event, from 1. after_s: since the recording's start.

    now: what is decided. then: what was, as far as it was carried out: it is not recorded why a
    plan was prepared or kept. is_same: all that was asked for is the same, probes included.
    """

    number: int
    after_s: float
    event: str
    now: tuple[Verdict, ...]
    then: tuple[Verdict, ...]
    is_same: bool


def replay(state: ControlState, events: Iterable[Event]) -> list[Step]:
    """The state and actions after each event. Raises what `step` raises."""
    steps = []
    for event in events:
        state, actions = step(state, event)
        steps.append((state, actions))
    return steps


def decisions(log: EventLog) -> Iterator[ReplayedDecision]:
    """Every event at which something is or was decided, or asked for otherwise than now.

    That a plan is kept is told when the reason has changed. Raises EventFileError for an event that
    cannot be played.
    """
    state, kept = log.start, ""
    for number, (event, done) in enumerate(log.entries, 1):
        try:
            state, actions = step(state, event)
            now, then = _verdicts(actions, state), _verdicts(done, None)
            if state.decided_s == event.at_s and not now and state.pending is None:
                keep = _kept(standing(state))
                gist = re.sub(r"\d+(\.\d+)?", "", f"{keep}")
                now, kept = (keep,) if keep and gist != kept else (), gist
        except (EdgeSplitError, ArithmeticError, LookupError, ValueError, AssertionError) as error:
            raise EventFileError(f"event {number} cannot be played: {error}") from error
        if now or then or actions != done:
            after_s = event.at_s - log.start.now_s
            name = type(event).__name__
            yield ReplayedDecision(number, after_s, name, now, then, actions == done)


def _verdicts(actions: Iterable[Action], state: ControlState | None) -> tuple[Verdict, ...]:
    """What was prepared or put in force. state: after it, which knows why a plan is prepared."""
    found = list[Verdict]()
    for action in actions:
        match action:
            case Prepare(plan):
                pending = state.pending if state else None
                found.append(Verdict("prepare", plan, pending.reason if pending else ""))
            case Activate(plan, reason):
                found.append(Verdict("activate", plan, reason))
    return tuple(found)


def _kept(stands: Standing) -> Verdict | None:
    """Why the plan in force stays; None where there is none."""
    if stands.active is None:
        return None
    if not stands.why:
        return Verdict("keep", stands.active, "it is the best as things are")
    return Verdict("keep", stands.active, f"not {stands.chosen}: {stands.why}")
