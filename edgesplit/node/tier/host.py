"""A host's tier: one port, one compute thread, and a server for each session that uses it.

A new connection names its session, is met with that session's credentials, and is served by that
session's server from then on.
"""

import socket
import threading
from collections.abc import Callable, Sequence
from functools import partial

from edgesplit.errors import ConfigError, TransportSecurityError
from edgesplit.node.meter import Meter
from edgesplit.node.process.threads import begin
from edgesplit.node.tier.compute import ComputeThread
from edgesplit.node.tier.entrance import HANDSHAKE_TIMEOUT_S, HandshakeQueue
from edgesplit.node.tier.job import UpstreamConnection
from edgesplit.node.tier.listener import Listener
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.tier.serve import SegmentServer
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.greeting import read_greeting
from edgesplit.node.transport.local_stream import peer_of, require_own_user
from edgesplit.node.transport.stream import close
from edgesplit.node.transport.tensor_kind import TensorKind


class TierHost:
    """Listens once open() or `with` has begun it; close() ends all of it, sessions too.

    name: of the tier, for messages.
    """

    def __init__(self, name: str) -> None:
        self.compute = ComputeThread()
        self.entrance = HandshakeQueue(name)
        self._listener = Listener(name, self._accept, self._shed)
        self._sessions: dict[str, SegmentServer] = {}
        self._readers: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._has_closed = False

    def open(self, host: str = "127.0.0.1", ports: Sequence[int] = ()) -> str:
        """Listen on the first port that is free; none given: on any. Returns the address.

        Raises OSError where none of the ports is free.
        """
        self._listener.open(host, ports)
        self.compute.start()
        self._start("listener", self._listener.run)
        return self.address

    def __enter__(self) -> "TierHost":
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where this tier listens, as HOST:PORT."""
        return self._listener.address

    def begin(
        self, settings: ServeSettings, meter: Meter, kind: TensorKind | None = None
    ) -> SegmentServer:
        """Serve a session from now on. Raises ConfigError where one of its name is served."""
        made = SegmentServer(settings, meter, self.compute, kind)
        with self._lock:
            is_known = settings.session in self._sessions or self._has_closed
            if not is_known:
                self._sessions[settings.session] = made
        if is_known:
            made.close()
            raise ConfigError(f"session {settings.session!r} is served here already")
        return made

    def end(self, session: str) -> None:
        """Serve that session no more; nothing where it is not served."""
        with self._lock:
            server = self._sessions.pop(session, None)
        if server is not None:
            server.close()

    def close(self, timeout_s: float = 5.0) -> None:
        """End every session and thread, free the port; safe to call twice."""
        with self._lock:
            if self._has_closed:
                return
            self._has_closed = True
            sessions = list(self._sessions.values())
        self._listener.close()
        for server in sessions:
            server.close(timeout_s)
        self.compute.stop(timeout_s)
        for thread in self._readers:
            thread.join(timeout_s)

    def _accept(self, accepted: socket.socket, host: str) -> None:
        """Somebody has connected. Raises OSError where that cannot be served just now."""
        self.entrance.queue(accepted, host)
        try:
            self._start("reader", partial(self._read, accepted))
        except BaseException:
            close(accepted)
            self.entrance.forget(accepted)
            raise

    def _read(self, accepted: socket.socket) -> None:
        try:
            met = self.entrance.admit(accepted, self._meet)
            if met is not None:
                server, connection = met
                server.serve(connection)
        finally:
            close(accepted)

    def _meet(self, accepted: socket.socket) -> tuple[SegmentServer, Connection]:
        if accepted.family == socket.AF_UNIX:  # nothing that another user says is read
            require_own_user(peer_of(accepted))
        session = read_greeting(accepted, HANDSHAKE_TIMEOUT_S)
        server = self._sessions.get(session)
        if server is None:
            raise TransportSecurityError(f"transport security: no session {session!r} is here")
        return server, server.meet(accepted, HANDSHAKE_TIMEOUT_S)

    def _shed(self) -> None:
        """Close the connection that has been idle for longest: whoever needs it makes another."""
        idle: list[UpstreamConnection] = []
        for server in list(self._sessions.values()):
            idle += server.idle()
        longest = min(idle, key=lambda link: link.idle_since_s, default=None)
        if longest is not None:
            longest.connection.close()  # its reader ends

    def _start(self, role: str, run: Callable[[], None]) -> None:
        """Raises OSError where no thread is left."""
        with self._lock:
            self._readers = [old for old in self._readers if old.is_alive()]
            self._readers.append(begin(run, role))
