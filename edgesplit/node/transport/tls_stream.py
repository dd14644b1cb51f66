"""TLS over one blocking socket, for one thread that receives while others send.

An SSL object must not be used by two threads at once, and a thread that waits for bytes must not
keep others from sending. So it is fed through memory: it turns bytes into bytes under a lock, and
the socket is read and written outside of that. What it gives is sent in the order it was made.
"""

import contextlib
import select
import socket
import ssl
import threading
import time

from edgesplit.errors import TransportSecurityError
from edgesplit.node.transport.stream import (
    HANDSHAKE_FAILURE,
    close,
    discard,
    set_options,
    unacknowledged_bytes,
)

_RECORD_BYTES = 1 << 14  # what one record of TLS holds at most
_CHUNK_BYTES = 1 << 18  # per call of the kernel; from 128 KiB on it makes no difference
_GREETING_BYTES = 1 << 12  # read at once of a peer that has not proved anything yet


class TlsStream:
    """See Stream. context: of security.accepting() or connecting()."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        set_options(connected)
        self.sent_bytes = 0
        self._encrypted_bytes = 0  # as they were before
        self._socket = connected
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = context.protocol == ssl.PROTOCOL_TLS_SERVER
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self._poller, self._sendable = select.poll(), select.poll()
        self._poller.register(connected, select.POLLIN)
        self._sendable.register(connected, select.POLLOUT)
        self._sending = threading.Lock()  # of the socket's order; taken before the next one
        self._working = threading.Lock()  # of the SSL object and its memory
        self._unsent = memoryview(b"")  # encrypted, and not taken by the socket yet
        self._encrypted = memoryview(b"")  # room for what is received, made after the handshake
        self._ready = b""  # decrypted by wait(), for the next receive_into()
        self._has_spoken = False
        self._failure: ssl.SSLError | None = None  # of what was received; nothing after it counts

    def handshake(self, timeout_s: float) -> None:
        """Prove to each other that both are of the session.

        Raises TransportSecurityError where the peer does not, or not in time.
        """
        deadline_s = time.monotonic() + timeout_s
        room = memoryview(bytearray(_GREETING_BYTES))
        try:
            while not self._greet():
                self._feed_greeting(room, deadline_s)
        except OSError as error:
            self._turn_away()
            raise TransportSecurityError(_why(error)) from error
        self._encrypted = memoryview(bytearray(_CHUNK_BYTES))

    def send_some(self, parts: list[memoryview]) -> bool:
        """See Stream. Nothing in here waits for the peer."""
        try:
            with self._sending:
                while parts and self._flush():
                    self._encrypt(parts)
                is_done = self._flush()
            self._answer()
            return is_done and not parts
        except BaseException:  # after half a frame nothing else can be sent
            close(self._socket)
            raise

    def can_send(self, timeout_s: float) -> bool:
        """See Stream."""
        return bool(self._sendable.poll(max(0, int(timeout_s * 1000))))

    def unacknowledged_bytes(self) -> int:
        """See Stream. Records are 0.1 % longer than what they hold, if that is much."""
        return unacknowledged_bytes(self._socket)

    def receive_into(self, view: memoryview, is_whole: bool, deadline_s: float) -> int:
        """See Stream. Half a record is nothing yet."""
        count = self._take_ready(view)
        count += self._decrypt(view[count:])
        while not count or (is_whole and count < view.nbytes):
            if not self._feed(view.nbytes - count if is_whole else 0):
                return 0
            if time.monotonic() > deadline_s:
                raise TimeoutError("it took too long")
            count += self._decrypt(view[count:])
        return count

    def wait(self, timeout_s: float) -> bool:
        """See Stream. Half a record is nothing yet."""
        deadline_s = time.monotonic() + timeout_s
        try:
            while not self._decrypt_ahead():
                if not self._poll(deadline_s):
                    return False
                if not self._feed(0):
                    return True
        except OSError:  # receive_into() says it again
            pass
        return True

    def end_sending(self) -> None:
        """See Stream. Frames have lengths, so an end within one shows without TLS's own word."""
        self._socket.shutdown(socket.SHUT_WR)

    def discard(self) -> None:
        """See Stream."""
        discard(self._socket)

    def close(self) -> None:
        """See Stream."""
        close(self._socket)

    # Handshake

    def _greet(self) -> bool:
        """One step; whether it was the last."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._flush()  # a new socket takes what a handshake says
        return True

    def _feed_greeting(self, room: memoryview, deadline_s: float) -> None:
        if not self._poll(deadline_s):
            raise TimeoutError("no answer in time")
        count = self._socket.recv_into(room)
        if not count:
            raise ConnectionError("it has closed the connection")
        self._incoming.write(room[:count])

    def _turn_away(self) -> None:
        """Tell the peer; OpenSSL itself says nothing to one that does not speak TLS."""
        with contextlib.suppress(OSError):
            self._flush()
            if not self._has_spoken:
                self._socket.send(HANDSHAKE_FAILURE, socket.MSG_DONTWAIT)

    # Receiving

    def _feed(self, wanted: int) -> bool:
        """Wait for encrypted bytes and hand them over; False once the peer has closed.

        wanted: plain bytes that are sure to follow. A record of them may be here in part, so all
        but a record's worth can be waited for.
        """
        sure = min(wanted - _RECORD_BYTES, _CHUNK_BYTES)
        size, flags = (sure, socket.MSG_WAITALL) if sure > 0 else (_CHUNK_BYTES, 0)
        count = self._socket.recv_into(self._encrypted, size, flags)
        with self._working:
            self._incoming.write(self._encrypted[:count])
        return count > 0

    def _decrypt(self, view: memoryview) -> int:
        """Decrypt what there is into `view`; how many bytes."""
        count = 0
        with self._working:
            while count < view.nbytes and (got := self._read(view[count:])):
                count += got
        self._answer()
        return count

    def _read(self, view: memoryview) -> int:
        """Decrypt at most a record; 0 where there is no whole one. The caller has the lock."""
        if self._failure is not None:
            raise self._failure
        if not (self._incoming.pending or self._tls.pending()):
            return 0  # the same as below, without the cost of an exception
        try:
            return self._tls.read(view.nbytes, view)  # type: ignore[return-value]
        except ssl.SSLWantReadError:
            return 0
        except ssl.SSLError as error:
            self._failure = error
            raise

    def _decrypt_ahead(self) -> bool:
        """Whether there is something for receive_into(), decrypted if need be."""
        if not self._ready:
            room = bytearray(_RECORD_BYTES)
            self._ready = bytes(room[: self._decrypt(memoryview(room))])
        return bool(self._ready)

    def _take_ready(self, view: memoryview) -> int:
        if not self._ready:
            return 0
        part, self._ready = self._ready[: view.nbytes], self._ready[view.nbytes :]
        view[: len(part)] = part
        return len(part)

    def _poll(self, deadline_s: float) -> bool:
        left_s = deadline_s - time.monotonic()
        return bool(self._poller.poll(max(0, int(left_s * 1000))))

    # Sending

    def _answer(self) -> None:
        """Send what TLS itself has to say, such as an answer to a change of keys.

        A thread that is sending just now does it with the rest; the next sender does it with what
        the socket does not take at once. This thread may be the reader, which must not wait for
        that.
        """
        while self._outgoing.pending and self._sending.acquire(blocking=False):
            try:
                if not self._flush():
                    return
            finally:
                self._sending.release()

    def _encrypt(self, parts: list[memoryview]) -> None:
        """A chunk of `parts`, which is taken out."""
        with self._working:
            while parts and self._outgoing.pending < _CHUNK_BYTES:
                part = parts[0][:_CHUNK_BYTES]
                self._tls.write(part)
                self._encrypted_bytes += part.nbytes
                parts[0] = parts[0][part.nbytes :]
                if not parts[0].nbytes:
                    del parts[0]

    def _flush(self) -> bool:
        """Send what is encrypted; whether the socket has taken all of it.

        The caller holds the order: `_sending`, or the handshake.
        """
        while True:
            if not self._unsent.nbytes:
                with self._working:
                    self._unsent = memoryview(self._outgoing.read())
                if not self._unsent.nbytes:
                    return True
            self._has_spoken = True
            try:
                sent = self._socket.send(self._unsent, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return False
            self._unsent = self._unsent[sent:]
            gone = self._encrypted_bytes - self._unsent.nbytes
            self.sent_bytes = max(self.sent_bytes, gone)


def _why(error: OSError) -> str:
    """What a failed handshake says of the peer."""
    reason = error.reason if isinstance(error, ssl.SSLError) else str(error)
    return (
        f"transport security: the peer has not shown that it belongs to this session ({reason}). "
        "Both sides need the same session's key, and transport_security has to be the same; "
        "another session or program may have that port now"
    )
