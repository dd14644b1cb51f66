"""The caller's side of the data plane: channels to the tier that holds the input.

A channel is one connection, used by one thread at a time; it sends requests and collects replies.
"""

import collections
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from edgesplit.core.sample import Sample
from edgesplit.errors import ClosedError, RequestError, RequestTimeoutError
from edgesplit.node import wire
from edgesplit.node.connection import Connection, connect
from edgesplit.node.security import Credentials, connecting
from edgesplit.node.tensor_kind import TensorKind, kind_here

_GRACE_S = 1.0  # the tiers give up first, so that their refusal says where it stuck


@dataclass(frozen=True)
class Answer:
    """What came back for one request: the outputs and a sample per tier in route order."""

    values: list[Any]
    samples: tuple[Sample, ...]


class Channel:
    """A connection to the first tier of every route."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ready: dict[str, Answer | RequestError] = {}
        self._waiting: set[str] = set()
        self.is_broken = False

    def send(self, request: wire.Request, buffers: Sequence[wire.Buffer]) -> None:
        """Send a request; its answer comes from receive(). Raises RequestError."""
        self._waiting.add(request.id)
        try:
            self._connection.send(request, buffers)
        except OSError as error:
            raise self._lost(request.id, error) from error

    def receive(self, request_id: str, timeout_s: float) -> Answer:
        """The answer to `request_id`. Raises RequestTimeoutError or RequestError."""
        deadline_s = time.perf_counter() + timeout_s + _GRACE_S
        while request_id not in self._ready:
            if not self._connection.wait(deadline_s - time.perf_counter()):
                self._waiting.discard(request_id)
                raise RequestTimeoutError(
                    f"request {request_id}: no answer within {timeout_s:g} s; "
                    "raise timeout_s, or look at `edgesplit doctor`"
                )
            try:
                self._take(*self._connection.receive())
            except (EOFError, OSError) as error:
                raise self._lost(request_id, error) from error
        self._waiting.discard(request_id)
        outcome = self._ready.pop(request_id)
        if isinstance(outcome, RequestError):
            raise outcome
        return outcome

    def forget(self) -> None:
        """Drop what is still under way: whoever asked does not wait any more."""
        self._waiting.clear()
        self._ready.clear()

    def close(self) -> None:
        """Close the connection; answers still under way are dropped."""
        self._connection.close()

    def _take(self, message: wire.Message, values: list[Any]) -> None:
        if isinstance(message, wire.Refusal):
            # A refusal without an id answers a frame the tier could not read; it then closes.
            self.is_broken = self.is_broken or not message.id
            for request_id in [message.id] if message.id else list(self._waiting):
                self._ready[request_id] = _error(request_id, message)
        elif isinstance(message, wire.Reply) and message.id in self._waiting:
            self._ready[message.id] = Answer(values, tuple(message.samples))

    def _lost(self, request_id: str, error: Exception) -> RequestError:
        self.is_broken = True
        return RequestError(f"request {request_id}: connection to the first tier lost: {error}")


def _error(request_id: str, refusal: wire.Refusal) -> RequestError:
    kind = RequestTimeoutError if refusal.reason == "timeout" else RequestError
    return kind(
        f"request {request_id} was refused by tier {refusal.tier!r} ({refusal.reason}): "
        f"{refusal.message}"
    )


class Client:
    """A pool of channels to one address, each lent to one thread at a time.

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
        self._idle: collections.deque[Channel] = collections.deque()
        self._lent: set[Channel] = set()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """A channel for the calling thread. Raises ClosedError after close(), RequestError."""
        channel = self._lend()
        try:
            yield channel
        finally:
            self._take_back(channel)

    def close(self) -> None:
        """Close every channel; requests still under way end in a RequestError."""
        with self._lock:
            self._closed = True
            channels = [*self._idle, *self._lent]
            self._idle.clear()
        for channel in channels:
            channel.close()

    def _lend(self) -> Channel:
        with self._lock:
            if self._closed:
                raise ClosedError("this EdgeSplit is closed; make a new one")
            channel = self._idle.pop() if self._idle else None
        if channel is None:
            try:
                # Replies are ours: what the tiers let through is not judged a second time.
                channel = Channel(connect(self._address, 1 << 62, self._kind, self._security))
            except OSError as error:
                raise RequestError(f"cannot connect to {self._address}: {error}") from error
        with self._lock:
            self._lent.add(channel)
        return channel

    def _take_back(self, channel: Channel) -> None:
        channel.forget()
        with self._lock:
            self._lent.discard(channel)
            if not self._closed and not channel.is_broken:
                self._idle.append(channel)
                return
        channel.close()
