"""Room for the payloads that a tier holds: taken for a frame before it is read.

Bounded by the memory that is left on the host, and by twice what one message may have, so that
no flood of payloads makes the tier take more.
"""

import threading

from edgesplit.node.process.headroom import headroom_bytes

_FREE_BYTES = 1 << 25  # together; not worth a look at the machine's memory


class Room:
    """Several threads may call it. most_bytes: of all payloads together."""

    def __init__(self, most_bytes: int) -> None:
        self.held_bytes = 0
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._waiters = 0

    def take(self, n_bytes: int, wait_s: float) -> bool:
        """Whether there is, within that time, room for so many bytes, which then are held."""
        with self._lock:
            if not (self._bears(n_bytes) or self._wait(n_bytes, wait_s)):
                return False
            self.held_bytes += n_bytes
            return True

    def add(self, n_bytes: int) -> None:
        """They are held already, whether or not there is room."""
        with self._lock:
            self.held_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """They are held no more."""
        with self._lock:
            self.held_bytes -= n_bytes
            if self._waiters:
                self._changed.notify_all()

    def bears(self, n_bytes: int) -> bool:
        """Whether so many bytes more could be held."""
        with self._lock:
            return self._bears(n_bytes)

    def _wait(self, n_bytes: int, wait_s: float) -> bool:
        self._waiters += 1
        try:
            return self._changed.wait_for(lambda: self._bears(n_bytes), wait_s)
        finally:
            self._waiters -= 1

    def _bears(self, n_bytes: int) -> bool:
        together = self.held_bytes + n_bytes
        if together <= _FREE_BYTES:
            return True
        # What is held already may show in the machine's figures or not yet: then it counts twice.
        return together <= self._most_bytes and together <= headroom_bytes()
