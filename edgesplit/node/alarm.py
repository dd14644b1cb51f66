"""A thread that looks after what is due, when it is due, and sleeps meanwhile.

Of its own, since every other thread that could look may be held up by the very peer that is silent.
"""

import math
import threading
import time
from collections.abc import Callable

_RESOLUTION_S = 0.01
_IDLE_S = 30.0  # with nothing due for so long, the thread ends; the next by() begins another one


class Alarm:
    """look() does what is due and returns when to look again, inf: when by() says so."""

    def __init__(self, look: Callable[[], float], name: str) -> None:
        self._look, self._name = look, name
        self._due_s = math.inf
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._running = True

    def by(self, due_s: float) -> None:
        """Look at that time at the latest; begins the thread where there is none."""
        if due_s >= self._due_s:
            return
        with self._changed:
            if self._thread is None and self._running:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()
            self._due_s = min(self._due_s, due_s)
            self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """End the thread; safe to call twice."""
        with self._changed:
            self._running = False
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._wait():
            next_s = self._look()
            with self._changed:
                self._due_s = min(self._due_s, max(next_s, time.perf_counter() + _RESOLUTION_S))

    def _wait(self) -> bool:
        """Until something is due; False at the end. What is due is then taken."""
        with self._changed:
            while self._running and (rest_s := self._due_s - time.perf_counter()) > 0:
                was_told = self._changed.wait(min(rest_s, _IDLE_S))
                if not was_told and self._due_s == math.inf:
                    self._thread = None
                    return False
            self._due_s = math.inf
            return self._running
