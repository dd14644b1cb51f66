"""One connection that carries frames both ways. Blocking; several threads may send.

Plain sockets and not a message queue: a queue's own threads add two wake-ups to every message, and
a wake-up costs as much as a small message itself.
"""

import contextlib
import math
import socket
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np

from edgesplit.errors import TransportSecurityError, WireError
from edgesplit.node.transport import wire
from edgesplit.node.transport.greeting import greet
from edgesplit.node.transport.local_stream import LocalStream, connect_here
from edgesplit.node.transport.outgoing import Frame, Outgoing
from edgesplit.node.transport.payload_memory import Room
from edgesplit.node.transport.security import NO_SECURITY, Security
from edgesplit.node.transport.stream import PlainStream, Stream
from edgesplit.node.transport.tensor_kind import TensorKind
from edgesplit.node.transport.tls_stream import TlsStream
from edgesplit.node.transport.wire import limit_s

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

    kind: of the tensors that receive() gives. security: of security.py's accepting() or
    connecting(); handshake() comes first. room: where bytes that the peer does not take at once are
    held.
    """

    def __init__(
        self,
        connected: socket.socket,
        max_frame_bytes: int,
        kind: TensorKind,
        security: Security = NO_SECURITY,
        room: Room | None = None,
    ) -> None:
        self._stream = _stream(connected, security)
        self._outgoing = Outgoing(self._stream, room)
        self._max_frame_bytes = max_frame_bytes
        self._kind = kind
        # One call reads prefix, header and a small body together; what is too much is kept.
        self._buffer = bytearray(_BUFFER_BYTES)
        self._begin = self._end = 0
        self._deadline_s = math.inf  # of the frame that is being received
        self._head = b""  # of the frame whose large body comes next
        self._checked: tuple[Sequence[wire.ValueSpec], int] = (), 0
        self.is_closed = self.is_given_up = False  # by this side

    def handshake(self, timeout_s: float = CONNECT_TIMEOUT_S) -> None:
        """Prove to each other that both belong to the session; nothing where that is not asked.

        Raises TransportSecurityError, TimeoutError.
        """
        self._stream.handshake(timeout_s)

    def send(self, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """Send one frame, buffers as they lie in memory; return once the peer has taken it.

        Raises OSError where the peer is gone or takes too long.
        """
        self._outgoing.send(_parts(message, buffers))

    def post(self, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> Frame:
        """The same without waiting for the peer: the buffers must stay as they are from now on.

        Returns it for left_bytes() and withdraw().
        """
        return self._outgoing.post(_parts(message, buffers))

    def left_bytes(self, posted: Frame) -> int:
        """Of that frame and those before it, what the peer's kernel has not confirmed."""
        return self._outgoing.left_bytes(posted)

    def withdraw(self, posted: Frame) -> bool:
        """Whether that frame had not begun to leave: it never does then."""
        return self._outgoing.withdraw(posted)

    @property
    def is_behind(self) -> bool:
        """Whether the peer has not taken yet what was posted."""
        return self._outgoing.is_behind

    @property
    def posted_bytes(self) -> int:
        """Of all frames that were given to it so far, as they travel: with TLS a little longer."""
        return self._outgoing.posted_bytes

    def delivered_bytes(self) -> int:
        """Of posted_bytes, what the peer's kernel has confirmed. Costs microseconds; any thread.

        Never less than it was before.
        """
        return self._outgoing.delivered_bytes()

    def receive(self) -> tuple[wire.Message, list[Any]]:
        """The next message and the values in its body, waiting as long as it takes to begin.

        Raises EOFError when the peer has closed, OSError when it stalls within a frame, FrameError
        for a frame that was skipped, WireError where nothing after it can be read either.
        """
        message, body_bytes = self.receive_header()
        return message, self.receive_values(message, body_bytes)

    def receive_header(self, most_bytes: int | None = None) -> tuple[wire.Message, int]:
        """The next message and the bytes of its body, which is to be received or skipped next.

        most_bytes: of the body, instead of max_frame_bytes. Raises as receive().
        """
        self._await_frame()
        _check_is_no_tls(self._buffer[self._begin])
        self._deadline_s = time.monotonic() + limit_s(0)
        prefix = bytes(self._next(wire.PREFIX_BYTES))
        most_bytes = self._max_frame_bytes if most_bytes is None else most_bytes
        header_bytes, body_bytes = wire.read_prefix(prefix, most_bytes)
        self._deadline_s += limit_s(header_bytes + body_bytes) - limit_s(0)
        header = self._next(header_bytes)
        self._head = prefix + bytes(header) if self._stream.is_bulk(body_bytes) else b""
        if self._head and self._begin < self._end:
            raise WireError("a large body does not follow its header as it must")
        frame_id = ""
        try:
            message = wire.decode(header)
            frame_id = message.id
            if not isinstance(message, wire.Probe):  # whose body is ballast
                self._check_body(wire.specs_of(message), body_bytes)
        except WireError as error:
            self.skip(body_bytes)
            raise FrameError(str(error), frame_id) from None
        return message, body_bytes

    def receive_values(self, message: wire.Message, body_bytes: int) -> list[Any]:
        """What the body of that message holds. Raises as receive()."""
        if isinstance(message, wire.Probe):
            self.skip(body_bytes)
            return []
        body = wire.new_body(body_bytes)
        self._fill_body(memoryview(body))
        return self._kind.unpack(wire.specs_of(message), body)

    def receive_body(self, body_bytes: int) -> wire.Buffer:
        """The body as it came, to be passed on: it is not aligned. Raises as receive()."""
        body = np.empty(body_bytes, dtype=np.uint8)
        self._fill_body(body.data)
        return body

    def skip(self, body_bytes: int) -> None:
        """Let a body pass. Raises as receive()."""
        scratch, left = memoryview(bytearray(min(body_bytes, _DISCARD_BYTES))), body_bytes
        while left > 0:
            part = min(left, scratch.nbytes)
            self._fill(scratch[:part])
            left -= part
        if self._head:
            self._take_bulk(self._stream.skip_bulk)

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
            self.post(refusal)
            self._stream.end_sending()
            while time.monotonic() < deadline_s:
                if not self._stream.discard(memoryview(scratch), 1.0):
                    break
        self.close()

    def give_up(self) -> None:
        """The peer is silent: close, which ends what another thread sends or receives here."""
        self.is_given_up = True
        self.close()

    def abort(self) -> None:
        """Close, and send nothing more of what the kernel holds: it is of no use any more."""
        self._stream.drop_unsent()
        self.close()

    def close(self) -> None:
        """Close both ways; safe to call twice."""
        self.is_closed = True
        self._stream.close()
        self._outgoing.close()

    def _check_body(self, specs: Sequence[wire.ValueSpec], body_bytes: int) -> None:
        """Raise WireError as wire.check_body(). What is as in the frame before was judged then."""
        if (specs, body_bytes) != self._checked:
            wire.check_body(specs, body_bytes, self._max_frame_bytes)
            self._checked = specs, body_bytes

    def _await_frame(self) -> None:
        while self._begin == self._end:
            self._begin = self._end = 0
            self._deadline_s = math.inf
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

    def _fill_body(self, view: memoryview) -> None:
        self._fill(view)
        if self._head:
            self._take_bulk(partial(self._stream.open_bulk, self._head, view))

    def _take_bulk(self, take: Callable[[float], None]) -> None:
        """The end of a large body. take(deadline_s): open or skip it."""
        self._head = b""
        try:
            take(self._deadline_s)
        except BlockingIOError:  # the time limit
            raise
        except OSError as error:
            self.close()  # nothing after it can be read either
            raise EOFError(str(error)) from error

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
            if self._head:
                count = self._stream.receive_raw(view, self._deadline_s)
            else:
                count = self._stream.receive_into(view, is_whole, self._deadline_s)
        except BlockingIOError:  # the time limit
            raise
        except OSError as error:  # reset, or closed here
            raise EOFError(str(error)) from error
        if not count:
            raise EOFError("the peer has closed the connection")
        if time.monotonic() > self._deadline_s:
            raise TimeoutError("the peer has not sent the whole of a frame in time")
        return count


def _parts(message: wire.Message, buffers: Sequence[wire.Buffer]) -> list[memoryview]:
    parts = [memoryview(buffer).cast("B") for buffer in buffers if buffer.nbytes]
    size = sum([part.nbytes for part in parts])
    parts.insert(0, memoryview(wire.encode(message, size)))
    return parts


def _check_is_no_tls(first_byte: int) -> None:
    if first_byte in _TLS_RECORDS:
        raise TransportSecurityError(
            "transport security: the peer speaks TLS and this side does not; transport_security "
            "has to be the same for both, and both need the session's key"
        )


def _stream(connected: socket.socket, security: Security) -> Stream:
    if connected.family == socket.AF_UNIX:
        return LocalStream(connected, security)
    return PlainStream(connected) if security.tls is None else TlsStream(connected, security.tls)


def connect(
    address: str,
    max_frame_bytes: int,
    kind: TensorKind,
    security: Security = NO_SECURITY,
    room: Room | None = None,
) -> Connection:
    """A connection to HOST:PORT, its handshake done: within this host where it is here, else TCP.

    Raises OSError where nobody listens or that is no address, TransportSecurityError (one of them)
    where whoever listens is not of the session.
    """

    def greeted(connected: socket.socket) -> Connection:
        connection = Connection(connected, max_frame_bytes, kind, security, room)
        try:
            greet(connected, security.session)
            connection.handshake()
        except BaseException:
            connection.close()
            raise
        return connection

    here = connect_here(address, CONNECT_TIMEOUT_S)
    if here is not None:
        # Whoever took that name, or is of another namespace of processes: TCP has its own proof.
        with contextlib.suppress(ConnectionError):
            return greeted(here)
    return greeted(connect_socket(address))


def connect_socket(address: str) -> socket.socket:
    """A socket that is connected to HOST:PORT. Raises OSError also for what is no address."""
    host, _, port = address.rpartition(":")
    try:
        return socket.create_connection((host, int(port)), timeout=CONNECT_TIMEOUT_S)
    except (ValueError, OverflowError) as error:  # UnicodeError of a host name is a ValueError
        raise OSError(f"{address!r} is no HOST:PORT: {error}") from error
