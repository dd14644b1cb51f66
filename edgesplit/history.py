"""The requests of a session that came back, oldest dropped first."""

import collections
import threading
import time

from edgesplit.core.goal import Goal
from edgesplit.core.record import Finished, Record, record_of
from edgesplit.workloads import ActiveWorkload

RECORDS_KEPT = 100_000


class History:
    """count: of all requests, also of those no longer kept. began_s: perf_counter's."""

    def __init__(self) -> None:
        self.began_s = time.perf_counter()
        self.count = 0
        self._finished = collections.deque[tuple[ActiveWorkload, Finished]](maxlen=RECORDS_KEPT)
        self._lock = threading.Lock()

    def add(self, workload: ActiveWorkload, done: Finished) -> None:
        """One more. Cheap: records are made when they are asked for."""
        self._finished.append((workload, done))
        with self._lock:
            self.count += 1

    def records(self, goal: Goal) -> list[Record]:
        """One per request that is kept, in the order they came back."""
        return [record_of(done, w.profile, goal) for w, done in list(self._finished)]

    def last(self, goal: Goal) -> Record | None:
        """The request that came back last."""
        if not self._finished:
            return None
        workload, done = self._finished[-1]
        return record_of(done, workload.profile, goal)
