"""The two ways into a tier, as whoever attacks it takes them: TCP with TLS, and within its host."""

import secrets
import socket
import ssl
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.bulk import KEY_BYTES
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.greeting import greet
from edgesplit.node.transport.local_stream import connect_here
from edgesplit.node.transport.security import Credentials, connecting, new_credentials

ANSWER_TIMEOUT_S = 20.0
_MOST_BYTES = 1 << 62
_TLS_RECORDS, _TLS_VERSION, _TLS_HEADER_BYTES = range(20, 24), b"\x03", 5
_HELLO_BYTES, _PROOF_BYTES = 40, 32
_CHALLENGE_BYTES = 32 + _PROOF_BYTES  # a tier's answer to any greeting: it says nothing


@dataclass(frozen=True)
class Target:
    """Where the tier under test and the tier behind it listen, and the session's credentials."""

    end: str
    edge: str
    credentials: Credentials


class Door(Protocol):
    """One of them. recorded: what a caller with the key sent for one request."""

    name: str
    recorded: bytes

    def session(self) -> Connection:
        """A new connection of the session."""

    def stranger(self) -> socket.socket:
        """A new one, nothing said on it yet."""

    def answer_to_another_key(self, data: bytes) -> bytes:
        """What somebody gets who has another session's key and does not mind the tier's."""

    def beside_handshake(self, answer: bytes) -> bytes:
        """What of an answer is more than a handshake."""


class TlsDoor:
    """By TCP."""

    name = "tcp"

    def __init__(self, target: Target) -> None:
        self._target = target
        self._others = _careless(new_credentials())
        self.recorded = self._record()

    def session(self) -> Connection:
        """See Door."""
        security = connecting(self._target.credentials)
        made = Connection(self.stranger(), _MOST_BYTES, arrays, security)
        made.handshake()
        return made

    def stranger(self) -> socket.socket:
        """See Door."""
        host, port = self._target.end.split(":")
        made = socket.create_connection((host, int(port)), timeout=ANSWER_TIMEOUT_S)
        greet(made, self._target.credentials.session)
        return made

    def answer_to_another_key(self, data: bytes) -> bytes:
        """See Door."""
        with self._others.wrap_socket(self.stranger()) as secured:
            secured.sendall(data)
            return secured.recv(1)

    def beside_handshake(self, answer: bytes) -> bytes:
        """See Door."""
        return beside_tls(answer)

    def _record(self) -> bytes:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = connecting(self._target.credentials).tls
        assert context is not None
        tls, sent = context.wrap_bio(incoming, outgoing), b""
        with self.stranger() as connected:
            while True:
                with suppress(ssl.SSLWantReadError):
                    tls.do_handshake()
                    tls.write(secrets.token_bytes(KEY_BYTES))
                    tls.write(wire.encode(wire.Probe(id="recorded", sender="fuzz")))
                part = outgoing.read()
                sent += part
                connected.sendall(part)
                if tls.version() and sent and tls.cipher() and b"\x17\x03\x03" in part:
                    return sent
                incoming.write(connected.recv(1 << 16))


class LocalDoor:
    """Within the tier's host."""

    name = "local"

    def __init__(self, target: Target) -> None:
        self._target = target
        self.recorded = self._record()

    def session(self) -> Connection:
        """See Door."""
        return self._session(self.stranger())

    def _session(self, connected: socket.socket) -> Connection:
        security = connecting(self._target.credentials)
        made = Connection(connected, _MOST_BYTES, arrays, security)
        made.handshake()
        return made

    def stranger(self) -> socket.socket:
        """See Door."""
        made = connect_here(self._target.end, ANSWER_TIMEOUT_S)
        assert made is not None, "the tier under test is of this host and this user"
        made.settimeout(ANSWER_TIMEOUT_S)
        greet(made, self._target.credentials.session)
        return made

    def answer_to_another_key(self, data: bytes) -> bytes:
        """See Door."""
        with self.stranger() as connected:
            connected.sendall(self.recorded[:_HELLO_BYTES])
            given = b""
            while len(given) < _CHALLENGE_BYTES and (part := connected.recv(_CHALLENGE_BYTES)):
                given += part
            connected.sendall(secrets.token_bytes(_PROOF_BYTES) + data)
            return connected.recv(1)

    def beside_handshake(self, answer: bytes) -> bytes:
        """See Door."""
        return answer[_CHALLENGE_BYTES:]

    def _record(self) -> bytes:
        recording = _Recording(fileno=self.stranger().detach())
        with closing(self._session(recording)) as made:
            made.send(wire.Probe(id="recorded", sender="fuzz"))
            made.receive()
        return recording.sent


DOORS = (TlsDoor, LocalDoor)


class _Recording(socket.socket):
    """Keeps what it sends."""

    sent = b""

    def send(self, data: Any, flags: int = 0) -> int:
        self.sent += data
        return super().send(data, flags)

    def sendmsg(self, buffers: Any, *others: Any) -> int:
        self.sent += b"".join(buffers)
        return super().sendmsg(buffers, *others)


def beside_tls(answer: bytes) -> bytes:
    """What of it is no TLS record (RFC 8446, section 5.1), from the first such byte to the end.

    Records are not looked into: they hold ciphers and random numbers, in which the three letters
    that a frame begins with come up by chance, once in some 20,000 handshakes.
    """
    at = 0
    while at < len(answer):
        kind, version, length = answer[at], answer[at + 1 : at + 2], answer[at + 3 : at + 5]
        if kind not in _TLS_RECORDS or version not in (b"", _TLS_VERSION):
            return answer[at:]
        at += _TLS_HEADER_BYTES + int.from_bytes(length)  # one that breaks off is one, too
    return b""


def _careless(credentials: Credentials) -> ssl.SSLContext:
    """Shows its own certificate and takes any."""
    context = connecting(credentials).tls
    assert context is not None
    context.verify_mode = ssl.CERT_NONE
    return context
