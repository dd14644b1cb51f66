"""Whoever sends a tier what it should not get, with the session's key or without."""

import socket
import ssl
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from edgesplit.node.transport import arrays, wire
from edgesplit.node.transport.connection import Connection, connect
from edgesplit.node.transport.security import Credentials, connecting, new_credentials
from experiments.fuzz.mutator import Frame, Mutator

_ANSWER_TIMEOUT_S = 20.0
_TLS_RECORDS, _TLS_VERSION, _TLS_HEADER_BYTES = range(20, 24), b"\x03", 5
# Of a hundred frames, so many come in each way.
SHARES = {"in a session": 80, "plain": 10, "another key": 4, "recorded": 3, "broken handshake": 3}


@dataclass(frozen=True)
class Target:
    """Where the tier under test and the tier behind it listen, and the session's credentials."""

    end: str
    edge: str
    credentials: Credentials


@dataclass
class Found:
    """What came of it, while it goes on. wrong: what should not have happened."""

    ways: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    good_s: list[float] = field(default_factory=list)


class Attacker:
    """Sends one spoilt frame after another, in the ways of SHARES."""

    def __init__(self, target: Target, seed: int, found: Found) -> None:
        self._target = target
        self._found = found
        self._rng = np.random.default_rng((seed, 1))
        self._mutator = Mutator(seed, target.edge)
        self._ours = connecting(target.credentials)
        self._others = _careless(new_credentials())
        self._recorded = recorded(target)
        self._link: Connection | None = None
        self._count = 0

    def send_one(self) -> None:
        """One frame in one way; what should not have happened goes to Found.wrong."""
        way = str(self._rng.choice(list(SHARES), p=[share / 100 for share in SHARES.values()]))
        frame = self._mutator.frame()
        self._found.ways[way] += 1
        self._found.spoilt[frame.spoilt] += 1
        try:
            self._send(way, frame)
        except TimeoutError as error:
            self.close()
            self._found.wrong.append(f"{way}, {frame.spoilt}: neither answer nor end: {error}")

    def close(self) -> None:
        """Close the connection that is open, if any."""
        if self._link is not None:
            self._link.close()
            self._link = None

    def _send(self, way: str, frame: Frame) -> None:
        match way:
            case "in a session":
                self._send_in_session(frame)
            case "plain":
                self._send_outside(frame.data)
            case "another key":
                self._send_with_another_key(frame.data)
            case "recorded":
                cut = int(self._rng.integers(1, len(self._recorded)))
                self._send_outside(self._recorded[:cut] if cut % 2 else self._recorded)
            case "broken handshake":
                data = bytearray(self._recorded[:600])
                data[int(self._rng.integers(len(data)))] ^= 1 << int(self._rng.integers(8))
                self._send_outside(bytes(data[: int(self._rng.integers(1, len(data)))]))

    def _send_in_session(self, frame: Frame) -> None:
        """Then either a probe on the same connection is answered, or the tier has closed it."""
        if self._link is None:
            self._link = connect(self._target.end, 1 << 62, arrays, self._ours)
        self._count += 1
        probe = wire.Probe(id=f"still-{self._count}", sender="fuzz")
        try:
            self._link._outgoing.send([memoryview(frame.data)])
            if not frame.is_whole:
                self.close()
                return
            self._link.send(probe)
            self._await_echo(self._link, probe.id)
        except (EOFError, ConnectionError, ssl.SSLError):
            self.close()

    def _await_echo(self, link: Connection, name: str) -> None:
        while True:
            if not link.wait(_ANSWER_TIMEOUT_S):
                raise TimeoutError(f"probe {name}")
            message, _ = link.receive()
            if message.id == name and isinstance(message, wire.Echo):
                return

    def _send_outside(self, data: bytes) -> None:
        """Without the key: the tier says nothing of its own and closes."""
        answer = bytearray()
        with suppress(ConnectionError), _connected(self._target) as stranger:
            stranger.sendall(data)
            with suppress(OSError):  # closed already
                stranger.shutdown(socket.SHUT_WR)
            while part := stranger.recv(1 << 16):
                answer += part
        if beside_tls(bytes(answer)):
            self._found.wrong.append("a stranger got a frame")

    def _send_with_another_key(self, data: bytes) -> None:
        with (
            suppress(ConnectionError, ssl.SSLError),
            self._others.wrap_socket(_connected(self._target)) as secured,
        ):
            secured.sendall(data)
            if secured.recv(1):
                self._found.wrong.append("another key got an answer")


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


def _connected(target: Target) -> socket.socket:
    host, port = target.end.split(":")
    return socket.create_connection((host, int(port)), timeout=_ANSWER_TIMEOUT_S)


def _careless(credentials: Credentials) -> ssl.SSLContext:
    """Shows its own certificate and takes any."""
    context = connecting(credentials)
    assert context is not None
    context.verify_mode = ssl.CERT_NONE
    return context


def recorded(target: Target) -> bytes:
    """What a caller with the key sent for one request, as it went over the wire."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = connecting(target.credentials)
    assert context is not None
    tls, sent = context.wrap_bio(incoming, outgoing), b""
    with _connected(target) as connected:
        while True:
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                tls.write(wire.encode(wire.Probe(id="recorded", sender="fuzz")))
            part = outgoing.read()
            sent += part
            connected.sendall(part)
            if tls.version() and sent and tls.cipher() and b"\x17\x03\x03" in part:
                return sent
            incoming.write(connected.recv(1 << 16))
