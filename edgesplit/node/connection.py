"""One TCP connection that carries frames both ways. Blocking; several threads may send.

Plain sockets and not a message queue: a queue's own threads add two wake-ups to every message, and
a wake-up costs as much as a small message itself.
"""

import contextlib
import select
import socket
import struct
import threading
import time
from collections.abc import Sequence
from typing import Any

from edgesplit.errors import WireError
from edgesplit.node import wire
from edgesplit.node.tensor_kind import TensorKind

_CONNECT_TIMEOUT_S = 5.0
_STALL_TIMEOUT_S = 60  # of a peer that stops in the middle of a frame, either way

_DISCARD_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 13
_LINGER_S = 10.0  # for what a refused peer is still sending


class FrameError(WireError):
    """A frame that was refused but skipped: the connection is still good. id: the frame's own."""

    def __init__(self, message: str, frame_id: str) -> None:
        super().__init__(message)
        self.frame_id = frame_id


class Connection:
    """A connected socket. close() may be called by any thread and ends a receive() under way.

    kind: of the tensors that receive() gives.
    """

    def __init__(self, connected: socket.socket, max_frame_bytes: int, kind: TensorKind) -> None:
        connected.setblocking(True)
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        # Time limits in the kernel: Python's own would cost a poll() for every call.
        limit = struct.pack("ll", _STALL_TIMEOUT_S, 0)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self._socket = connected
        self._max_frame_bytes = max_frame_bytes
        self._kind = kind
        self._sending = threading.Lock()
        self._poller = select.poll()
        self._poller.register(connected, select.POLLIN)
        # One call reads prefix, header and a small body together; what is too much is kept.
        self._buffer = bytearray(_BUFFER_BYTES)
        self._begin = self._end = 0

    def send(self, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """Send one frame, buffers as they lie in memory. Raises OSError where the peer is gone."""
        parts = [memoryview(buffer).cast("B") for buffer in buffers if buffer.nbytes]
        size = sum([part.nbytes for part in parts])
        parts.insert(0, memoryview(wire.encode(message, size)))
        with self._sending:
            _send_all(self._socket, parts)

    def receive(self, passes_replies: bool = False) -> tuple[wire.Message, list[Any]]:
        """The next message and the values in its body, waiting as long as it takes to begin.

        passes_replies: a reply's body is only passed on; it comes as one buffer, not as values.
        Raises EOFError when the peer has closed, OSError when it stalls within a frame, FrameError
        for a frame that was skipped, WireError where nothing after it can be read either.
        """
        self._await_frame()
        prefix = self._next(wire.PREFIX_BYTES)
        header_bytes, body_bytes = wire.read_prefix(prefix, self._max_frame_bytes)
        header = self._next(header_bytes)
        frame_id = ""
        try:
            message = wire.decode(header)
            frame_id = message.id
            if isinstance(message, wire.Probe):
                self._discard(body_bytes)
                return message, []
            specs = wire.specs_of(message)
            passes = passes_replies and isinstance(message, wire.Reply)
            if not passes:
                wire.check_body(specs, body_bytes)
        except WireError as error:
            self._discard(body_bytes)
            raise FrameError(str(error), frame_id) from None
        body = wire.new_body(body_bytes)
        self._fill(memoryview(body))
        return message, [body] if passes else self._kind.unpack(specs, body)

    def wait(self, timeout_s: float) -> bool:
        """Whether something has arrived within the time."""
        if self._begin < self._end:
            return True
        return bool(self._poller.poll(max(0, int(timeout_s * 1000))))

    def refuse_and_close(self, refusal: wire.Refusal) -> None:
        """Say why and close, after what is still coming: else the reset would outrun the word."""
        scratch = bytearray(_DISCARD_BYTES)
        deadline_s = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            self.send(refusal)
            self._socket.shutdown(socket.SHUT_WR)
            while time.monotonic() < deadline_s and self.wait(1.0):
                if not self._socket.recv_into(scratch):
                    break
        self.close()

    def close(self) -> None:
        """Close both ways; safe to call twice."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _await_frame(self) -> None:
        while self._begin == self._end:
            self._begin = self._end = 0
            with contextlib.suppress(BlockingIOError):  # a connection may be idle for long
                self._end = self._receive(memoryview(self._buffer), 0)

    def _next(self, count: int) -> memoryview:
        """The next `count` bytes, valid until the next call."""
        if count > len(self._buffer):
            far = memoryview(bytearray(count))
            self._fill(far)
            return far
        if self._begin + count > len(self._buffer):
            rest = self._buffer[self._begin : self._end]
            self._buffer[: len(rest)] = rest
            self._begin, self._end = 0, len(rest)
        while self._end - self._begin < count:
            self._end += self._receive(memoryview(self._buffer)[self._end :], 0)
        self._begin += count
        return memoryview(self._buffer)[self._begin - count : self._begin]

    def _fill(self, view: memoryview) -> None:
        """Fill `view` with what comes next."""
        kept = min(self._end - self._begin, view.nbytes)
        view[:kept] = memoryview(self._buffer)[self._begin : self._begin + kept]
        self._begin += kept
        if self._begin == self._end:
            self._begin = self._end = 0
        view = view[kept:]
        while view.nbytes:
            view = view[self._receive(view, socket.MSG_WAITALL) :]

    def _receive(self, view: memoryview, flags: int) -> int:
        try:
            count = self._socket.recv_into(view, view.nbytes, flags)
        except BlockingIOError:  # the time limit
            raise
        except OSError as error:  # reset, or closed here
            raise EOFError(str(error)) from error
        if not count:
            raise EOFError("the peer has closed the connection")
        return count

    def _discard(self, count: int) -> None:
        scratch = bytearray(min(count, _DISCARD_BYTES))
        while count > 0:
            part = min(count, len(scratch))
            self._fill(memoryview(scratch)[:part])
            count -= part


def connect(address: str, max_frame_bytes: int, kind: TensorKind) -> Connection:
    """A connection to HOST:PORT. Raises OSError where nobody listens or that is no address."""
    host, _, port = address.rpartition(":")
    try:
        connected = socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S)
    except (ValueError, OverflowError) as error:  # UnicodeError of a host name is a ValueError
        raise OSError(f"{address!r} is no HOST:PORT: {error}") from error
    return Connection(connected, max_frame_bytes, kind)


def _send_all(connected: socket.socket, parts: list[memoryview]) -> None:
    while parts:
        sent = connected.sendmsg(parts)
        while parts and sent >= parts[0].nbytes:
            sent -= parts.pop(0).nbytes
        if parts and sent:
            parts[0] = parts[0][sent:]
