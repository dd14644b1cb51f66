"""TLS over one blocking socket, for one thread that receives while others send.

An SSL object must not be used by two threads at once, and a thread that waits for bytes must not
keep others from sending. So it is fed through memory, record by record: it turns bytes into bytes
under a lock, and the socket is read and written outside of that. Large bodies pass beside the
records (bulk.py), under keys that each side sends the other as the first thing within TLS.
"""

import contextlib
import secrets
import socket
import ssl
import threading
import time

from edgesplit.errors import TransportSecurityError
from edgesplit.node.transport.bulk import BULK_BYTES, KEY_BYTES, TAG_BYTES, BulkCipher
from edgesplit.node.transport.stream import HANDSHAKE_FAILURE, PlainStream

# RFC 8446, section 5.1 and 5.2: what records begin with, and how long they are at most.
_RECORD_TYPES, _RECORD_HEADER_BYTES = range(20, 24), 5
_PLAIN_BYTES, _RECORD_BYTES = 1 << 14, (1 << 14) + 256
_READ_BYTES = 1 << 16  # at most per call of the kernel


class TlsStream(PlainStream):
    """See Stream. context: of security.accepting() or connecting()."""

    def __init__(self, connected: socket.socket, context: ssl.SSLContext) -> None:
        super().__init__(connected)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        is_server = context.protocol == ssl.PROTOCOL_TLS_SERVER
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=is_server)
        self._working = threading.Lock()  # of the SSL object and its memory
        self._read_ahead = memoryview(bytearray(_READ_BYTES))
        self._begin = self._end = 0  # of what was read from the socket and not handed over yet
        self._ready = b""  # decrypted by wait(), for the next receive_into()
        self._has_spoken = False
        self._failure: ssl.SSLError | None = None  # of what was received; nothing after it counts
        self._sealing: BulkCipher | None = None  # both from the handshake on
        self._opening: BulkCipher | None = None

    def handshake(self, timeout_s: float) -> None:
        """Prove to each other that both are of the session, and agree on keys for large bodies.

        Raises TransportSecurityError where the peer does not, or not in time.
        """
        deadline_s = time.monotonic() + timeout_s
        try:
            while not self._greet():
                self._feed_in_time(deadline_s)
            key = secrets.token_bytes(KEY_BYTES)
            self._tls.write(key)
            self._speak()
            self._sealing, self._opening = BulkCipher(key), BulkCipher(self._peers_key(deadline_s))
        except OSError as error:
            self._turn_away()
            raise TransportSecurityError(_why(error)) from error

    def sealed(self, parts: list[memoryview]) -> list[memoryview]:
        """See Stream. Nothing in here waits for the peer."""
        assert self._sealing is not None, "handshake() comes first"
        head, *body = parts
        is_bulk = self.is_bulk(sum([part.nbytes for part in body]))
        with self._working:
            for part in [head] if is_bulk else parts:
                self._tls.write(part)
            records = memoryview(self._outgoing.read())
        return [records, self._sealing.seal(head, body)] if is_bulk else [records]

    def is_bulk(self, body_bytes: int) -> bool:
        """See Stream."""
        return body_bytes >= BULK_BYTES

    def open_bulk(self, head: bytes, body: memoryview, deadline_s: float) -> None:
        """See Stream."""
        assert self._opening is not None, "handshake() comes first"
        self._opening.open(head, body, self._tag(deadline_s))

    def skip_bulk(self, deadline_s: float) -> None:
        """See Stream."""
        assert self._opening is not None, "handshake() comes first"
        self._tag(deadline_s)
        self._opening.skip()

    def receive_into(self, view: memoryview, is_whole: bool, deadline_s: float) -> int:
        """See Stream. Half a record is nothing yet."""
        count = self._take_ready(view)
        count += self._decrypt(view[count:])
        while not count or (is_whole and count < view.nbytes):
            if not (self._hand_over() or self._read_more()):
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
                if self._hand_over():
                    continue
                if not self._poll(deadline_s):
                    return False
                if not self._read_more():
                    return True
        except OSError:  # receive_into() says it again
            pass
        return True

    # Handshake

    def _greet(self) -> bool:
        """One step; whether it was the last."""
        try:
            self._tls.do_handshake()
        except ssl.SSLWantReadError:
            return False
        finally:
            self._speak()
        return True

    def _speak(self) -> None:
        """Send what TLS has to say in a handshake: a new socket takes it."""
        if self._outgoing.pending:
            self._has_spoken = True
            self._socket.send(self._outgoing.read(), socket.MSG_DONTWAIT)

    def _feed_in_time(self, deadline_s: float) -> None:
        while not self._hand_over():
            if not self._poll(deadline_s):
                raise TimeoutError("no answer in time")
            if not self._read_more():
                raise ConnectionError("it has closed the connection")

    def _peers_key(self, deadline_s: float) -> bytes:
        key = bytearray()
        while len(key) < KEY_BYTES:
            room = memoryview(bytearray(KEY_BYTES - len(key)))
            key += room[: self._decrypt(room)]
            if len(key) < KEY_BYTES:
                self._feed_in_time(deadline_s)
        return bytes(key)

    def _turn_away(self) -> None:
        """Tell the peer; OpenSSL itself says nothing to one that does not speak TLS."""
        with contextlib.suppress(OSError):
            self._speak()
            if not self._has_spoken:
                self._socket.send(HANDSHAKE_FAILURE, socket.MSG_DONTWAIT)

    # Receiving

    def _hand_over(self) -> bool:
        """Give the next record to TLS; whether it is here as a whole.

        One and no more: what follows may be a large body.
        """
        here = self._read_ahead[self._begin : self._end]
        if not here.nbytes:
            return False
        if here[0] not in _RECORD_TYPES:  # OpenSSL says so
            length = here.nbytes
        elif here.nbytes < _RECORD_HEADER_BYTES:
            return False
        else:
            body = here[_RECORD_HEADER_BYTES - 2 : _RECORD_HEADER_BYTES]
            length = _RECORD_HEADER_BYTES + int.from_bytes(body)
            if length > _RECORD_HEADER_BYTES + _RECORD_BYTES:
                self._failure = ssl.SSLError(ssl.SSL_ERROR_SSL, "a record is too long")
                raise self._failure
        if here.nbytes < length:
            return False
        with self._working:
            self._incoming.write(here[:length])
        self._begin += length
        return True

    def _read_more(self) -> bool:
        """Wait for bytes of the record under way; False once the peer has closed."""
        rest = bytes(self._read_ahead[self._begin : self._end])
        self._read_ahead[: len(rest)] = rest
        self._begin, self._end = 0, len(rest)
        count = self._socket.recv_into(self._read_ahead[self._end :])
        self._end += count
        return count > 0

    def receive_raw(self, view: memoryview, deadline_s: float) -> int:
        """See Stream."""
        count = min(self._end - self._begin, view.nbytes)
        if not count:
            return super().receive_raw(view, deadline_s)
        view[:count] = self._read_ahead[self._begin : self._begin + count]
        self._begin += count
        return count

    def _decrypt(self, view: memoryview) -> int:
        """Decrypt what there is into `view`; how many bytes."""
        count = 0
        with self._working:
            while count < view.nbytes and (got := self._read(view[count:])):
                count += got
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
            room = bytearray(_PLAIN_BYTES)
            self._ready = bytes(room[: self._decrypt(memoryview(room))])
        return bool(self._ready)

    def _take_ready(self, view: memoryview) -> int:
        if not self._ready:
            return 0
        part, self._ready = self._ready[: view.nbytes], self._ready[view.nbytes :]
        view[: len(part)] = part
        return len(part)

    def _tag(self, deadline_s: float) -> bytes:
        tag = bytearray(TAG_BYTES)
        view = memoryview(tag)
        while view.nbytes:
            count = self.receive_raw(view, deadline_s)
            if not count:
                raise ConnectionError("the peer has closed the connection")
            view = view[count:]
        return bytes(tag)

    def _poll(self, deadline_s: float) -> bool:
        left_s = deadline_s - time.monotonic()
        return bool(self._poller.poll(max(0, int(left_s * 1000))))


def _why(error: OSError) -> str:
    """What a failed handshake says of the peer."""
    reason = getattr(error, "reason", None) or str(error)  # OpenSSL's own is the shorter one
    return (
        f"transport security: the peer has not shown that it belongs to this session ({reason}). "
        "Both sides need the same session's key, and transport_security has to be the same; "
        "another session or program may have that port now"
    )
