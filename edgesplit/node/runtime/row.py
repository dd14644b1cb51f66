"""Measures a row: seconds per layer of one program under one runtime on this machine.

A runtime that fuses is timed on ranges as it runs them: the whole, and some ten chunks of it. Layer
by layer it would be another program. No torch is imported here.
"""

import itertools
import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgesplit.core.row import Row
from edgesplit.errors import ProfileError, RuntimeUnavailableError
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.runtime.check import Run, compare
from edgesplit.node.turn import Clock, Turn, at_once, one_run_s

CHUNKS = 12
_RUNS = 5
_ENOUGH_S = 0.5  # of runs of one range: a slow tier gets fewer
_WINDOW = 0.25  # how far from its place, in chunks, a cut may be moved to one with a small payload


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


@dataclass(frozen=True, eq=False)
class Reference:
    """What runtimes are measured against: a payload at cut 0, and eager torch on it.

    run: gives torch's outputs. is_run_here: it computes them here and now, so that its seconds
    count; else they are known from elsewhere. shape: of torch's row.
    """

    values: Sequence[Any]
    run: Run
    shape: Shape
    is_run_here: bool = True


def measure_row(
    runtime: Runtime, known: Reference, turn: Turn = at_once, clock: Clock = time.perf_counter
) -> Row:
    """The runtime's row.

    layer_s sums to the seconds of the whole run by `clock`. Where eager torch runs here, that is
    the sum of torch's row times the ratio of the two whole runs, timed in turns, so that a busy or
    throttled host slows both. error is the larger of compare's for the whole and for the chunks
    one after another. turn(run) is to return run(), one run of one range, when it disturbs nobody;
    ranges are built outside of it and held one at a time. The program is built twice, and run 8 to
    12 times: ONNX Runtime took 0.3 s for MobileNetV2 and 5 s for VGG-16 (7.8 and 290 ms a run).
    Raises RuntimeUnavailableError where the runtime cannot run every range, or gives what is no
    result at all.
    """
    timing = _Timing(turn, clock)
    whole = runtime.prepare(0, len(known.shape.layer_s))
    expected = turn(lambda: known.run(known.values))
    error = _error(runtime, turn(partial(whole, known.values)), expected)
    whole_s = timing.whole_s(whole, known)
    del whole  # its memory is needed for the chunks
    chunks = known.shape.chunks()
    chunk_s: list[float] = []
    payload = list(known.values)
    for start, stop in chunks:
        prepared = runtime.prepare(start, stop)
        made = turn(partial(prepared, payload))  # the first run allocates and picks kernels
        chunk_s += timing.seconds(payload, prepared)
        payload = made
    error = max(error, _error(runtime, payload, expected))
    layer_s = known.shape.spread(chunks, chunk_s)
    scale = whole_s / sum(layer_s)
    return Row(runtime.name, tuple(s * scale for s in layer_s), "measured", error)


@dataclass(frozen=True)
class _Timing:
    turn: Turn
    clock: Clock

    def whole_s(self, whole: Prepared, known: Reference) -> float:
        """Seconds of the whole run after the first."""
        if not known.is_run_here:
            return self.seconds(known.values, whole)[0]
        whole_s, torch_s = self.seconds(known.values, whole, known.run)
        return whole_s / torch_s * sum(known.shape.layer_s)

    def seconds(self, payload: Sequence[Any], *runs: Run) -> list[float]:
        """Median seconds of a run of each, one after another in every round."""
        times: list[list[float]] = [[] for _ in runs]
        while len(times[0]) < _RUNS and (len(times[0]) < 2 or sum(times[0]) < _ENOUGH_S):
            for run, seconds in zip(runs, times, strict=True):
                seconds.append(self.turn(partial(one_run_s, run, payload, self.clock)))
        return [statistics.median(seconds) for seconds in times]


def _error(runtime: Runtime, made: Sequence[Any], expected: Sequence[Any]) -> float:
    """How far off the outputs are; RuntimeUnavailableError where they are no result at all."""
    error = compare(lambda _: made, lambda _: expected, ())
    if not math.isfinite(error):
        raise RuntimeUnavailableError(
            f"{runtime.name} gives another result than torch on the sample input: not the same "
            "shapes, dtypes, whole numbers or NaNs; run this model in torch"
        )
    return error
