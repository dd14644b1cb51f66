"""What became of requests that several threads send; nothing may be lost or wrong."""

import collections
import threading
from dataclasses import dataclass, field

from edgesplit import EdgeSplitError


@dataclass
class Tally:
    """Counts, and the longest wait so far. errors: how often each text came."""

    requests: int = 0
    right: int = 0
    wrong: int = 0
    longest_wait_s: float = 0.0
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    _lock: threading.Lock = field(
        default_factory=threading.Lock, init=False, repr=False, compare=False
    )

    @property
    def lost(self) -> int:
        """Requests that ended in neither an answer nor an error; while they are sent, under way."""
        return self.requests - self.right - self.wrong - self.errors.total()

    def sent(self) -> None:
        """One more request."""
        with self._lock:
            self.requests += 1

    def answered(self, is_right: bool, waited_s: float = 0.0) -> None:
        """One of them has its answer."""
        with self._lock:
            self.right += is_right
            self.wrong += not is_right
            self.longest_wait_s = max(self.longest_wait_s, waited_s)

    def failed(self, error: EdgeSplitError, waited_s: float = 0.0, requests: int = 1) -> None:
        """So many of them ended in that error."""
        with self._lock:
            self.errors[f"{type(error).__name__}: {error}"[:200]] += requests
            self.longest_wait_s = max(self.longest_wait_s, waited_s)
