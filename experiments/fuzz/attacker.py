"""Whoever sends a tier what it should not get, with the session's key or without."""

import socket
import ssl
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection
from experiments.fuzz.doors import ANSWER_TIMEOUT_S, DOORS, Door, Target
from experiments.fuzz.mutator import Frame, Mutator

# Of a hundred frames, so many come in each way.
SHARES = {"in a session": 80, "plain": 10, "another key": 4, "recorded": 3, "broken handshake": 3}


@dataclass
class Found:
    """What came of it, while it goes on. wrong: what should not have happened."""

    ways: Counter[str] = field(default_factory=Counter)
    spoilt: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    good_s: list[float] = field(default_factory=list)


class Attacker:
    """Sends one spoilt frame after another, in the ways of SHARES, through each door by chance."""

    def __init__(self, target: Target, seed: int, found: Found) -> None:
        self._found = found
        self._rng = np.random.default_rng((seed, 1))
        self._mutator = Mutator(seed, target.edge)
        self._doors = [door(target) for door in DOORS]
        self._links: dict[Door, Connection] = {}
        self._count = 0

    def send_one(self) -> None:
        """One frame in one way; what should not have happened goes to Found.wrong."""
        way = str(self._rng.choice(list(SHARES), p=[share / 100 for share in SHARES.values()]))
        door = self._doors[int(self._rng.integers(len(self._doors)))]
        frame = self._mutator.frame()
        self._found.ways[f"{way}, {door.name}"] += 1
        self._found.spoilt[frame.spoilt] += 1
        try:
            self._send(way, door, frame)
        except TimeoutError as error:
            self._close(door)
            why = f"neither answer nor end: {error}"
            self._found.wrong.append(f"{way}, {door.name}, {frame.spoilt}: {why}")

    def close(self) -> None:
        """Close the connections that are open."""
        for door in self._doors:
            self._close(door)

    def _close(self, door: Door) -> None:
        if (link := self._links.pop(door, None)) is not None:
            link.close()

    def _send(self, way: str, door: Door, frame: Frame) -> None:
        match way:
            case "in a session":
                self._send_in_session(door, frame)
            case "plain":
                self._send_outside(door, frame.data)
            case "another key":
                self._send_with_another_key(door, frame.data)
            case "recorded":
                cut = int(self._rng.integers(1, len(door.recorded)))
                self._send_outside(door, door.recorded[:cut] if cut % 2 else door.recorded)
            case "broken handshake":
                data = bytearray(door.recorded[:600])
                data[int(self._rng.integers(len(data)))] ^= 1 << int(self._rng.integers(8))
                self._send_outside(door, bytes(data[: int(self._rng.integers(1, len(data)))]))

    def _send_in_session(self, door: Door, frame: Frame) -> None:
        """Then either a probe on the same connection is answered, or the tier has closed it."""
        if door not in self._links:
            self._links[door] = door.session()
        link = self._links[door]
        self._count += 1
        probe = wire.Probe(id=f"still-{self._count}", sender="fuzz")
        try:
            link._outgoing.send([memoryview(frame.data)])
            if not frame.is_whole:
                self._close(door)
                return
            link.send(probe)
            self._await_echo(link, probe.id)
        except (EOFError, ConnectionError, ssl.SSLError):
            self._close(door)

    def _await_echo(self, link: Connection, name: str) -> None:
        while True:
            if not link.wait(ANSWER_TIMEOUT_S):
                raise TimeoutError(f"probe {name}")
            message, _ = link.receive()
            if message.id == name and isinstance(message, wire.Echo):
                return

    def _send_outside(self, door: Door, data: bytes) -> None:
        """Without the key: the tier says nothing of its own and closes."""
        answer = bytearray()
        with suppress(ConnectionError), door.stranger() as stranger:
            stranger.sendall(data)
            with suppress(OSError):  # closed already
                stranger.shutdown(socket.SHUT_WR)
            while part := stranger.recv(1 << 16):
                answer += part
        if door.beside_handshake(bytes(answer)):
            self._found.wrong.append(f"a stranger got a frame, {door.name}")

    def _send_with_another_key(self, door: Door, data: bytes) -> None:
        with suppress(ConnectionError, ssl.SSLError):
            if door.answer_to_another_key(data):
                self._found.wrong.append(f"another key got an answer, {door.name}")
