"""One TCP connection that carries frames both ways. Blocking; several threads may send.

Plain sockets and not a message queue: a queue's own threads add two wake-ups to every message, and
a wake-up costs as much as a small message itself.
"""

import contextlib
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any

from edgesplit.errors import TransportSecurityError, WireError
from edgesplit.node import wire
from edgesplit.node.stream import PlainStream, Stream
from edgesplit.node.tensor_kind import TensorKind
from edgesplit.node.tls_stream import TlsStream

CONNECT_TIMEOUT_S = 5.0  # and for the handshake as much again

_DISCARD_BYTES = 1 << 20
_BUFFER_BYTES = 1 << 13
_LINGER_S = 10.0  # for what a refused peer is still sending
_TLS_RECORDS = (0x15, 0x16)  # alert, handshake: RFC 8446, section 5.1; no frame begins so


class FrameError(WireError):
    """A frame that was refused but skipped: the connection is still good. id: the frame's own."""

    def __init__(self, message: str, frame_id: str) -> None:
        super().__init__(message)
        self.frame_id = frame_id


class Connection:
    """A connected socket. close() may be called by any thread and ends a receive() under way.

    kind: of the tensors that receive() gives. security: of node/security.py's accepting() or
    connecting(); handshake() then comes first. None: frames travel as they are.
    """

    def __init__(
        self,
        connected: socket.socket,
        max_frame_bytes: int,
        kind: TensorKind,
        security: ssl.SSLContext | None = None,
    ) -> None:
        self._stream: Stream = (
            PlainStream(connected) if security is None else TlsStream(connected, security)
        )
        self._max_frame_bytes = max_frame_bytes
        self._kind = kind
        # One call reads prefix, header and a small body together; what is too much is kept.
        self._buffer = bytearray(_BUFFER_BYTES)
        self._begin = self._end = 0
        self.is_closed = False  # by this side

    def handshake(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Prove to each other that both belong to the session; nothing where that is not asked.

        Raises TransportSecurityError.
        """
        self._stream.handshake(timeout_s)

    def send(self, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """Send one frame, buffers as they lie in memory. Raises OSError where the peer is gone."""
        parts = [memoryview(buffer).cast("B") for buffer in buffers if buffer.nbytes]
        size = sum([part.nbytes for part in parts])
        parts.insert(0, memoryview(wire.encode(message, size)))
        self._stream.send_all(parts)

    def receive(self, passes_replies: bool = False) -> tuple[wire.Message, list[Any]]:
        """The next message and the values in its body, waiting as long as it takes to begin.

        passes_replies: a reply's body is only passed on; it comes as one buffer, not as values.
        Raises EOFError when the peer has closed, OSError when it stalls within a frame, FrameError
        for a frame that was skipped, WireError where nothing after it can be read either.
        """
        self._await_frame()
        _check_is_no_tls(self._buffer[self._begin])
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
        return self._stream.wait(timeout_s)

    def refuse_and_close(self, refusal: wire.Refusal) -> None:
        """Say why and close, after what is still coming: else the reset would outrun the word."""
        scratch = bytearray(_DISCARD_BYTES)
        deadline_s = time.monotonic() + _LINGER_S
        with contextlib.suppress(OSError):
            self.send(refusal)
            self._stream.end_sending()
            while time.monotonic() < deadline_s and self.wait(1.0):
                if not self._stream.receive_into(memoryview(scratch), False):
                    break
        self.close()

    def close(self) -> None:
        """Close both ways; safe to call twice."""
        self.is_closed = True
        self._stream.close()

    def _await_frame(self) -> None:
        while self._begin == self._end:
            self._begin = self._end = 0
            with contextlib.suppress(BlockingIOError):  # a connection may be idle for long
                self._end = self._receive(memoryview(self._buffer))

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
            self._end += self._receive(memoryview(self._buffer)[self._end :])
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
            view = view[self._receive(view, is_whole=True) :]

    def _receive(self, view: memoryview, is_whole: bool = False) -> int:
        try:
            count = self._stream.receive_into(view, is_whole)
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


def _check_is_no_tls(first_byte: int) -> None:
    if first_byte in _TLS_RECORDS:
        raise TransportSecurityError(
            "transport security: the peer speaks TLS and this side does not; transport_security "
            "has to be the same for both, and both need the session's key"
        )


def connect(
    address: str,
    max_frame_bytes: int,
    kind: TensorKind,
    security: ssl.SSLContext | None = None,
) -> Connection:
    """A connection to HOST:PORT, its handshake done.

    Raises OSError where nobody listens or that is no address, TransportSecurityError (one of them)
    where whoever listens is not of the session.
    """
    host, _, port = address.rpartition(":")
    try:
        connected = socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S)
    except (ValueError, OverflowError) as error:  # UnicodeError of a host name is a ValueError
        raise OSError(f"{address!r} is no HOST:PORT: {error}") from error
    connection = Connection(connected, max_frame_bytes, kind, security)
    try:
        connection.handshake()
    except OSError:
        connection.close()
        raise
    return connection
