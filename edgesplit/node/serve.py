"""One tier as a server: its listener, the threads that read its connections, its worker."""

import contextlib
import errno
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from edgesplit.errors import WireError
from edgesplit.node import wire
from edgesplit.node.connection import Connection, FrameError, connect
from edgesplit.node.emulate import TierEmulation
from edgesplit.node.entrance import Entrance
from edgesplit.node.inbound import Inbound
from edgesplit.node.job import Done
from edgesplit.node.meter import Meter
from edgesplit.node.router import Router, ServeSettings
from edgesplit.node.security import accepting, connecting
from edgesplit.node.shaper import Shaper
from edgesplit.node.tensor_kind import TensorKind, kind_here
from edgesplit.node.worker import Worker

_BACKLOG = 64


class SegmentServer:
    """A tier that listens once open() or `with` has begun it.

    close() ends its threads, frees the port and drops every connection. kind: of the tensors that
    segments are given and give; None: as kind_here() says.
    """

    def __init__(
        self, settings: ServeSettings, meter: Meter, kind: TensorKind | None = None
    ) -> None:
        self.settings = settings
        self._kind = kind = kind or kind_here()
        begin = partial(kind.set_threads, settings.threads)
        self.worker = Worker(begin, settings.max_queue, meter, self._finished)
        self._shaper = Shaper()
        self._router = Router(settings, self.worker, self._shaper, self._dial, kind)
        self._accepting = accepting(settings.credentials)
        self._connecting = connecting(settings.credentials)
        self.entrance = Entrance(settings.tier)
        self._outbox = ThreadPoolExecutor(1, "edgesplit-outbox")
        self._listener: socket.socket | None = None
        self._connections: set[Connection] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()

    def open(self) -> str:
        """Listen and serve; returns the address other tiers connect to.

        Raises OSError where none of the ports is free.
        """
        self._listener = _listener(self.settings)
        self.worker.start()
        self._shaper.start()
        self._start("listener", self._listen)
        return self.address

    def __enter__(self) -> "SegmentServer":
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """Where this tier listens, as HOST:PORT."""
        assert self._listener is not None, "open() comes first"
        host, port = self._listener.getsockname()[:2]
        return f"{host}:{port}"

    def emulate(self, emulation: TierEmulation) -> None:
        """Slow this tier and shape its links from now on."""
        self.worker.emulation = emulation
        self._shaper.emulate(emulation)

    def probe(self, target: wire.Hop, n_bytes: int, timeout_s: float) -> float:
        """Round trip in seconds of `n_bytes` there and a few back. Raises TimeoutError, OSError."""
        return self._router.outbound.probe(target, n_bytes, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """End every thread; safe to call twice."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        self._router.outbound.close(timeout_s)
        self.worker.stop(timeout_s)
        self._outbox.shutdown(wait=True, cancel_futures=True)
        self._shaper.stop(timeout_s)
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            connection.close()
        for thread in self._threads:
            thread.join(timeout_s)

    # Threads

    def _start(self, role: str, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, name=f"edgesplit-{role}", daemon=True)
        with self._lock:
            self._threads = [old for old in self._threads if old.is_alive() or old.ident is None]
            self._threads.append(thread)
        thread.start()

    def _listen(self) -> None:
        listener = self._listener
        while listener is not None:
            try:
                accepted, peer = listener.accept()
            except OSError:
                return  # closed
            connection = Connection(
                accepted, self.settings.max_frame_bytes, self._kind, self._accepting
            )
            self._keep(connection)
            self.entrance.queue(connection, peer[0])
            self._start("reader", partial(self._read_inbound, Inbound(connection)))

    def _read_inbound(self, link: Inbound) -> None:
        try:
            if self.entrance.admit(link.connection):
                self._serve(link)
        finally:  # whatever happened: the peer must not wait on a connection nobody reads
            link.is_gone = True
            self._drop(link.connection)

    def _serve(self, link: Inbound) -> None:
        connection = link.connection
        while True:
            frame_id = ""
            try:
                message, values = connection.receive()
                frame_id = message.id
                self._router.take(message, values, link)
            except (EOFError, OSError):
                return
            except FrameError as error:
                self._refuse(connection, error.frame_id, str(error))
            except WireError as error:
                if frame_id:
                    self._refuse(connection, frame_id, str(error))
                    continue
                connection.refuse_and_close(self._refusal("", str(error)))
                return

    def _read_link(self, connection: Connection) -> None:
        why = "closed"
        while True:
            try:
                answer = connection.receive(passes_replies=True)
                self._router.outbound.take_answer(connection, *answer)
            except FrameError:
                continue  # whoever waits for it runs into its time limit
            except (EOFError, OSError, WireError) as error:
                why = str(error)
                break
        self._drop(connection)
        self._router.outbound.lost(connection, why)

    def _dial(self, address: str) -> Connection:
        """A new connection to another tier, read from then on. Raises OSError."""
        made = connect(address, self.settings.max_frame_bytes, self._kind, self._connecting)
        self._keep(made)
        self._start("link", partial(self._read_link, made))
        return made

    def _finished(self, done: Done) -> None:
        """Send from the compute thread, unless that would keep the next request waiting."""
        if self._listener is None:
            return  # closing: the connections that it could go to are closed or soon will be
        if self.worker.is_free:
            self._router.pass_on(done)
        else:
            self._outbox.submit(self._router.pass_on, done)

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            self._connections.add(connection)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        with self._lock:
            self._connections.discard(connection)

    def _refuse(self, connection: Connection, frame_id: str, why: str) -> None:
        with contextlib.suppress(OSError):
            connection.send(self._refusal(frame_id, why))

    def _refusal(self, frame_id: str, why: str) -> wire.Refusal:
        return wire.Refusal(id=frame_id, tier=self.settings.tier, reason="malformed", message=why)


def _listener(settings: ServeSettings) -> socket.socket:
    """A socket on the first port that is free."""
    for port in settings.ports or (0,):
        try:
            return socket.create_server((settings.host, port), backlog=_BACKLOG)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    raise OSError(
        errno.EADDRINUSE,
        f"tier {settings.tier!r} found no free port on {settings.host} of "
        f"{settings.ports[0]}-{settings.ports[-1]}: one is taken per open EdgeSplit; close some",
    )
