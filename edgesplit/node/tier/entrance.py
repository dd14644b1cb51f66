"""Where new connections to a tier wait until they have shown that they belong to the session.

Strangers wait on threads of their own, each for a few seconds, and only so many at once: where one
more comes, one is closed, of the host that has most waiting the one that has waited longest. So a
host that floods a tier shuts out itself and not the others.
"""

import collections
import logging
import threading
import time

from edgesplit.node.transport.connection import Connection

_HANDSHAKE_TIMEOUT_S = 5.0
_MOST_WAITING = 64
_LOG_INTERVAL_S = 60.0

_log = logging.getLogger(__name__)


class HandshakeQueue:
    """Connections of a tier before their handshake is done. refused: how many were not let in."""

    def __init__(self, tier: str) -> None:
        self.refused = 0
        self._tier = tier
        self._waiting: dict[Connection, str] = {}  # and the host, in the order they came
        self._logged_s = float("-inf")
        self._lock = threading.Lock()

    def queue(self, connection: Connection, host: str) -> None:
        """A new connection from that host."""
        with self._lock:
            surplus = self._surplus() if len(self._waiting) >= _MOST_WAITING else None
            if surplus is not None:
                del self._waiting[surplus]
            self._waiting[connection] = host
        if surplus is not None:
            surplus.close()  # its admit() raises

    def _surplus(self) -> Connection:
        """The first of the host that has most waiting."""
        [(host, _)] = collections.Counter(self._waiting.values()).most_common(1)
        return next(waiting for waiting, its in self._waiting.items() if its == host)

    def admit(self, connection: Connection) -> bool:
        """Wait for the handshake; whether the peer is of the session."""
        try:
            connection.handshake(_HANDSHAKE_TIMEOUT_S)
        except OSError as error:
            self._refuse(str(error))
            return False
        finally:
            self.forget(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """It waits no more."""
        with self._lock:
            self._waiting.pop(connection, None)

    def _refuse(self, why: str) -> None:
        with self._lock:
            self.refused += 1
            now_s = time.monotonic()
            if now_s - self._logged_s < _LOG_INTERVAL_S:
                return  # a flood must not fill the disk
            self._logged_s = now_s
        _log.warning("tier %r: %d connections refused so far: %s", self._tier, self.refused, why)
