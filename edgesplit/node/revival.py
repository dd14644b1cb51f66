"""A peer that was silent: nobody waits for it again until it has answered a probe.

It is probed on a thread of its own, for as long as somebody still wants it: the address of a tier
that was started again elsewhere is asked for no more, and is left alone after a while.
"""

import threading
import time
from collections.abc import Callable

RETRY_S = 0.5  # between two tries
ECHO_S = 1.0  # for the echo that shows that it is back
_FORGET_S = 60.0  # since somebody wanted it last


class Revival:
    """Of one peer. answers(): tries once, and says whether the peer is back."""

    def __init__(self, answers: Callable[[], bool]) -> None:
        self._answers = answers
        self._is_down = self._is_trying = False
        self._wanted_s = 0.0
        self._closed = threading.Event()
        self._lock = threading.Lock()

    def put_down(self) -> None:
        """It was silent."""
        with self._lock:
            self._is_down = True
            self._want()

    def is_down(self) -> bool:
        """Whether it is of no use now; asking means that it is wanted."""
        if not self._is_down:
            return False
        with self._lock:
            self._want()
            return self._is_down

    def close(self) -> None:
        """No more tries."""
        self._closed.set()

    def _want(self) -> None:
        self._wanted_s = time.monotonic()
        if self._is_down and not self._is_trying and not self._closed.is_set():
            self._is_trying = True
            threading.Thread(target=self._run, name="edgesplit-revive", daemon=True).start()

    def _run(self) -> None:
        while not self._closed.wait(RETRY_S):
            is_back = self._answers()
            with self._lock:
                if is_back or time.monotonic() - self._wanted_s > _FORGET_S:
                    self._is_down, self._is_trying = not is_back, False
                    return
