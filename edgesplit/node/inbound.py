"""A connection that somebody made to this tier: when its last payload came, whether it is gone."""

import threading
import time

from edgesplit.node.connection import Connection


class Inbound:
    """is_gone: whoever asked has closed it, so that nothing is to be computed for them any more."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.is_gone = False
        self._arrived_s = float("-inf")
        self._lock = threading.Lock()

    def arrival(self) -> tuple[float, float]:
        """(now, seconds since the payload before)."""
        with self._lock:
            now_s = time.perf_counter()
            gap_s, self._arrived_s = now_s - self._arrived_s, now_s
            return now_s, gap_s
