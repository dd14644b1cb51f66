"""The rest of a request that a tier runs itself while the next tier may still answer."""

import threading
import time

from edgesplit.node.tier.job import Done


class HedgeRun:
    """One of two that run the same layers; the first complete answer is the answer.

    why: the next tier's name and what is wrong with it. is_wanted: until the other one has
    answered; what has not begun by then never does.
    """

    def __init__(self, why: str) -> None:
        self.why, self.is_wanted = why, True
        self._began_s, self._watts = 0.0, 0.0
        self._done: Done | None = None
        self._is_alone = False
        self._lock = threading.Lock()

    def began(self, watts: float) -> None:
        """It runs now, and takes so many."""
        self._began_s, self._watts = time.perf_counter(), watts

    @property
    def has_ended(self) -> bool:
        """Whether it has come to its end."""
        return self._done is not None

    def ended(self, done: Done) -> bool:
        """It has come to its end, and has not been the first. Whether it is the answer anyway."""
        with self._lock:
            self._done = done
            return self._is_alone

    def cancel(self) -> float:
        """The other one has answered. The joules that this one took so far.

        By its watts while it runs: a meter is asked at its end, when the answer has long left.
        """
        with self._lock:
            self.is_wanted = self._is_alone  # then there is no other one
            if self._done is not None:
                return self._done.hedge_j
        return self._watts * (time.perf_counter() - self._began_s) if self._watts else 0.0

    def adopt(self, why: str) -> Done | None:
        """There is no other one any more: this is the answer, for that reason.

        Returns it where it is there already. Where it has failed that has its failure.
        """
        with self._lock:
            self.why, self._is_alone = why, True
            return self._done
