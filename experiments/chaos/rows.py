"""One row of the matrix on the testbed: struck at a moment, lifted, until adaptation is back."""

import time
from typing import Any

from edgesplit.testbed.testbed import Testbed
from experiments.chaos.call import Caller, CallerEnded
from experiments.chaos.hosts import Hosts
from experiments.chaos.matrix import ACTIVATION, IDLE, PREPARATION, REQUEST, Case

BACK_LIMIT_S = 90.0
_CALM_S = 2.0  # served as planned for so long: adaptation is back
_WATCH_S = 6.0  # at least: what a lost raylet takes with it goes seconds later
_LOOK_S = 0.05
_IDLE_S = 1.0  # without requests, before the strike and after
_UNDER_WAY_S = 0.3  # a first input is being exported by then
_FIRST_S, _SETTLE_S = 60.0, 30.0
# Under `score` the plan uses the direct link, for the other one is held to a rate; once the direct
# one is the slower, the plan changes.
_DIRECT, _SLOW_BYTES_PER_S = [("end", "cloud"), ("cloud", "end")], 2e5


def row(bed: Testbed, hosts: Hosts, caller: Caller, case: Case, number: int) -> dict[str, Any]:
    """Strike at the case's moment, lift, wait until adaptation is back: what became of requests.

    number: another one for each row of a session. back_s: from the end of the fault; None: not
    within BACK_LIMIT_S. The moment says so where it did not come.
    """
    caller.ask("mark")
    told = {"fault": " + ".join(map(str, case.faults)), "plan": case.policy}
    try:
        has_come = _await_moment(bed, caller, case.moment, number)
        began_s = time.monotonic()
        for fault in case.faults:
            hosts.strike(fault)
        if case.moment == IDLE:
            time.sleep(_IDLE_S)
            caller.ask("go")
        hosts.hold(case.faults, began_s)
        for fault in case.faults:
            hosts.lift(fault)
        lifted_s = time.monotonic()
        for fault in case.faults:
            hosts.restore(fault)
        back_s = _back_s(caller, lifted_s)
        if case.moment == ACTIVATION:
            bed.shape(_DIRECT, None)
        if case.moment == PREPARATION:
            _await_first(caller)
        found = caller.ask("settle", _SETTLE_S)
    except CallerEnded as ended:
        return _of_ended(bed, hosts, case, told, str(ended))
    texts, _ = found.pop("error_texts"), found.pop("worst")
    return {
        **told,
        "moment": case.moment + ("" if has_come else " (did not come)"),
        **found,
        "within_bound": found["longest_wait_s"] <= found["bound_s"],
        "back_s": None if back_s is None else round(back_s, 1),
        "note": "; ".join(texts)[:300],
    }


def _await_moment(bed: Testbed, caller: Caller, moment: str, number: int) -> bool:
    """Whether it came in time."""
    if moment == IDLE:
        caller.ask("pause")
        time.sleep(_IDLE_S)
        return not caller.ask("look")["under_way"]
    if moment == REQUEST:
        return caller.wait_for("under_way")
    if moment == PREPARATION:
        caller.ask("first", 32 + 2 * (number + 1))
        time.sleep(_UNDER_WAY_S)
        return bool(caller.ask("look")["is_first_under_way"])
    bed.shape(_DIRECT, _SLOW_BYTES_PER_S)
    return caller.wait_for("switches")


def _await_first(caller: Caller) -> None:
    """What is not answered by then is lost."""
    until_s = time.monotonic() + _FIRST_S
    while caller.ask("look")["is_first_under_way"] and time.monotonic() < until_s:
        time.sleep(_LOOK_S)


def _back_s(caller: Caller, since_s: float) -> float | None:
    """Seconds since then until no tier was left out and requests went as planned, for a while."""
    calm_s = None
    while (now_s := time.monotonic()) < since_s + BACK_LIMIT_S:
        if not caller.ask("look")["is_calm"]:
            calm_s = None
        elif calm_s is None:
            calm_s = now_s
        elif now_s - calm_s >= _CALM_S and now_s - since_s >= _WATCH_S:
            return max(0.0, calm_s - since_s)
        time.sleep(_LOOK_S)
    return None


def _of_ended(
    bed: Testbed, hosts: Hosts, case: Case, told: dict[str, Any], why: str
) -> dict[str, Any]:
    """A row whose calling process was ended: what it had sent is gone with it."""
    for fault in case.faults:
        hosts.lift(fault)
        hosts.restore(fault)
    bed.shape(_DIRECT, None)
    counts = dict.fromkeys(
        ("requests", "right", "by_fallback", "hedged", "errors", "lost", "wrong")
    )
    return {
        **told,
        "moment": case.moment,
        **counts,
        "longest_wait_s": None,
        "bound_s": None,
        "first_s": None,
        "within_bound": None,
        "back_s": None,
        "note": why,
    }
