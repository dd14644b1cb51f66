"""Measures a row: seconds per layer of one program under one runtime on this machine.

A runtime that fuses is timed on ranges as it runs them: the whole, and some ten chunks of it. Layer
by layer it would be another program. No torch is imported here.
"""

import itertools
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from edgesplit.core.row import Row
from edgesplit.errors import ProfileError, RuntimeUnavailableError
from edgesplit.node.runtime import Runtime
from edgesplit.node.runtime.check import compare
from edgesplit.node.turn import Turn, at_once, one_run_s

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


def measure_row(
    runtime: Runtime,
    values: Sequence[Any],
    reference: Callable[..., Any],
    shape: Shape,
    turn: Turn = at_once,
) -> Row:
    """The runtime's row for the payload `values` at cut 0.

    layer_s sums to the seconds that torch's row has, times the ratio of the whole run's seconds to
    those of `reference`, eager torch on the same payload: both run in turns, so that a busy or
    throttled host slows both. error is compare's. turn(run) is to return run(), one run of one
    range, when it disturbs nobody; ranges are built outside of it and held one at a time. The
    program is built twice, and run 8 to 12 times: ONNX Runtime took 0.3 s for MobileNetV2 and 5 s
    for VGG-16 (7.8 and 290 ms a run).
    Raises RuntimeUnavailableError where the runtime cannot run every range, or gives what is no
    result at all.
    """
    n = len(shape.layer_s)
    whole = runtime.prepare(0, n)
    error = compare(_in_turn(turn, whole), _in_turn(turn, reference), values)
    if not math.isfinite(error):
        raise RuntimeUnavailableError(
            f"{runtime.name} gives another result than torch on the sample input: not the same "
            "shapes, dtypes, whole numbers or NaNs; run this model in torch"
        )
    whole_s, torch_s = _seconds(turn, values, whole, reference)
    del whole  # its memory is needed for the chunks
    chunks = shape.chunks()
    chunk_s: list[float] = []
    payload = list(values)
    for start, stop in chunks:
        prepared = runtime.prepare(start, stop)
        made = _in_turn(turn, prepared)(payload)  # the first run allocates and picks kernels
        chunk_s += _seconds(turn, payload, prepared)
        payload = made
    layer_s = shape.spread(chunks, chunk_s)
    scale = whole_s / torch_s * sum(shape.layer_s) / sum(layer_s)
    return Row(runtime.name, tuple(s * scale for s in layer_s), "measured", error)


def _in_turn(turn: Turn, run: Callable[..., Any]) -> Callable[[Sequence[Any]], Any]:
    return lambda payload: turn(lambda: run(payload))


def _seconds(turn: Turn, payload: Sequence[Any], *runs: Callable[..., Any]) -> list[float]:
    """Median seconds of a run of each, one after another in every round."""
    times: list[list[float]] = [[] for _ in runs]
    while len(times[0]) < _RUNS and (len(times[0]) < 2 or sum(times[0]) < _ENOUGH_S):
        for run, seconds in zip(runs, times, strict=True):
            seconds.append(_in_turn(turn, partial(one_run_s, run))(payload))
    return [statistics.median(seconds) for seconds in times]
