"""Who waits for answers of one peer, when it was heard last, and when waiting becomes pointless.

Any frame from the peer is a sign of life: one that answers is slow, however long its queue is, and
not lost. Times are this machine's monotonic clock, given as arguments.
"""

import math
import threading
from dataclasses import dataclass

STUBBORN = 8.0  # times the patience, per request queued on the peer: alive, and yet no answer


@dataclass(frozen=True)
class Waiting:
    """A request sent to the peer. ahead: how many others waited then. patience_s 0: for ever.

    limit_s: when it is pointless in any case.
    """

    sent_s: float
    patience_s: float
    ahead: int
    limit_s: float

    @property
    def late_s(self) -> float:
        """When even a peer that lives has had time enough."""
        if not self.patience_s:
            return self.limit_s
        enough_s = STUBBORN * self.patience_s * (1 + self.ahead)
        return min(self.limit_s, self.sent_s + enough_s)


class Pulse:
    """One peer. Several threads may call it."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}
        self._heard_s = self._asked_s = -math.inf
        self._lock = threading.Lock()

    def expect(
        self, request_id: str, patience_s: float, now_s: float, limit_s: float = math.inf
    ) -> float:
        """A request is being sent; returns when to look again at the latest."""
        with self._lock:
            self._waiting[request_id] = Waiting(now_s, patience_s, len(self._waiting), limit_s)
            return min(limit_s, now_s + patience_s / 2 if patience_s else math.inf)

    def forget(self, request_id: str) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._waiting.pop(request_id, None)

    def heard(self, now_s: float) -> None:
        """A frame has come from the peer."""
        self._heard_s = now_s

    def asked(self, now_s: float) -> None:
        """The peer is being asked for a sign of life."""
        self._asked_s = now_s

    def late(self, now_s: float) -> list[str]:
        """Requests that a living peer has not answered in all this time."""
        with self._lock:
            return [key for key, waiting in self._waiting.items() if now_s >= waiting.late_s]

    @property
    def ask_s(self) -> float:
        """When to ask for a sign of life; infinite once that was done."""
        since_s, patience_s = self._silence()
        return math.inf if self._asked_s >= since_s else since_s + patience_s / 2

    @property
    def silent_s(self) -> float:
        """When the peer, should nothing come until then, has been silent for too long."""
        since_s, patience_s = self._silence()
        return since_s + patience_s

    def next_s(self) -> float:
        """When something of all this is due next."""
        with self._lock:
            late_s = min((waiting.late_s for waiting in self._waiting.values()), default=math.inf)
        return min(self.ask_s, self.silent_s, late_s)

    def _silence(self) -> tuple[float, float]:
        """Since when nothing was heard of what was sent, and the longest patience of all."""
        with self._lock:
            waits = [waiting for waiting in self._waiting.values() if waiting.patience_s]
            if not waits:
                return math.inf, math.inf
            first_s = min(waiting.sent_s for waiting in waits)
            return max(first_s, self._heard_s), max(waiting.patience_s for waiting in waits)
