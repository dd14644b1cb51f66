"""The sockets that a tier listens on: TCP, and beside it one for processes of this host.

It goes on, whatever the system runs out of for a while.
"""

import errno
import logging
import select
import socket
import threading
import time
from collections.abc import Callable, Iterator, Sequence

from edgesplit.node.transport.local_stream import listen_here, peer_of
from edgesplit.node.transport.stream import close

_BACKLOG = 64
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.02, 1.0
_LOOK_S = 1.0  # between two looks whether another thread has closed it
_EPISODE_S = 60.0  # without a failure, after which the next one is said again
# Of one connection only, gone before it was taken: accept(2). Nothing is missing here.
_PEERS = frozenset({errno.ECONNABORTED, errno.EPROTO, errno.EPERM})

_log = logging.getLogger(__name__)


class Listener:
    """take(socket, host) gets each new connection, and raises OSError where it cannot take it.

    host: its address, or its user where it is of this host.

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
        self._local: socket.socket | None = None  # None also where somebody else has its name
        self._closed = threading.Event()
        self._failed_s = float("-inf")

    def open(self, host: str, ports: Sequence[int]) -> None:
        """Listen on the first port that is free; none given: on any. Raises OSError."""
        self._socket = self._listen(host, ports)
        self._socket.setblocking(False)
        try:
            self._local = listen_here(self.address)
            self._local.setblocking(False)
        except OSError as error:
            text = "tier %r: processes of this host connect to %s by TCP, as others do (%s)"
            _log.warning(text, self._tier, self.address, error)

    def _listen(self, host: str, ports: Sequence[int]) -> socket.socket:
        for port in ports or (0,):
            try:
                return socket.create_server((host, port), backlog=_BACKLOG)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise
        raise OSError(
            errno.EADDRINUSE,
            f"tier {self._tier!r} found no free port on {host} of {ports[0]}-{ports[-1]}: one is "
            "taken per tier of this host; see what listens there",
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
        for one in (self._local, self._socket):  # whoever has the port has the name too
            if one is not None:
                close(one)

    def run(self) -> None:
        """Accept until close()."""
        poller = select.poll()
        for one in (self._socket, self._local):
            if one is not None:
                poller.register(one, select.POLLIN)
        pause_s = _FIRST_PAUSE_S
        while not self._closed.is_set():
            try:
                poller.poll(_LOOK_S * 1000)
                for accepted, host in self._accepted():
                    self._take(accepted, host)
                pause_s = _FIRST_PAUSE_S
            except (OSError, MemoryError) as error:
                if self._closed.is_set() or getattr(error, "errno", None) in _PEERS:
                    continue
                self._say(error)
                self._shed()
                self._closed.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def _accepted(self) -> Iterator[tuple[socket.socket, str]]:
        """One of each that has some, and its host."""
        for one in (self._socket, self._local):
            if one is None:
                continue
            try:
                accepted, peer = one.accept()
            except BlockingIOError:  # nobody, or nobody any more
                continue
            yield accepted, peer[0] if one is self._socket else peer_of(accepted).host

    def _say(self, error: BaseException) -> None:
        """Once per episode: a flood must not fill the disk."""
        now_s = time.monotonic()
        if now_s - self._failed_s > _EPISODE_S:
            why = str(error) or type(error).__name__
            text = "tier %r cannot take new connections (%s); it closes idle ones and tries again"
            _log.warning(text, self._tier, why)
        self._failed_s = now_s
