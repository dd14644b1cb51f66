"""Where whoever connects to a tier waits until it has shown that it belongs to the session.

Strangers wait on threads of their own, each for a few seconds, and only so many at once: where one
more comes, the one that has waited longest is closed.
"""

import logging
import threading
import time

from edgesplit.node.connection import Connection

_HANDSHAKE_TIMEOUT_S = 5.0
_MOST_WAITING = 64
_LOG_INTERVAL_S = 60.0

_log = logging.getLogger(__name__)


class Entrance:
    """Connections of a tier before their handshake is done. refused: how many were not let in."""

    def __init__(self, tier: str) -> None:
        self.refused = 0
        self._tier = tier
        self._waiting: dict[Connection, None] = {}  # in the order they came
        self._logged_s = float("-inf")
        self._lock = threading.Lock()

    def queue(self, connection: Connection) -> None:
        """Somebody has connected."""
        with self._lock:
            first = next(iter(self._waiting)) if len(self._waiting) >= _MOST_WAITING else None
            if first is not None:
                del self._waiting[first]
            self._waiting[connection] = None
        if first is not None:
            first.close()  # its admit() raises

    def admit(self, connection: Connection) -> bool:
        """Wait for the handshake; whether the peer is of the session."""
        try:
            connection.handshake(_HANDSHAKE_TIMEOUT_S)
        except OSError as error:
            self._refuse(str(error))
            return False
        finally:
            with self._lock:
                self._waiting.pop(connection, None)
        return True

    def _refuse(self, why: str) -> None:
        with self._lock:
            self.refused += 1
            now_s = time.monotonic()
            if now_s - self._logged_s < _LOG_INTERVAL_S:
                return  # a flood must not fill the disk
            self._logged_s = now_s
        _log.warning("tier %r: %d connections refused so far: %s", self._tier, self.refused, why)
