"""One session on one tier: its connections, what it has computed, what it sends on.

Nothing of another session is in reach of it: a connection belongs to the session whose key its peer
has shown (host.py), and to that one's server alone.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from edgesplit.errors import WireError
from edgesplit.node.meter import Meter
from edgesplit.node.process.threads import begin
from edgesplit.node.tier.compute import ComputeThread, Settling
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.job import Done, UpstreamConnection
from edgesplit.node.tier.next_tier import NextTier
from edgesplit.node.tier.router import Router, ServeSettings
from edgesplit.node.tier.shaper import Shaper
from edgesplit.node.tier.worker import Worker
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection, FrameError, connect
from edgesplit.node.transport.security import accepting, connecting
from edgesplit.node.transport.tensor_kind import TensorKind, kind_here

# For room for a frame, before it is refused as busy. A tier upstream takes long for silence.
_CALLERS_WAIT_S, _TIERS_WAIT_S = 1.0, 0.1


class SegmentServer:
    """Made by TierHost.begin(). close() ends its threads and drops every connection.

    compute: the host's. kind: of the tensors that segments are given and give; None: as
    kind_here() says. settle_thread: for a thread that is to compute as the session's tasks do.
    """

    def __init__(
        self,
        settings: ServeSettings,
        meter: Meter,
        compute: ComputeThread,
        kind: TensorKind | None = None,
    ) -> None:
        self.settings = settings
        self._kind = kind = kind or kind_here()
        self.settle_thread = partial(kind.settle, settings.threads, settings.flushes_denormals)
        settling = Settling((settings.threads, settings.flushes_denormals), self.settle_thread)
        self.worker = Worker(
            compute, settling, settings.max_queue, meter, self._finished, settings.weight
        )
        self._shaper = Shaper()
        self._router = Router(settings, self.worker, self._shaper, self._dial, kind)
        self._accepting = accepting(settings.credentials)
        self._connecting = connecting(settings.credentials)
        self._outbox = ThreadPoolExecutor(1, "edgesplit-outbox")
        self._closed = threading.Event()
        self._connections: set[Connection] = set()
        self._inbounds: set[UpstreamConnection] = set()  # those that have been let in
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._shaper.start()

    @property
    def n_jobs(self) -> int:
        """Requests under way here: queued, computing, or waiting for a tier further on."""
        return self._router.n_jobs

    def emulate(self, emulation: TierEmulation) -> None:
        """Slow this tier and shape its links from now on."""
        self.worker.emulation = emulation
        self._shaper.emulate(emulation)

    def probe(self, target: wire.Hop, n_bytes: int, timeout_s: float) -> float:
        """Round trip in seconds of `n_bytes` there and a few back. Raises TimeoutError, OSError."""
        return self._router.outbound.to(target).probe(n_bytes, timeout_s)

    def has_peers(self, within_s: float) -> bool:
        """Whether a caller is connected, or another tier has sent a request within that time.

        Two tiers that are only connected to each other have nobody behind them.
        """
        since_s = time.perf_counter() - within_s
        with self._lock:
            links = list(self._inbounds)
        is_used = any(not link.is_tiers or link.idle_since_s > since_s for link in links)
        return is_used or self.n_jobs > 0

    def close(self, timeout_s: float = 5.0) -> None:
        """End every thread; safe to call twice."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._router.outbound.close(timeout_s)
        self.worker.close()
        self._outbox.shutdown(wait=True, cancel_futures=True)
        self._shaper.stop(timeout_s)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()
        for thread in self._threads:
            thread.join(timeout_s)

    # Who connects

    def meet(self, accepted: socket.socket, timeout_s: float) -> Connection:
        """Shake hands with whoever named this session.

        Raises TransportSecurityError, OSError where the peer does not prove to be of it.
        """
        limit_bytes, room = self.settings.max_frame_bytes, self._router.room
        connection = Connection(accepted, limit_bytes, self._kind, self._accepting, room)
        self._keep(connection)
        try:
            connection.handshake(timeout_s)
            if self._closed.is_set():
                raise ConnectionError("the session has ended")
        except BaseException:
            self._drop(connection)
            raise
        return connection

    def serve(self, connection: Connection) -> None:
        """Take what comes on a connection of meet(), until it is closed."""
        link = UpstreamConnection(connection)
        with self._lock:
            self._inbounds.add(link)
        try:
            self._serve(link)
        finally:  # whatever happened: the peer must not wait on a connection nobody reads
            link.is_gone = True
            with self._lock:
                self._inbounds.discard(link)
            self._drop(connection)

    def idle(self) -> list[UpstreamConnection]:
        """Connections on which nobody waits for an answer."""
        with self._lock:
            return list(self._inbounds - self._router.senders())

    # Threads

    def _start(self, role: str, run: Callable[[], None]) -> None:
        """Raises OSError where no thread is left."""
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive()]
            self._threads.append(begin(run, role))

    def _serve(self, link: UpstreamConnection) -> None:
        connection = link.connection
        while True:
            try:
                self._take(link)
            except (EOFError, OSError):
                return
            except FrameError as error:
                self._refuse(connection, error.frame_id, "malformed", str(error))
            except WireError as error:
                connection.refuse_and_close(self._refusal("", "malformed", str(error)))
                return

    def _take(self, link: UpstreamConnection) -> None:
        """One frame of whoever connected. Raises as Connection.receive()."""
        connection, room = link.connection, self._router.room
        message, body_bytes = connection.receive_header()
        try:
            self._router.check(message)
        except WireError as error:
            connection.skip(body_bytes)
            raise FrameError(str(error), message.id) from None
        # A probe's body passes by. A tier upstream must not be kept waiting: it hears nothing then.
        needed = 0
        if isinstance(message, wire.Request):
            needed = body_bytes + wire.decoded_bytes(message.values)
        is_callers = isinstance(message, wire.Request) and not message.at
        if not room.take(needed, _CALLERS_WAIT_S if is_callers else _TIERS_WAIT_S):
            connection.skip(body_bytes)
            self._refuse(connection, message.id, "busy", "no memory is left for it just now")
            return
        try:
            values = connection.receive_values(message, body_bytes)
        except BaseException:
            room.give_back(needed)
            raise
        self._router.take(message, values, needed, link)

    def _read_link(self, to: NextTier, connection: Connection) -> None:
        why = "closed"
        try:
            while True:
                self._take_answer(to, connection)
        except (EOFError, OSError, WireError) as error:
            why = str(error)
        finally:  # whatever happened: nobody must wait for what is read no more
            self._drop(connection)
            self._router.outbound.lost(to, connection, why)

    def _take_answer(self, to: NextTier, connection: Connection) -> None:
        """One frame of a tier that this one sends to. Raises WireError where all of it is lost."""
        outbound, room = self._router.outbound, self._router.room
        try:
            message, body_bytes = connection.receive_header()
            if not outbound.awaits(message):
                connection.skip(body_bytes)
                outbound.take_answer(to, message, [])
                return
            if not room.take(body_bytes, _TIERS_WAIT_S):
                connection.skip(body_bytes)
                outbound.no_room(message.id)
                return
        except FrameError as error:
            outbound.spoilt(error.frame_id, str(error))
            return
        try:
            body = [connection.receive_body(body_bytes)]
            outbound.take_answer(to, message, body)
        finally:
            room.give_back(body_bytes)

    def _dial(self, to: NextTier) -> Connection:
        """A new connection to another tier, read from then on. Raises OSError."""
        limit_bytes, room = self.settings.max_frame_bytes, self._router.room
        made = connect(to.address, limit_bytes, self._kind, self._connecting, room)
        try:
            self._keep(made)
            self._start("link", partial(self._read_link, to, made))
        except BaseException:
            self._drop(made)
            raise
        return made

    def _finished(self, done: Done) -> None:
        """Send from the compute thread, unless that would keep the next request waiting."""
        if self._closed.is_set():
            return  # the connections that it could go to are closed or soon will be
        if not self.worker.is_free:
            with contextlib.suppress(RuntimeError):  # no thread is left for it
                self._outbox.submit(self._router.pass_on, done)
                return
        self._router.pass_on(done)

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        with self._lock:
            self._connections.discard(connection)

    def _refuse(self, connection: Connection, frame_id: str, reason: str, why: str) -> None:
        with contextlib.suppress(OSError):
            connection.post(self._refusal(frame_id, reason, why))

    def _refusal(self, frame_id: str, reason: str, why: str) -> wire.Refusal:
        return wire.Refusal(id=frame_id, tier=self.settings.tier, reason=reason, message=why)
