"""The way from a tier to another: its connection, its pulse, and whether it is worth trying.

A line that was silent is down: nobody waits for it again until a probe of it, on a connection of
its own, has come back. Connecting never holds a caller up for longer than it is willing to wait.
"""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass

from edgesplit.node import wire
from edgesplit.node.connection import Connection
from edgesplit.node.probes import Probes
from edgesplit.node.pulse import Pulse
from edgesplit.node.revival import ECHO_S, Revival

Dial = Callable[[str], Connection]
Send = Callable[[Connection, str, wire.Message], None]


@dataclass(frozen=True)
class Way:
    """How lines come to be and are asked for a sign of life.

    dial(address): a new connection whose frames are read. send(connection, tier, message): as
    payloads are sent, so that what holds them up holds it up too. Both raise OSError.
    """

    dial: Dial
    send: Send
    probes: Probes


class Line:
    """To one tier at one address."""

    def __init__(self, tier: str, address: str, way: Way) -> None:
        self.pulse = Pulse()
        self._tier, self._address, self._way = tier, address, way
        self._connection: Connection | None = None
        self._dialing: Future[Connection] | None = None
        self._revival = Revival(self._revived)
        self._lock = threading.Lock()

    def open(self, wait_s: float) -> Connection:
        """The connection, made where it is missing.

        Raises TimeoutError where the line is down or that takes longer, OSError where nobody
        listens.
        """
        connection = self._connection
        if connection is not None:
            return connection
        if self._revival.is_down():
            raise TimeoutError("it was silent, and has not answered a probe since")
        with self._lock:
            dialing = self._dialing = self._dialing or self._begin_dialing()
        try:
            return dialing.result(wait_s)
        except TimeoutError:
            self.put_down()
            raise TimeoutError(f"no connection within {wait_s:.3g} s") from None

    def has(self, connection: Connection) -> bool:
        """Whether that is the line's connection."""
        return self._connection is connection

    def lost(self, connection: Connection) -> None:
        """That connection has broken; the next one who needs the line connects anew."""
        with self._lock:
            if self._connection is connection:
                self._connection = None

    def put_down(self) -> None:
        """Close the connection, which frees whoever is sending on it, and ask in the background."""
        self._revival.put_down()  # first: whoever is freed by the rest must not dial at once
        with self._lock:
            connection, self._connection, self._dialing = self._connection, None, None
        if connection is not None:
            connection.close()

    def ask(self) -> None:
        """Send a probe from a thread of its own: sending may be what hangs."""
        connection = self._connection
        if connection is not None:
            threading.Thread(
                target=self._ask, args=(connection,), name="edgesplit-ask", daemon=True
            ).start()

    def close(self) -> None:
        """No more tries; the connection is closed by whoever dialled."""
        self._revival.close()

    def _begin_dialing(self) -> "Future[Connection]":
        dialing = Future[Connection]()
        threading.Thread(
            target=self._finish_dialing, args=(dialing,), name="edgesplit-dial", daemon=True
        ).start()
        return dialing

    def _finish_dialing(self, dialing: "Future[Connection]") -> None:
        made: Connection | None = None
        error: Exception | None = None
        try:
            made = self._way.dial(self._address)
        except Exception as raised:  # top of the thread: handed to whoever waits
            error = raised
        with self._lock:
            is_wanted = self._dialing is dialing
            if is_wanted:
                self._connection, self._dialing = made, None
        if made is not None and is_wanted:
            dialing.set_result(made)
            return
        if made is not None:
            made.close()
        dialing.set_exception(error or TimeoutError("it took too long"))

    def _ask(self, connection: Connection) -> None:
        with contextlib.suppress(OSError), self._way.probes.probe() as (message, _):
            self._way.send(connection, self._tier, message)

    def _revived(self) -> bool:
        with contextlib.suppress(OSError):  # nobody listens yet, or nobody answers
            made = self._way.dial(self._address)
            if self._answers(made):
                with self._lock:
                    self._connection = made
                return True
            made.close()
        return False

    def _answers(self, made: Connection) -> bool:
        with self._way.probes.probe() as (message, echo):
            self._way.send(made, self._tier, message)
            try:
                echo.result(ECHO_S)
            except TimeoutError:
                return False
        return True


class Lines:
    """A tier's lines, by address."""

    def __init__(self, way: Way) -> None:
        self._way = way
        self._lines: dict[str, Line] = {}

    def to(self, hop: wire.Hop) -> Line:
        """The line to that tier's address, connected or not."""
        line = self._lines.get(hop.address)
        if line is None:
            made = Line(hop.tier, hop.address, self._way)
            line = self._lines.setdefault(hop.address, made)
        return line

    def heard(self, connection: Connection, now_s: float) -> None:
        """A frame has come on that connection."""
        for line in self:
            if line.has(connection):
                line.pulse.heard(now_s)

    def lost(self, connection: Connection) -> None:
        """That connection has broken."""
        for line in self:
            line.lost(connection)

    def __iter__(self) -> Iterator[Line]:
        return iter(list(self._lines.values()))

    def close(self) -> None:
        """No more tries to bring lines back."""
        for line in self:
            line.close()
