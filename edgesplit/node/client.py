"""The caller's side of the data plane: channels to the tier that holds the input.

A channel is one socket, used by one thread at a time; it sends requests and collects replies.
"""

import collections
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import zmq

from edgesplit.core.sample import Sample
from edgesplit.errors import ClosedError, RequestError, RequestTimeoutError, WireError
from edgesplit.node import wire
from edgesplit.node.sockets import open_socket

_GRACE_S = 1.0  # the tiers give up first, so that their refusal says where it stuck


@dataclass(frozen=True)
class Answer:
    """What came back for one request: the outputs and a sample per tier in route order."""

    id: str
    values: list[Any]
    samples: tuple[Sample, ...]
    arrived_s: float


class Channel:
    """One DEALER socket to the first tier of every route."""

    def __init__(self, context: "zmq.Context[Any]", address: str) -> None:
        self._socket = open_socket(context, zmq.DEALER)
        self._socket.connect(address)
        self._ready: dict[str, Answer | RequestError] = {}
        self._waiting: set[str] = set()

    def send(self, request: wire.Request, buffers: Sequence[wire.Buffer]) -> None:
        """Send a request; its answer comes from receive()."""
        self._waiting.add(request.id)
        self._socket.send_multipart([wire.encode(request), *buffers], copy=False)

    def receive(self, request_id: str, timeout_s: float) -> Answer:
        """The answer to `request_id`. Raises RequestTimeoutError or RequestError."""
        deadline_s = time.perf_counter() + timeout_s + _GRACE_S
        while request_id not in self._ready:
            left_ms = int((deadline_s - time.perf_counter()) * 1000)
            if left_ms <= 0 or not self._socket.poll(left_ms):
                self._waiting.discard(request_id)
                raise RequestTimeoutError(
                    f"request {request_id}: no answer within {timeout_s:g} s; "
                    "raise timeout_s, or look at `edgesplit doctor`"
                )
            self._take()
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
        """Close the socket; answers still under way are dropped."""
        self._socket.close(linger=0)

    def _take(self) -> None:
        frames = self._socket.recv_multipart(copy=False)
        now_s = time.perf_counter()
        message = wire.decode(frames[0].buffer)
        if isinstance(message, wire.Refusal):
            # A refusal without an id answers a frame the tier could not read: nothing else of
            # this channel can be trusted to arrive.
            ids = [message.id] if message.id else list(self._waiting)
            for request_id in ids:
                self._ready[request_id] = _error(request_id, message)
        elif isinstance(message, wire.Reply) and message.id in self._waiting:
            wire.check_buffers(message.values, [len(f) for f in frames[1:]], 1 << 62)
            values = wire.unpack_values(message.values, [f.buffer for f in frames[1:]])
            self._ready[message.id] = Answer(message.id, values, tuple(message.samples), now_s)


def _error(request_id: str, refusal: wire.Refusal) -> RequestError:
    kind = RequestTimeoutError if refusal.reason == "timeout" else RequestError
    return kind(
        f"request {request_id} was refused by tier {refusal.tier!r} ({refusal.reason}): "
        f"{refusal.message}"
    )


class Client:
    """A pool of channels to one address; open channels are lent to one thread at a time."""

    def __init__(self, address: str) -> None:
        self._address = address
        self._context: zmq.Context[Any] = zmq.Context()
        self._idle: collections.deque[Channel] = collections.deque()
        self._lent = 0
        self._lock = threading.Condition()
        self._closed = False

    @contextmanager
    def channel(self) -> Iterator[Channel]:
        """A channel for the calling thread. Raises ClosedError after close()."""
        with self._lock:
            if self._closed:
                raise ClosedError("this EdgeSplit is closed; make a new one")
            self._lent += 1
            channel = self._idle.pop() if self._idle else None
        if channel is None:
            channel = Channel(self._context, self._address)
        try:
            yield channel
        except WireError:
            channel.close()
            channel = None
            raise
        finally:
            with self._lock:
                self._lent -= 1
                if channel is not None and not self._closed:
                    channel.forget()
                    self._idle.append(channel)
                elif channel is not None:
                    channel.close()
                self._lock.notify_all()

    def close(self, timeout_s: float = 5.0) -> None:
        """Wait for lent channels to come back, then close every socket."""
        with self._lock:
            self._closed = True
            self._lock.wait_for(lambda: self._lent == 0, timeout_s)
            while self._idle:
                self._idle.pop().close()
        self._context.destroy(linger=0)
