"""What codecs take on this host: seconds, and per byte, fitted to payloads of several sizes."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

from edgesplit.core.payload_codec import AS_IS, CodecSpeed
from edgesplit.node.codec.payload import coded_bytes, decode, encode
from edgesplit.node.codec.picture_speed import PictureSample

_RUNS = 5
_ENOUGH_S = 0.3  # of one codec on one payload; three runs there are at least
_LEAST_RUNS = 3

Payload = Sequence[Any]


@dataclass(frozen=True, eq=False)
class CodecsAsked:
    """What a tier is asked to measure: codecs, and pictures to decode, none where none come."""

    codecs: tuple[str, ...]
    pictures: tuple[PictureSample, ...] = ()


Point = tuple[float, float, float]  # bytes as it is, seconds to encode, seconds to decode


def measure_codecs(
    payloads: Sequence[Payload],
    codecs: Sequence[str],
    run_slot: Callable[[Callable[[], Any]], Any] = lambda run: run(),
) -> tuple[CodecSpeed, ...]:
    """Each codec's seconds on this thread, in the order given. Medians of a few runs.

    payloads: real ones, of different sizes: zeros would be quick to compress. run_slot: runs one
    measurement after another, where others have to get their turns between.
    """
    sized = [(coded_bytes(payload, AS_IS), payload) for payload in payloads]
    return tuple(
        _speed(codec, [_point(size, payload, codec, run_slot) for size, payload in sized])
        for codec in codecs
    )


def _point(
    n_bytes: int, payload: Payload, codec: str, run_slot: Callable[[Callable[[], Any]], Any]
) -> Point:
    runs: list[tuple[float, float]] = []
    while len(runs) < _RUNS:
        runs.append(run_slot(lambda: _timed(payload, codec)))
        if len(runs) >= _LEAST_RUNS and sum(map(sum, runs)) > _ENOUGH_S:
            break
    encode_s, decode_s = (median(seconds) for seconds in zip(*runs, strict=True))
    return float(n_bytes), encode_s, decode_s


def _timed(payload: Payload, codec: str) -> tuple[float, float]:
    began_s = time.perf_counter()
    coded = encode(payload, codec)
    encoded_s = time.perf_counter()
    decode(coded)
    return encoded_s - began_s, time.perf_counter() - encoded_s


def _speed(codec: str, points: Sequence[Point]) -> CodecSpeed:
    encoding = fitted([(size, encode_s) for size, encode_s, _ in points])
    decoding = fitted([(size, decode_s) for size, _, decode_s in points])
    return CodecSpeed(codec, *encoding, *decoding)


def fitted(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """(fixed, per byte) >= 0 with the least squares of relative errors. points: bytes, seconds.

    Of a single size all is taken for per byte. (0, 0) for none.
    """
    known = [(size, seconds) for size, seconds in points if seconds > 0]
    weights = [1 / (seconds * seconds) for _, seconds in known]
    total = sum(weights)
    if not total:
        return 0.0, 0.0
    pairs = [(weight, *point) for weight, point in zip(weights, known, strict=True)]
    mean_x = sum(w * x for w, x, _ in pairs) / total
    mean_y = sum(w * y for w, _, y in pairs) / total
    spread = sum(w * (x - mean_x) ** 2 for w, x, _ in pairs)
    slope = sum(w * (x - mean_x) * (y - mean_y) for w, x, y in pairs) / spread if spread else 0.0
    fixed = mean_y - slope * mean_x
    if slope <= 0 and spread:
        return mean_y, 0.0
    if fixed >= 0 and spread:
        return fixed, slope
    squares = sum(w * x * x for w, x, _ in pairs)
    return 0.0, sum(w * x * y for w, x, y in pairs) / squares if squares else 0.0
