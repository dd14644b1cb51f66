"""When a loop wants to be ticked next: of many loops in one process few have anything due."""

import math

from edgesplit.core.control.ask import asking_of, key_of, wanted
from edgesplit.core.control.state import ControlState, RepeatedProbe

_EARLY_S = 1e-6  # a tick that comes a hair too soon finds nothing due; one too late would be late


def next_due_s(state: ControlState) -> float:
    """From when on a Tick could change anything, if no other event comes before.

    Ticks before that may be left out: what is asked for later is the same. On the clock of the
    events; never before the last of them.

    Example:
        >>> # while the next is not due, wait for events alone
        >>> # if loop.now_s() >= next_due_s(state): state, actions = step(state, Tick(loop.now_s()))
    """
    if state.is_due or state.hopes:
        return state.now_s
    due_s = state.decided_s + state.settings.interval_s
    if state.pending is not None:
        due_s = min(due_s, state.pending.since_s + state.settings.prepare_timeout_s)
    for repeated in wanted(state):
        due_s = min(due_s, _asked_s(state, repeated))
    return max(state.now_s, due_s - _EARLY_S)


def _asked_s(state: ControlState, repeated: RepeatedProbe) -> float:
    """When it is asked next: once it is its turn, and there is credit for it; never while idle."""
    settings, asking = state.settings, asking_of(state, key_of(repeated.ask))
    wait_s = repeated.every_s
    if asking.is_waiting:
        wait_s = max(wait_s, settings.probe_timeout_s)
    at_s = max(state.now_s, asking.asked_s + wait_s)
    if asking.credit_s <= 0:
        if not settings.probe_share:
            return math.inf
        at_s = max(at_s, state.now_s - asking.credit_s / settings.probe_share)
    return at_s if at_s - _EARLY_S <= state.requested_s + settings.idle_s else math.inf
