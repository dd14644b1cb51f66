"""The caller's side of the data plane: channels to the tier that holds the input, idle or lent out.

A channel comes back only where it is fit for the next one; what a burst has left behind is closed
once nobody has needed it for a while. While requests wait, a watchdog looks after the tier.
"""

import collections
import contextlib
import math
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

from edgesplit.errors import ClosedError, RequestError, WireError
from edgesplit.node.process.threads import begin
from edgesplit.node.transport import wire
from edgesplit.node.transport.channel import Channel
from edgesplit.node.transport.connection import Connection, connect
from edgesplit.node.transport.peer import ECHO_S, Peer, Watchdog
from edgesplit.node.transport.security import UNSECURED, Credentials, connecting
from edgesplit.node.transport.tensor_kind import TensorKind, kind_here

_PROBE_BYTES = 0  # of an echo's body
_IDLE_S = 30.0


class Client:
    """Channels to one address, each lent to one thread at a time.

    kind: of the tensors in an answer; None: as kind_here() says. credentials: the session's.
    max_frame_bytes: of an answer whose sizes cannot be known beforehand.
    """

    def __init__(
        self,
        address: str,
        kind: TensorKind | None = None,
        credentials: Credentials = UNSECURED,
        max_frame_bytes: int = wire.DEFAULT_MAX_FRAME_BYTES,
    ) -> None:
        self._address, self._max_frame_bytes = address, max_frame_bytes
        self._security = connecting(credentials)
        self._kind = kind or kind_here()
        self._peer = Peer(self)
        self._watchdog = Watchdog(self._look, "caller-watchdog")
        self._idle = collections.deque[tuple[float, Channel]]()  # since when; the latest last
        # Weakly: where Ctrl-C comes between two steps, nobody may be left to give a channel back.
        self._lent = weakref.WeakSet[Channel]()
        self._lock = threading.Lock()
        self._closed = threading.Event()

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """A channel for the calling thread. Raises ClosedError after close(), RequestError."""
        channel = self._lend()
        try:
            yield channel
        finally:
            self._take_back(channel)

    def close(self, timeout_s: float = 5.0) -> None:
        """Close every channel; requests still under way end in a ClosedError."""
        self._closed.set()
        with self._lock:
            lent = list(self._lent)
        for channel in lent:
            channel.close()
        self._close_idle()
        self._peer.close()
        self._watchdog.stop(timeout_s)

    def require_open(self) -> None:
        """Raise ClosedError after close()."""
        if self._closed.is_set():
            raise ClosedError("this EdgeSplit is closed; make a new one")

    def _lend(self) -> Channel:
        self.require_open()
        if self._peer.is_down():
            raise RequestError(f"{self._address} is silent", "silent")
        channel = self._take_idle() or self._new_channel()
        with self._lock:
            self._lent.add(channel)
        if self._closed.is_set():  # while connecting
            self._take_back(channel)
            self.require_open()
        return channel

    def _take_idle(self) -> Channel | None:
        """The one that was used last; None where none is of use."""
        while True:
            with self._lock:
                if not self._idle:
                    return None
                _, channel = self._idle.pop()
            if channel.is_quiet():
                return channel
            channel.close()  # the tier has closed it meanwhile

    def _new_channel(self) -> Channel:
        try:
            made = connect(self._address, self._max_frame_bytes, self._kind, self._security)
        except TimeoutError as error:
            self._peer.put_down()
            raise RequestError(f"cannot connect to {self._address}: {error}", "silent") from error
        except OSError as error:
            message = f"cannot connect to {self._address}: {error}"
            raise RequestError(message, "unreachable") from error
        self._peer.add(made)
        return Channel(made, self._peer, self._watchdog, self._max_frame_bytes)

    def _take_back(self, channel: Channel) -> None:
        channel.forget()
        is_fit = channel.is_fit
        with self._lock:
            self._lent.discard(channel)
            if is_fit:
                self._idle.append((time.perf_counter(), channel))
            has_surplus = len(self._idle) > 1
        if not is_fit:
            channel.close()
        if self._closed.is_set():  # whichever of the two comes second closes it
            self._close_idle()
        elif has_surplus:
            self._watchdog.by(self._shrink())

    def _close_idle(self) -> None:
        with self._lock:
            idle = [channel for _, channel in self._idle]
            self._idle.clear()
        for channel in idle:
            channel.close()

    def _shrink(self) -> float:
        """Close what nobody has needed for long, but for the one that was used last.

        Returns when there is something to close next.
        """
        surplus: list[Channel] = []
        with self._lock:
            while len(self._idle) > 1 and time.perf_counter() >= self._idle[0][0] + _IDLE_S:
                surplus.append(self._idle.popleft()[1])
            next_s = self._idle[0][0] + _IDLE_S if len(self._idle) > 1 else math.inf
        for channel in surplus:
            channel.close()
        return next_s

    # The watchdog's thread, and those it starts; see PeerUser

    def _look(self) -> float:
        return min(self._peer.look(time.perf_counter()), self._shrink())

    def free(self, request_ids: list[str]) -> None:
        """End the wait of those who have sent them."""
        with self._lock:
            waiting = [channel for channel in self._lent if channel.awaits(request_ids)]
        for channel in waiting:
            channel.give_up()

    def ask(self) -> None:
        """Probe the tier in the background."""
        with contextlib.suppress(OSError):  # no thread is left: it counts as silent then
            begin(self._ask, "ask")

    def _ask(self) -> None:
        if self.is_back():
            self._peer.heard(time.perf_counter())

    def is_back(self) -> bool:
        """Whether the tier answers a probe, on a connection of its own."""
        with contextlib.suppress(OSError, EOFError, WireError):
            made: Connection = connect(self._address, _PROBE_BYTES, self._kind, self._security)
            with contextlib.closing(made):
                made.send(wire.Probe(id="caller-probe", sender=""))
                return made.wait(ECHO_S) and isinstance(made.receive()[0], wire.Echo)
        return False
