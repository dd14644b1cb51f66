"""What codecs take on this host: seconds, and per byte, fitted to payloads of several sizes."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from edgesplit.core.payload_codec import AS_IS, CodecSpeed
from edgesplit.node.codec.payload import coded_bytes, decode, encode

_RUNS = 5
_ENOUGH_S = 0.3  # of one codec on one payload; three runs there are at least
_LEAST_RUNS = 3

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_USUAL_CACHE_BYTES, _LARGEST_CACHE_BYTES = 1 << 24, 1 << 26

Payload = Sequence[Any]
Point = tuple[float, float, float]  # bytes, seconds to encode, seconds to decode


def measure_codecs(
    payloads: Mapping[int, Payload],
    codecs: Sequence[str],
    run_slot: Callable[[Callable[[], Any]], Any] = lambda run: run(),
) -> tuple[CodecSpeed, ...]:
    """Each codec's seconds on this thread, in the order given. Medians of a few runs.

    payloads: real ones by their cut, of different sizes: zeros would be quick to compress.
    run_slot: runs one measurement after another, where others have to get their turns between.

    The caches hold something else before each, as they do in requests, where layers run between:
    300 KB in int8 take 0.5 ms to encode and 0.3 ms to decode then, not 0.13 and 0.06.
    """
    sized = [(coded_bytes(payload, AS_IS), payload) for payload in payloads.values()]
    # Of float32: filling bytes goes past the caches.
    others = np.empty(2 * last_cache_bytes() // 4, np.float32)

    def point(size: int, payload: Payload, codec: str) -> Point:
        return _point(size, run_slot, lambda: timed(payload, codec, lambda: others.fill(1)))

    return tuple(
        _speed(codec, [point(size, payload, codec) for size, payload in sized], payloads)
        for codec in codecs
    )


def _point(
    n_bytes: int, run_slot: Callable[[Callable[[], Any]], Any], run: Callable[[], Point]
) -> Point:
    runs: list[tuple[float, float]] = []
    while len(runs) < _RUNS:
        runs.append(run_slot(run)[1:])
        if len(runs) >= _LEAST_RUNS and sum(map(sum, runs)) > _ENOUGH_S:
            break
    encode_s, decode_s = (median(seconds) for seconds in zip(*runs, strict=True))
    return float(n_bytes), encode_s, decode_s


def timed(payload: Payload, codec: str, before: Callable[[], None] = lambda: None) -> Point:
    """Bytes in that codec, seconds to encode and to decode, once. before: is run before each."""
    before()
    began_s = time.perf_counter()
    coded = encode(payload, codec)
    encode_s = time.perf_counter() - began_s
    before()
    began_s = time.perf_counter()
    decode(coded)
    decode_s = time.perf_counter() - began_s
    return coded_bytes(coded, AS_IS), encode_s, decode_s


def _speed(codec: str, points: Sequence[Point], cuts: Iterable[int]) -> CodecSpeed:
    encoding = fitted([(size, encode_s) for size, encode_s, _ in points])
    decoding = fitted([(size, decode_s) for size, _, decode_s in points])
    return CodecSpeed(codec, *encoding, *decoding, cuts=tuple(cuts))


def last_cache_bytes(caches: Path = _CACHES) -> int:
    """Of this host's largest cache, as Linux says it; of 16 MiB where it does not, 64 at most."""
    sizes = []
    for path in caches.glob("index*/size"):
        try:
            sizes.append(1024 * int(path.read_text().strip().removesuffix("K")))
        except (OSError, ValueError):  # another unit, or not for this user
            continue
    return min(max(sizes, default=_USUAL_CACHE_BYTES), _LARGEST_CACHE_BYTES)


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
