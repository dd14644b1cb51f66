"""A tier that this one sends to: its connection, made where it is missing, and its probes.

Connecting never holds a caller up for longer than it is willing to wait.
"""

import contextlib
import itertools
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial

from edgesplit.node.process.threads import begin
from edgesplit.node.tier.shaper import Shaper
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.peer import ECHO_S, Peer

# dial(next_tier): a new connection, of whose frames the next tier is told. Raises OSError.
Dial = Callable[["NextTier"], Connection]
Free = Callable[[list[str]], None]


class NextTier:
    """At one address. sender: this tier's name; shaper: what holds payloads up holds probes up too.

    free(request_ids): see PeerUser.
    """

    def __init__(self, hop: wire.Hop, sender: str, shaper: Shaper, dial: Dial, free: Free) -> None:
        self.tier, self.address = hop.tier, hop.address
        self.peer, self.free = Peer(self), free
        self._sender, self._shaper, self._dial = sender, shaper, dial
        self._connection: Connection | None = None
        self._dialing: Future[Connection] | None = None
        self._probes = (f"{sender}-probe-{n}" for n in itertools.count())
        self._probing: dict[str, Future[float]] = {}
        self._lock = threading.Lock()

    def open(self, wait_s: float) -> Connection:
        """The connection, made where it is missing.

        Raises TimeoutError where the tier is down or that takes longer, OSError where nobody
        listens.
        """
        if self.peer.is_down():
            raise TimeoutError("it was silent, and has not answered a probe since")
        connection = self._connection
        if connection is not None and not connection.is_closed:
            return connection
        with self._lock:
            dialing = self._dialing = self._dialing or self._begin_dialing()
        try:
            return dialing.result(wait_s)
        except TimeoutError:
            with self._lock:
                self._dialing = None  # what comes of it is not wanted any more
            self.peer.put_down()
            raise TimeoutError(f"no connection within {wait_s:.3g} s") from None

    def takes_time(self) -> bool:
        """Whether open() would have to connect first."""
        is_open = self._connection is not None and not self._connection.is_closed
        return not is_open and not self.peer.is_down()

    def lost(self, connection: Connection) -> str:
        """That connection has broken; the next one who needs the tier connects anew. Why it has."""
        with self._lock:
            if self._connection is connection:
                self._connection = None
        return "silent" if connection.is_given_up else "unreachable"

    def probe(self, n_bytes: int, timeout_s: float) -> float:
        """Round trip in seconds of `n_bytes` there and a few back. Raises TimeoutError, OSError."""
        return self._probe(self.open(timeout_s), [memoryview(bytes(n_bytes))], timeout_s)

    def echoed(self, echo: wire.Echo) -> None:
        """A probe has come back."""
        if (waiting := self._probing.pop(echo.id, None)) is not None:
            waiting.set_result(time.perf_counter())

    def ask(self) -> None:
        """Send a probe: whatever comes back is a sign of life."""
        if (connection := self._connection) is not None:
            with contextlib.suppress(OSError):
                message = wire.Probe(id=next(self._probes), sender=self._sender)
                self._shaper.send(connection, self.tier, message)

    def is_back(self) -> bool:
        """Whether it answers a probe on a new connection, which is then used."""
        with contextlib.suppress(OSError):  # nobody listens yet, or nobody answers
            made = self._dial(self)
            try:
                self._probe(made, [], ECHO_S)
            except OSError:
                made.close()
                raise
            with self._lock:
                self._adopt(made)
            return True
        return False

    def _probe(self, connection: Connection, ballast: list[wire.Buffer], timeout_s: float) -> float:
        message, echo = wire.Probe(id=next(self._probes), sender=self._sender), Future[float]()
        self._probing[message.id] = echo
        try:
            sent_s = time.perf_counter()
            self._shaper.send(connection, self.tier, message, ballast)
            return echo.result(timeout_s) - sent_s
        finally:
            self._probing.pop(message.id, None)

    def _adopt(self, made: Connection) -> None:
        """Use that connection from now on, whatever is under way. The caller has the lock."""
        self.peer.add(made)
        self._connection, self._dialing = made, None

    def _begin_dialing(self) -> "Future[Connection]":
        dialing = Future[Connection]()
        begin(partial(self._finish_dialing, dialing), "dial")
        return dialing

    def _finish_dialing(self, dialing: "Future[Connection]") -> None:
        made: Connection | None = None
        error: Exception | None = None
        try:
            made = self._dial(self)
        except Exception as raised:  # top of the thread: handed to whoever waits
            error = raised
        with self._lock:
            is_wanted = self._dialing is dialing
            if is_wanted:
                self._dialing = None
            if made is not None and is_wanted and not self.peer.is_down():
                self._adopt(made)
                dialing.set_result(made)
                return
        if made is not None:
            made.close()
        dialing.set_exception(error or TimeoutError("it took too long"))
