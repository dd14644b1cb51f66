"""Frames as nobody should send them, from a seed: the same seed gives the same frames."""

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.random import Generator

from edgesplit.core.payload_codec import AS_IS, CODECS
from edgesplit.node.codec.payload import encode
from edgesplit.node.transport import arrays, wire

_PREFIX = struct.Struct("<3sBIQ")  # as in edgesplit/node/transport/wire.py
_LENGTHS = (0, 1, 63, 1 << 16, 1 << 20, (1 << 20) + 1, 1 << 31, (1 << 32) - 1)
_LONG = (1 << 32, 1 << 48, 1 << 62, (1 << 64) - 1)
_WORDS = ("", "end", "cloud", "p", "q", "x" * 128, "\x00", "é")
_ODD: tuple[object, ...] = (None, -1, 1 << 63, 1e300, "x" * 200, [], {}, [[]] * 100, b"\xff" * 50)


@dataclass(frozen=True)
class Frame:
    """Bytes to send and how they were spoilt.

    is_whole: as many bytes as its prefix says; of others the receiver may wait for the rest.
    """

    spoilt: str
    data: bytes

    @property
    def is_whole(self) -> bool:
        """Whether the receiver knows where it ends."""
        if len(self.data) < _PREFIX.size:
            return False
        _, _, header, body = _PREFIX.unpack_from(self.data)
        return len(self.data) >= _PREFIX.size + int(header) + int(body)


class Mutator:
    """Gives one frame after another. address: where a tier `edge` listens, or nobody."""

    def __init__(self, seed: int, address: str) -> None:
        self._rng = np.random.default_rng(seed)
        self._address = address
        self._count = 0
        self._last = b""

    def frame(self) -> Frame:
        """The next one."""
        rng = self._rng
        good = self._good()
        ways: tuple[Callable[[bytes], bytes], ...] = (
            self._bits, self._truncated, self._version, self._magic, self._lengths,
            self._field, self._spliced, self._noise, self._replayed, bytes,
        )  # fmt: skip
        way = ways[int(rng.integers(len(ways)))]
        data = way(good)
        self._last = good
        return Frame(way.__name__.strip("_"), data)

    def _good(self) -> bytes:
        """A well-formed frame of any kind, most of them requests that are served."""
        rng, self._count = self._rng, self._count + 1
        name = f"fuzz-{self._count}"
        numbers = rng.random(int(rng.integers(0, 3000)), np.float32)
        values: list[Any] = [numbers, int(rng.integers(9))]
        if rng.random() < 0.3:
            values = encode(values, str(rng.choice(CODECS)))
        specs, buffers = arrays.pack(values)
        body = b"".join(bytes(memoryview(buffer).cast("B")) for buffer in buffers)
        messages: list[wire.Message] = [
            wire.Probe(id=name, sender="fuzz"),
            wire.Echo(id=name),
            wire.Reply(id=name, values=specs, timings=[]),
            wire.Refusal(id=name, tier="x", reason="busy", message="no"),
            *[self._request(name, specs) for _ in range(6)],
        ]
        message = messages[int(rng.integers(len(messages)))]
        body = body if isinstance(message, wire.Request | wire.Reply) else b""
        return wire.encode(message, len(body)) + body

    def _request(self, name: str, specs: list[wire.ValueSpec]) -> wire.Request:
        rng = self._rng
        word = str(rng.choice(_WORDS)) if rng.random() < 0.3 else "end"
        start, stop = (int(n) for n in rng.integers(0, 9, 2))
        codec = str(rng.choice((*CODECS, AS_IS, *_WORDS)))
        route = [wire.Hop(word, "", start, stop, codec=codec if rng.random() < 0.3 else AS_IS)]
        if rng.random() < 0.3:
            route.append(wire.Hop("edge", self._address, stop, 9))
        program = "p" if rng.random() < 0.8 else str(rng.choice(_WORDS))
        at = 0 if rng.random() < 0.9 else int(rng.integers(1 << 40))
        return wire.Request(
            id=name, program=program, route=route, at=at, timeout_s=2.0, values=specs
        )

    def _bits(self, good: bytes) -> bytes:
        """One to eight bits of prefix or body, or of the header where it names no address."""
        data = bytearray(good)
        fixed = self._address.encode() in good
        for place in self._rng.integers(0, _PREFIX.size if fixed else len(data), 8)[
            : int(self._rng.integers(1, 9))
        ]:
            data[place] ^= 1 << int(self._rng.integers(8))
        return bytes(data)

    def _truncated(self, good: bytes) -> bytes:
        return good[: int(self._rng.integers(1, len(good)))]

    def _version(self, good: bytes) -> bytes:
        return good[:3] + bytes([int(self._rng.choice([0, 2, 3, 255]))]) + good[4:]

    def _magic(self, good: bytes) -> bytes:
        return self._rng.bytes(3) + good[3:]

    def _lengths(self, good: bytes) -> bytes:
        """Oversized, or too short for what follows."""
        magic, version, header, body = _PREFIX.unpack_from(good)
        if self._rng.random() < 0.5:
            header = int(self._rng.choice(_LENGTHS))
        else:
            body = (*_LENGTHS, *_LONG)[int(self._rng.integers(len(_LENGTHS) + len(_LONG)))]
        return _PREFIX.pack(magic, version, header, body) + good[_PREFIX.size :]

    def _field(self, good: bytes) -> bytes:
        """One field of the header replaced by something odd, or left out."""
        _, _, header_bytes, body_bytes = _PREFIX.unpack_from(good)
        end = _PREFIX.size + header_bytes
        fields = msgspec.msgpack.decode(good[_PREFIX.size : end])
        name = str(_one(self._rng, tuple(fields)))
        if self._rng.random() < 0.2:
            del fields[name]
        else:
            fields[name] = _one(self._rng, _ODD)
        header = _encoded(fields)
        return _PREFIX.pack(wire.MAGIC, wire.VERSION, len(header), body_bytes) + header + good[end:]

    def _spliced(self, good: bytes) -> bytes:
        """The beginning of one frame, the end of the one before; addresses stay whole."""
        if self._address.encode() in good + self._last:
            return self._noise(good)
        cut = int(self._rng.integers(1, len(good)))
        return good[:cut] + self._last[cut:]

    def _noise(self, good: bytes) -> bytes:
        """A good prefix before nonsense, or nonsense all over."""
        noise = self._rng.bytes(int(self._rng.integers(1, 2000)))
        if self._rng.random() < 0.5:
            return noise
        return _PREFIX.pack(wire.MAGIC, wire.VERSION, len(noise), 0) + noise

    def _replayed(self, good: bytes) -> bytes:
        """The frame before once more, several times."""
        return (self._last or good) * int(self._rng.integers(1, 4))


def _one(rng: Generator, values: tuple[object, ...]) -> object:
    return values[int(rng.integers(len(values)))]


def _encoded(fields: object) -> bytes:
    try:
        return msgspec.msgpack.encode(fields)
    except OverflowError:  # an integer that msgpack has no room for
        return b"\xc1"
