"""Where new connections to a tier wait until they have shown which session they belong to.

Strangers wait on threads of their own, each for a few seconds, and only so many at once: where one
more comes, one is closed, of the host that has most waiting the one that has waited longest. So a
host that floods a tier shuts out itself and not the others.
"""

import collections
import logging
import socket
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from edgesplit.node.transport.stream import close

HANDSHAKE_TIMEOUT_S = 5.0
_MOST_WAITING = 64
_LOG_INTERVAL_S = 60.0

Let = TypeVar("Let")
_log = logging.getLogger(__name__)


class HandshakeQueue:
    """Connections of a host before their handshake is done. refused: how many were not let in."""

    def __init__(self, tier: str) -> None:
        self.refused = 0
        self._tier = tier
        self._waiting: dict[socket.socket, str] = {}  # and the host, in the order they came
        self._logged_s = float("-inf")
        self._lock = threading.Lock()

    def queue(self, accepted: socket.socket, host: str) -> None:
        """A new connection from that host."""
        with self._lock:
            surplus = self._surplus() if len(self._waiting) >= _MOST_WAITING else None
            if surplus is not None:
                del self._waiting[surplus]
            self._waiting[accepted] = host
        if surplus is not None:
            close(surplus)  # its admit() raises

    def _surplus(self) -> socket.socket:
        """The first of the host that has most waiting."""
        [(host, _)] = collections.Counter(self._waiting.values()).most_common(1)
        return next(waiting for waiting, its in self._waiting.items() if its == host)

    def admit(self, accepted: socket.socket, meet: Callable[[socket.socket], Let]) -> Let | None:
        """What meet() makes of it: greets, and shakes hands; None where that raises OSError."""
        try:
            return meet(accepted)
        except OSError as error:
            self._refuse(str(error))
            return None
        finally:
            self.forget(accepted)

    def forget(self, accepted: socket.socket) -> None:
        """It waits no more."""
        with self._lock:
            self._waiting.pop(accepted, None)

    def _refuse(self, why: str) -> None:
        with self._lock:
            self.refused += 1
            now_s = time.monotonic()
            if now_s - self._logged_s < _LOG_INTERVAL_S:
                return  # a flood must not fill the disk
            self._logged_s = now_s
        _log.warning("tier %r: %d connections refused so far: %s", self._tier, self.refused, why)
