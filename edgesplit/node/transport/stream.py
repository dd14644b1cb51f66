"""The seam under Connection: bytes both ways over one socket, plain, local or through TLS.

A stream has one reader and one sender at a time; close() may be called by any thread.
"""

import contextlib
import fcntl
import select
import socket
import struct
import sys
import termios
from typing import Protocol

# What is said to a peer that does not greet. An alert of TLS: RFC 8446, sections 5.1 and 6.
HANDSHAKE_FAILURE = bytes.fromhex("15 0303 0002 02 28")
_STALL_TIMEOUT_S = 60  # of a peer that stops in the middle of a frame, either way
_LOCAL_BUFFER_BYTES = 1 << 22  # as TCP's grow to by themselves; the system may allow less


class Stream(Protocol):
    """What Connection needs of a socket.

    sent_bytes: of all that was sent, what the kernel has taken; set after it has.
    """

    sent_bytes: int

    def handshake(self, timeout_s: float) -> None:
        """Agree with the peer before anything else. Raises TransportSecurityError, OSError."""

    def sealed(self, parts: list[memoryview]) -> list[memoryview]:
        """A frame as it travels; called in the order in which frames are sent, once each.

        parts: its prefix and header, then its body.
        """

    def is_bulk(self, body_bytes: int) -> bool:
        """Whether such a body comes by receive_raw(), to be opened or skipped then."""

    def receive_raw(self, view: memoryview, deadline_s: float) -> int:
        """As receive_into() where is_whole, for such a body: as it travels."""

    def open_bulk(self, head: bytes, body: memoryview, deadline_s: float) -> None:
        """Decrypt it in its place, all of it. head: what came before it, prefix and header.

        Raises OSError where it is not what the peer sent next.
        """

    def skip_bulk(self, deadline_s: float) -> None:
        """It has passed by and is not needed. Raises OSError."""

    def send_some(self, parts: list[memoryview]) -> bool:
        """Send of `parts`, in order, what is taken at once, and take it out; whether that was all.

        Raises OSError.
        """

    def can_send(self, timeout_s: float) -> bool:
        """Whether more would be taken within the time, or the peer is gone."""

    def unacknowledged_bytes(self) -> int:
        """Of what the kernel has taken, what the peer's has not. Any thread; raises OSError."""

    def receive_into(self, view: memoryview, is_whole: bool, deadline_s: float) -> int:
        """Put what comes next into `view`; how many bytes, 0 once the peer has closed.

        is_whole: rather fill `view` than come back early, but not long after deadline_s,
        monotonic()'s. Raises BlockingIOError after a minute without a byte, OSError where the peer
        is gone or what came was not its own.
        """

    def wait(self, timeout_s: float) -> bool:
        """Whether something has arrived, or the peer has closed, within the time."""

    def discard(self, scratch: memoryview, timeout_s: float) -> bool:
        """Let pass what comes, unread, into `scratch`; whether something did within the time."""

    def end_sending(self) -> None:
        """Tell the peer that nothing follows. Raises OSError."""

    def drop_unsent(self) -> None:
        """Let close() drop what the kernel has not sent yet, instead of sending it."""

    def close(self) -> None:
        """Close both ways and end a receive_into() under way; safe to call twice."""


class PlainStream:
    """Bytes as they are."""

    def __init__(self, connected: socket.socket) -> None:
        set_options(connected)
        self.sent_bytes = 0
        self._socket = connected
        self._poller, self._sendable = select.poll(), select.poll()
        self._poller.register(connected, select.POLLIN)
        self._sendable.register(connected, select.POLLOUT)

    def handshake(self, timeout_s: float) -> None:
        """Nothing to agree on."""

    def sealed(self, parts: list[memoryview]) -> list[memoryview]:
        """See Stream."""
        return parts

    def is_bulk(self, body_bytes: int) -> bool:
        """See Stream. All bodies come by receive_into() here."""
        return False

    def open_bulk(self, head: bytes, body: memoryview, deadline_s: float) -> None:
        """See Stream."""

    def skip_bulk(self, deadline_s: float) -> None:
        """See Stream."""

    def send_some(self, parts: list[memoryview]) -> bool:
        """See Stream. One call of the kernel for all parts, as long as it takes them."""
        try:
            while parts:
                try:
                    sent = self._socket.sendmsg(parts, (), socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return False
                self.sent_bytes += sent
                while parts and sent >= parts[0].nbytes:
                    sent -= parts.pop(0).nbytes
                if parts and sent:
                    parts[0] = parts[0][sent:]
            return True
        except BaseException:  # after half a frame nothing else can be sent
            close(self._socket)
            raise

    def can_send(self, timeout_s: float) -> bool:
        """See Stream."""
        return bool(self._sendable.poll(max(0, int(timeout_s * 1000))))

    def unacknowledged_bytes(self) -> int:
        """See Stream."""
        return unacknowledged_bytes(self._socket)

    def receive_into(self, view: memoryview, is_whole: bool, deadline_s: float) -> int:
        """See Stream. The kernel comes back after a minute in any case."""
        return self._socket.recv_into(view, view.nbytes, socket.MSG_WAITALL if is_whole else 0)

    def receive_raw(self, view: memoryview, deadline_s: float) -> int:
        """See Stream."""
        return self._socket.recv_into(view, view.nbytes, socket.MSG_WAITALL)

    def discard(self, scratch: memoryview, timeout_s: float) -> bool:
        """See Stream."""
        has_come = self._poller.poll(max(0, int(timeout_s * 1000)))
        return bool(has_come) and self._socket.recv_into(scratch) > 0

    def wait(self, timeout_s: float) -> bool:
        """See Stream."""
        return bool(self._poller.poll(max(0, int(timeout_s * 1000))))

    def end_sending(self) -> None:
        """See Stream."""
        self._socket.shutdown(socket.SHUT_WR)

    def drop_unsent(self) -> None:
        """See Stream."""
        drop_unsent(self._socket)

    def close(self) -> None:
        """See Stream."""
        close(self._socket)


def set_options(connected: socket.socket) -> None:
    """Send at once, notice a dead peer, and wait no longer than a minute within a call."""
    connected.setblocking(True)
    if connected.family == socket.AF_UNIX:
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LOCAL_BUFFER_BYTES)
    else:
        connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    # A time limit in the kernel: Python's own would cost a poll() for every call.
    limit = struct.pack("ll", _STALL_TIMEOUT_S, 0)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


def unacknowledged_bytes(connected: socket.socket) -> int:
    """What was written and has not come to the peer's kernel. Raises OSError once it is closed."""
    try:
        found = fcntl.ioctl(connected, termios.TIOCOUTQ, bytes(4))
    except ValueError as error:  # it has no descriptor any more
        raise OSError("the connection is closed") from error
    return int.from_bytes(found, sys.byteorder)


def drop_unsent(connected: socket.socket) -> None:
    """Let close() drop what waits in the kernel: the peer sees a reset."""
    with contextlib.suppress(OSError):
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def close(connected: socket.socket) -> None:
    """Close both ways; a thread that waits in recv comes back."""
    with contextlib.suppress(OSError):
        connected.shutdown(socket.SHUT_RDWR)
    connected.close()
