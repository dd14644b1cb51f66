"""The socket that a tier listens on. It goes on, whatever the system runs out of for a while."""

import contextlib
import errno
import logging
import socket
import threading
import time
from collections.abc import Callable, Sequence

_BACKLOG = 64
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_EPISODE_S = 60.0  # without a failure, after which the next one is said again
# Of one connection only, gone before it was taken: accept(2). Nothing is missing here.
_PEERS = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM})

_log = logging.getLogger(__name__)


class Listener:
    """take(socket, host) gets each new connection, and raises OSError where it cannot take it.

    shed(): close a connection that is not needed just now, to have its descriptor and thread.
    """

    def __init__(
        self,
        tier: str,
        take: Callable[[socket.socket, str], None],
        shed: Callable[[], None],
    ) -> None:
        self._tier, self._take, self._shed = tier, take, shed
        self._socket: socket.socket | None = None
        self._closed = threading.Event()
        self._failed_s = float("-inf")

    def open(self, host: str, ports: Sequence[int]) -> None:
        """Listen on the first port that is free; none given: on any. Raises OSError."""
        for port in ports or (0,):
            try:
                self._socket = socket.create_server((host, port), backlog=_BACKLOG)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
            else:
                return
        raise OSError(
            errno.EADDRINUSE,
            f"tier {self._tier!r} found no free port on {host} of {ports[0]}-{ports[-1]}: one is "
            "taken per open EdgeSplit; close some",
        )

    @property
    def address(self) -> str:
        """Where it listens, as HOST:PORT."""
        assert self._socket is not None, "open() comes first"
        host, port = self._socket.getsockname()[:2]
        return f"{host}:{port}"

    def close(self) -> None:
        """Free the port; ends run()."""
        self._closed.set()
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)
            self._socket.close()

    def run(self) -> None:
        """Accept until close()."""
        assert self._socket is not None, "open() comes first"
        pause_s = _FIRST_PAUSE_S
        while not self._closed.is_set():
            try:
                accepted, peer = self._socket.accept()
                self._take(accepted, peer[0])
                pause_s = _FIRST_PAUSE_S
            except (OSError, MemoryError) as error:
                if self._closed.is_set() or getattr(error, "errno", None) in _PEERS:
                    continue
                self._say(error)
                self._shed()
                self._closed.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _say(self, error: BaseException) -> None:
        """Once per episode: a flood must not fill the disk."""
        now_s = time.monotonic()
        if now_s - self._failed_s > _EPISODE_S:
            why = str(error) or type(error).__name__
            text = "tier %r cannot take new connections (%s); it closes idle ones and tries again"
            _log.warning(text, self._tier, why)
        self._failed_s = now_s
