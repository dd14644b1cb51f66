"""The caller's side of the data plane: a pool of channels to the tier that holds the input.

While requests wait, an alarm watches the tier's pulse. A tier that is silent for longer than it is
waited for is down: its channels are closed, which frees whoever sends or waits, and nobody is lent
one until a probe has come back.
"""

import collections
import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from edgesplit.errors import ClosedError, RequestError
from edgesplit.node import wire
from edgesplit.node.alarm import Alarm
from edgesplit.node.channel import Channel
from edgesplit.node.connection import Connection, connect
from edgesplit.node.pulse import Pulse
from edgesplit.node.revival import ECHO_S, Revival
from edgesplit.node.security import Credentials, connecting
from edgesplit.node.tensor_kind import TensorKind, kind_here

_UNJUDGED_BYTES = 1 << 62  # replies are ours: what the tiers let through is not judged again


class Client:
    """Channels to one address, each lent to one thread at a time.

    kind: of the tensors in an answer; None: as kind_here() says. credentials: the session's; None:
    nothing is secured.
    """

    def __init__(
        self,
        address: str,
        kind: TensorKind | None = None,
        credentials: Credentials | None = None,
    ) -> None:
        self._address = address
        self._security = connecting(credentials)
        self._kind = kind or kind_here()
        self._pulse = Pulse()
        self._alarm = Alarm(self._look, "edgesplit-caller-alarm")
        self._idle: collections.deque[Channel] = collections.deque()
        self._lent: set[Channel] = set()
        self._lock = threading.Lock()
        self._revival = Revival(self._answers)
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
        with self._lock:
            self._closed.set()
            channels = [*self._idle, *self._lent]
            self._idle.clear()
        for channel in channels:
            channel.close()
        self._revival.close()
        self._alarm.stop(timeout_s)

    def require_open(self) -> None:
        """Raise ClosedError after close()."""
        if self._closed.is_set():
            raise ClosedError("this EdgeSplit is closed; make a new one")

    def _lend(self) -> Channel:
        if self._revival.is_down():
            self.require_open()
            raise RequestError(f"{self._address} is silent", "silent")
        with self._lock:
            self.require_open()
            channel = self._idle.pop() if self._idle else None
        if channel is None:
            channel = Channel(self._connected(), self._pulse, self._alarm)
        with self._lock:
            self._lent.add(channel)
            is_late = self._closed.is_set()
        if is_late:  # closed while connecting
            self._take_back(channel)
            self.require_open()
        return channel

    def _connected(self) -> Connection:
        try:
            return connect(self._address, _UNJUDGED_BYTES, self._kind, self._security)
        except TimeoutError as error:
            self._put_down()
            raise RequestError(f"cannot connect to {self._address}: {error}", "silent") from error
        except OSError as error:
            message = f"cannot connect to {self._address}: {error}"
            raise RequestError(message, "unreachable") from error

    def _take_back(self, channel: Channel) -> None:
        channel.forget()
        with self._lock:
            self._lent.discard(channel)
            if not self._closed.is_set() and not channel.is_broken:
                self._idle.append(channel)
                return
        channel.close()

    # The alarm's thread, and those it starts

    def _look(self) -> float:
        """Do what is due about the tier's silence; returns when to look again."""
        now_s = time.perf_counter()
        if now_s >= self._pulse.silent_s:
            self._put_down()
        elif now_s >= self._pulse.ask_s:
            self._pulse.asked(now_s)
            threading.Thread(target=self._ask, name="edgesplit-ask", daemon=True).start()
        late = self._pulse.late(now_s)
        with self._lock:
            channels = [channel for channel in self._lent if channel.awaits(late)]
        for channel in channels:
            channel.give_up()
        return self._pulse.next_s()

    def _put_down(self) -> None:
        self._revival.put_down()  # first: whoever is freed by the rest is lent no other channel
        with self._lock:
            channels = [*self._idle, *self._lent]
            self._idle.clear()
        for channel in channels:
            channel.give_up()

    def _ask(self) -> None:
        if self._answers():
            self._pulse.heard(time.perf_counter())

    def _answers(self) -> bool:
        """Whether the tier answers a probe, on a connection of its own."""
        with contextlib.suppress(OSError, EOFError):
            made = connect(self._address, _UNJUDGED_BYTES, self._kind, self._security)
            with contextlib.closing(made):
                made.send(wire.Probe(id="caller-probe", sender=""))
                return made.wait(ECHO_S) and isinstance(made.receive()[0], wire.Echo)
        return False
