"""Chaos with several sessions: what they share dies, or one of them does, and others go on.

Each session is a program of its own, whose answers are compared with the whole model's: bit for
bit, or, where it lets its requests share runs with another session's, within 1e-5 of the largest
element.
"""

import contextlib
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil

from edgesplit.cluster.ray.placement import SCHEDULER
from edgesplit.config import TIERS
from experiments.chaos.call import Caller
from experiments.chaos.faults import Fault
from experiments.chaos.nodes import Nodes, nodes

BACK_LIMIT_S = 120.0
_PLANS = ("end:0-2 | edge:2-5 | cloud:5-8", "end:0-2 | edge:2-5 | cloud:5-8", "end:0-2 | cloud:2-8")
_NAMES = ("ann", "ben", "cai")
_MAY_SHARE_RUNS = ("ben", "cai")  # with each other; ann has answers to the last bit
_CALM_S, _LOOK_S, _SETTLE_S = 2.0, 0.2, 60.0
_WATCH_S = 4.0  # at least: what a lost node takes with it goes seconds later
_FREEZE_S, _SUSPEND_S, _FLOOD = 3.0, 40.0, 512
_AWAY_S, _FLAPS = 4.0, 3


def faults() -> list[Fault]:
    """Every row. A node's is the last tier's, a program's the first or the last session's."""
    last = TIERS[-1]
    return [
        Fault("kill", "scheduler"),
        *(Fault("kill", tier) for tier in TIERS),
        *(Fault("freeze", tier, _FREEZE_S) for tier in TIERS),
        Fault("freeze", "scheduler", _FREEZE_S),
        Fault("kill node", last, _AWAY_S),
        Fault("flap node", last, _AWAY_S),
        Fault("flood", _NAMES[0]),
        Fault("suspend", _NAMES[0], _SUSPEND_S),
        Fault("kill program", _NAMES[-1]),
    ]


def run(seconds: float, seed: int, rows: list[Fault], say: Callable[[str], None]) -> dict[str, Any]:
    """Every row once, and again from the first until that time is over; the summary."""
    with nodes() as cluster, tempfile.TemporaryDirectory() as folder:
        with _Sessions(cluster, seed, Path(folder) / "programs.log") as sessions:
            found: list[dict[str, Any]] = []
            until_s = time.monotonic() + seconds
            while len(found) < len(rows) or time.monotonic() < until_s:
                found.append(sessions.row(rows[len(found) % len(rows)]))
                say(" ".join(f"{key}={value}" for key, value in found[-1].items()))
        left = _left(cluster)
        say(f"left={left}")
    return _summary(found) | {"left_open": left, "seed": seed, "faults": found}


class _Sessions:
    """One program each, by name."""

    def __init__(self, cluster: Nodes, seed: int, log: Path) -> None:
        self._cluster, self._seed, self._log = cluster, seed, log
        self._stack = contextlib.ExitStack()
        self._callers: dict[str, Caller] = {}
        self._scheduled = 0  # sessions that the scheduler has at a fault's end

    def __enter__(self) -> "_Sessions":
        with contextlib.ExitStack() as stack:
            self._stack = stack
            for name in _NAMES:
                self._begin(name)
            self._back_s(time.monotonic())
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def row(self, fault: Fault) -> dict[str, Any]:
        """Inflict it, wait until all sessions plan on all tiers again; what became of requests."""
        asked = {name: one for name, one in self._callers.items() if not _ends(fault, name)}
        for caller in asked.values():
            caller.ask("mark")
        self._scheduled = len(self._callers)
        self._inflict(fault)
        back_s = self._back_s(time.monotonic())
        told = {name: caller.ask("settle", _SETTLE_S) for name, caller in asked.items()}
        counts = ("requests", "by_fallback", "errors", "lost", "wrong")
        return {
            "fault": str(fault),
            **{key: sum(one[key] for one in told.values()) for key in counts},
            **{f"{name}_longest_s": told.get(name, {}).get("longest_wait_s") for name in _NAMES},
            "back_s": None if back_s is None else round(back_s, 1),
            "worst_off": max(one["worst"] for one in told.values()),
            "scheduled": self._scheduled,
            "sessions": max(map(len, self._cluster.sessions().values())),
            **self._cluster.held(),
            "note": "; ".join(text for one in told.values() for text in one["error_texts"])[:300],
        }

    def _inflict(self, fault: Fault) -> None:
        """Let it happen, until it ends."""
        match fault.kind:
            case "kill":
                self._cluster.process(fault.target).kill()
            case "freeze":
                with _stopped(self._cluster.process(fault.target)):
                    time.sleep(fault.seconds)
            case "suspend":
                with _stopped(psutil.Process(self._callers[fault.target].pid)):
                    time.sleep(fault.seconds)
                    self._scheduled = len(self._cluster.sessions()[SCHEDULER])
            case "kill node" | "flap node":
                for _ in range(_FLAPS if fault.kind == "flap node" else 1):
                    self._cluster.kill_node(fault.target)
                    time.sleep(fault.seconds)
                    self._cluster.add_node(fault.target)
                    time.sleep(fault.seconds)
            case "flood":
                self._callers[fault.target].ask("flood", _FLOOD)
            case "kill program":
                psutil.Process(self._callers.pop(fault.target).pid).kill()
                self._await_given_up()
                self._scheduled = len(self._cluster.sessions()[SCHEDULER])
                self._begin(fault.target)

    def _begin(self, name: str) -> None:
        at = _NAMES.index(name)
        words = [_PLANS[at], str(self._seed + at), *["close"] * (name in _MAY_SHARE_RUNS)]
        caller = Caller.here(self._cluster.address, words, self._log)
        self._callers[name] = self._stack.enter_context(caller)

    def _await_given_up(self) -> None:
        """No longer than BACK_LIMIT_S: the row shows how many are open."""
        until_s = time.monotonic() + BACK_LIMIT_S
        while time.monotonic() < until_s:
            if max(map(len, self._cluster.sessions().values())) <= len(self._callers):
                return
            time.sleep(_LOOK_S)

    def _back_s(self, since_s: float) -> float | None:
        """Seconds since then until all were calm for a while."""
        calm_s = None
        while (now_s := time.monotonic()) < since_s + BACK_LIMIT_S:
            if not all(one.ask("look")["is_calm"] for one in self._callers.values()):
                calm_s = None
            elif calm_s is None:
                calm_s = now_s
            elif now_s - calm_s >= _CALM_S and now_s - since_s >= _WATCH_S:
                return calm_s - since_s
            time.sleep(_LOOK_S)
        return None


def _ends(fault: Fault, name: str) -> bool:
    return (fault.kind, fault.target) == ("kill program", name)


@contextlib.contextmanager
def _stopped(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def _left(cluster: Nodes) -> int:
    """Sessions that are open although every program has closed its own."""
    return sum(map(len, cluster.sessions().values()))


def _summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    waits = [row[f"{name}_longest_s"] or 0.0 for row in found for name in _NAMES]
    return {
        "emulated": False,
        **{key: sum(row[key] for row in found) for key in ("requests", "by_fallback")},
        **{key: sum(row[key] for row in found) for key in ("errors", "lost", "wrong")},
        "longest_wait_s": max(waits),
        "not_back": sum(row["back_s"] is None for row in found),
    }
