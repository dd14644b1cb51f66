"""Measures a row: seconds per layer of one program under one runtime on this machine.

A runtime that fuses is timed on ranges as it runs them: the whole, and some ten chunks of it. Layer
by layer it would be another program. No torch is imported here.
"""

import itertools
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.core.row import Row
from edgesplit.errors import ProfileError, RuntimeUnavailableError
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.runtime.check import compare

CHUNKS = 12
_RUNS = 5
_ENOUGH_S = 0.5  # of runs of one range: a slow tier gets fewer
_WINDOW = 0.25  # how far from its place, in chunks, a cut may be moved to one with a small payload

Clock = Callable[[], float]  # seconds since whenever


@dataclass(frozen=True)
class Shape:
    """How eager torch's seconds spread over the layers, and the bytes of the payload per cut."""

    layer_s: tuple[float, ...]
    payload_bytes: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.payload_bytes) != len(self.layer_s) + 1:
            raise ProfileError(
                f"{len(self.layer_s)} layers have {len(self.layer_s) + 1} cuts, given payloads of "
                f"{len(self.payload_bytes)}"
            )

    def chunks(self, count: int = CHUNKS) -> tuple[tuple[int, int], ...]:
        """Ranges of about equal seconds that cover all layers, cut where payloads are small."""
        n = len(self.layer_s)
        ends = [0.0, *itertools.accumulate(self.layer_s)]
        width = ends[-1] / count
        cuts = {0, n}
        for k in range(1, count):
            near = [c for c in range(n + 1) if abs(ends[c] - k * width) <= _WINDOW * width]
            nearest = min(range(n + 1), key=lambda c: abs(ends[c] - k * width))
            cuts.add(min(near, key=lambda c: self.payload_bytes[c], default=nearest))
        return tuple(itertools.pairwise(sorted(cuts)))

    def spread(self, chunks: Sequence[tuple[int, int]], chunk_s: Sequence[float]) -> list[float]:
        """Seconds per layer: each chunk's, divided as eager torch's are within it."""
        spread: list[float] = []
        for (start, stop), seconds in zip(chunks, chunk_s, strict=True):
            part = self.layer_s[start:stop]
            whole = sum(part)
            spread += [seconds * (s / whole if whole else 1 / len(part)) for s in part]
        return spread


def measure_row(
    runtime: Runtime,
    values: Sequence[Any],
    reference: Callable[..., Any],
    shape: Shape,
    clock: Clock = time.perf_counter,
) -> Row:
    """The runtime's row for the payload `values` at cut 0, on this thread.

    layer_s sums to the whole run's seconds by `clock`; error is compare's against `reference`,
    eager torch on the same payload. One range is held at a time. The program is built twice, and
    run 8 to 12 times: ONNX Runtime took 0.3 s for MobileNetV2, 5 s for VGG-16 (7.8, 290 ms a run).
    Raises RuntimeUnavailableError where the runtime cannot run every range, or gives what is no
    result at all.
    """
    n = len(shape.layer_s)
    whole = runtime.prepare(0, n)
    error = compare(whole, reference, values)
    if not math.isfinite(error):
        raise RuntimeUnavailableError(
            f"{runtime.name} gives another result than torch on the sample input: not the same "
            "shapes, dtypes, whole numbers or NaNs; run this model in torch"
        )
    whole_s, _ = _timed(whole, values, clock)
    del whole  # its memory is needed for the chunks
    chunks = shape.chunks()
    chunk_s: list[float] = []
    payload = list(values)
    for start, stop in chunks:
        seconds, payload = _timed(runtime.prepare(start, stop), payload, clock)
        chunk_s.append(seconds)
    layer_s = shape.spread(chunks, chunk_s)
    scale = whole_s / sum(layer_s)
    return Row(runtime.name, tuple(s * scale for s in layer_s), "measured", error)


def _timed(prepared: Prepared, payload: Sequence[Any], clock: Clock) -> tuple[float, list[Any]]:
    """Median seconds of a run after the first, and what it gives."""
    made = prepared(payload)  # the first run allocates and picks kernels
    times: list[float] = []
    while len(times) < _RUNS and (len(times) < 2 or sum(times) < _ENOUGH_S):
        start_s = clock()
        prepared(payload)
        times.append(clock() - start_s)
    return statistics.median(times), made
