"""One row of the matrix on the testbed: the calling process on `end`, struck at a moment.

What runs here is on the machine itself. The calling process is chaos_caller, asked in lines.
"""

import json
import queue
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from edgesplit.errors import EdgeSplitError
from edgesplit.testbed.layout import HOSTS
from edgesplit.testbed.testbed import Testbed
from experiments.chaos_hosts import Hosts
from experiments.chaos_matrix import ACTIVATION, IDLE, PREPARATION, REQUEST, Case

BACK_LIMIT_S = 120.0
_CALM_S = 2.0  # served as planned for so long: adaptation is back
_LOOK_S = 0.05
_MOMENT_S = 20.0  # for the moment to come
_IDLE_S = 1.0  # without requests, before the strike and after
_UNDER_WAY_S = 0.3  # a first input is being exported by then
_START_S, _ASK_S, _SETTLE_S = 180.0, 60.0, 30.0
# What makes a plan of `score` change: the direct link slower than the way round.
_SLOWED, _SLOW_BYTES_PER_S = (("end", "cloud"), ("cloud", "end")), 2e5


class CallerEnded(EdgeSplitError):
    """The calling process is gone, or says nothing any more."""


class Caller:
    """The calling process on the host `end`, from its first answer to its end."""

    def __init__(self, bed: Testbed, policy: str, seed: int, log: Path) -> None:
        self._said: queue.Queue[str] = queue.Queue()
        words = ["/usr/bin/env", f"PYTHONPATH={Path.cwd()}", "PYTHONWARNINGS=ignore"]
        words += [sys.executable, "-m", "experiments.chaos_caller", policy, str(seed)]
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                bed.exec(HOSTS[0], words),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> "Caller":
        try:
            self.plan = str(self._heard(_START_S)["plan"])
        except BaseException:
            self._end(0.0)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None
    ) -> None:
        self._end(_SETTLE_S)

    def ask(self, *words: object) -> dict[str, Any]:
        """The answer. Raises CallerEnded."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(" ".join(map(str, words)) + "\n")
            self._process.stdin.flush()
        except OSError as error:
            raise CallerEnded(f"the calling process has ended: {error}") from error
        return self._heard(_ASK_S)

    def wait_for(self, key: str, limit_s: float = _MOMENT_S) -> bool:
        """Whether what it says under `key` came true in time."""
        until_s = time.monotonic() + limit_s
        while time.monotonic() < until_s:
            if self.ask("look")[key]:
                return True
            time.sleep(_LOOK_S)
        return False

    def _heard(self, limit_s: float) -> dict[str, Any]:
        try:
            line = self._said.get(timeout=limit_s)
        except queue.Empty:
            raise CallerEnded(f"the calling process said nothing for {limit_s:g} s") from None
        if not line:
            raise CallerEnded("the calling process has ended")
        return json.loads(line)  # type: ignore[no-any-return]

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._said.put(line)
        self._said.put("")

    def _end(self, limit_s: float) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
            self._process.wait(limit_s)
        except (OSError, subprocess.TimeoutExpired):
            self._process.kill()
            self._process.wait(_ASK_S)


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
            bed.shape(list(_SLOWED), None)
        if case.moment == PREPARATION:
            _await_first(caller)
        found = caller.ask("settle", _SETTLE_S)
    except CallerEnded as ended:
        return _of_ended(bed, hosts, case, told, str(ended))
    texts = found.pop("error_texts")
    return {
        **told,
        "moment": case.moment + ("" if has_come else " (did not come)"),
        **found,
        "within_bound": found["longest_wait_s"] <= found["bound_s"],
        "back_s": None if back_s is None else round(back_s, 1),
        "note": "; ".join(texts)[:300],
    }


def _await_moment(bed: Testbed, caller: Caller, moment: str, number: int) -> bool:
    match moment:
        case _ if moment == IDLE:
            caller.ask("pause")
            time.sleep(_IDLE_S)
            return caller.ask("look")["under_way"] == 0
        case _ if moment == REQUEST:
            return caller.wait_for("under_way")
        case _ if moment == PREPARATION:
            caller.ask("first", 32 + 2 * (number + 1))
            time.sleep(_UNDER_WAY_S)
            return bool(caller.ask("look")["is_first_under_way"])
    bed.shape(list(_SLOWED), _SLOW_BYTES_PER_S)
    return caller.wait_for("switches")


def _await_first(caller: Caller) -> None:
    """What is not answered by then is lost."""
    until_s = time.monotonic() + _ASK_S
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
        elif now_s - calm_s >= _CALM_S:
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
    bed.shape(list(_SLOWED), None)
    counts = dict.fromkeys(("requests", "right", "by_fallback", "errors", "lost", "wrong"))
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
