"""Compares a few real answers with eager torch's, beside requests: on a thread of its own.

Never on a request's way: what it is given is done already. At most one comparison at a time, and of
the seconds that the tier computes at most 1 % in the long run, the first comparison aside. No torch
is imported here.
"""

import contextlib
import os
import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any

from edgesplit.errors import ClosedError, DeadlineExceeded, RuntimeUnavailableError
from edgesplit.node.process.threads import begin
from edgesplit.node.runtime.check import Exactness, error_of, require

SHARE = 0.01
# Saved up at most, and to begin with: the first answers of a session are compared.
CREDIT_S = 0.1
_NICENESS = 19
_STOP_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Failure:
    """A runtime that was wrong on a real request of a workload, and is not used for it any more."""

    workload: str
    runtime: str
    why: str


def why_wrong(
    what: str, made: Sequence[Any], reference: Callable[[], Sequence[Any]], wanted: Exactness
) -> str:
    """Why what a runtime has made of a request is wrong; empty where it is right, or not known.

    reference: computes what eager torch makes of it.
    """
    try:
        expected = reference()
    except (MemoryError, CancelledError, DeadlineExceeded, ClosedError):
        return ""
    except Exception as error:  # a model raises anything; the runtime has raised nothing
        return f"{what} answers a request that torch refuses ({error!r:.200}); it is not used"
    try:
        require(what, "a request", error_of(made, expected, wanted), wanted)
    except RuntimeUnavailableError as error:
        return str(error)
    return ""


class Recheck:
    """begin() is called on its thread first. stop() ends it; it begins with the first use."""

    def __init__(self, begin: Callable[[], None] = lambda: None) -> None:
        self._begin = begin
        self._credit_s = CREDIT_S
        self._wanted: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_idle = threading.Event()
        self._is_idle.set()
        self._thread: threading.Thread | None = None

    def is_due(self, compute_s: float) -> bool:
        """Whether an answer may be compared that took compute_s. Returns at once."""
        self._credit_s = min(CREDIT_S, self._credit_s + SHARE * compute_s)
        return self._credit_s > 0 and self._is_idle.is_set()

    def do(self, compare: Callable[[], None]) -> None:
        """Have compare(), which raises nothing, called soon; from one thread at a time."""
        if self._thread is None and not self._begins():
            return
        self._is_idle.clear()
        self._wanted.put(compare)

    def _begins(self) -> bool:
        """Whether there is a thread now; a host that has none left serves requests first."""
        try:
            self._thread = begin(self._run, "recheck")
        except OSError:
            return False
        return True

    def wait(self, timeout_s: float) -> bool:
        """Whether nothing is being compared, or is over within that time."""
        return self._is_idle.wait(timeout_s)

    def stop(self) -> None:
        """End the thread after the comparison under way."""
        if self._thread is not None:
            self._wanted.put(None)
            self._thread.join(_STOP_TIMEOUT_S)

    def _run(self) -> None:
        with contextlib.suppress(OSError, AttributeError):  # requests come first, where it can
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        self._begin()
        charged = 0.0  # the first comparison is free: it mostly builds what the others use
        while (compare := self._wanted.get()) is not None:
            start_s = time.perf_counter()
            try:
                compare()
            finally:
                self._credit_s -= charged * (time.perf_counter() - start_s)
                charged = 1.0
                self._is_idle.set()
