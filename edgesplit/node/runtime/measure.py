"""Measures layer times: seconds per layer of one program in one runtime on this machine.

A runtime that fuses is timed on ranges as it runs them: the whole, and some ten chunks of it. Layer
by layer it would be another program. No torch is imported here.
"""

import itertools
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from edgesplit.core.layer_times import LayerTimes
from edgesplit.errors import ProfileError
from edgesplit.node.program.run_slot import Clock, RunSlot, one_run_s, unslotted
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.runtime.check import Exactness, Run, Trial, error_of, require

CHUNKS = 12
_RUNS = 5
_ENOUGH_S = 0.5  # of runs of one range: a slow tier gets fewer
_LOOKED_S = 0.2
EXAMPLE = "the example"
_ANYTHING_FINITE = Exactness(tolerance=sys.float_info.max)
FEWEST_TRIALS = 2  # one of noise, and the example
_ENOUGH_JUDGED_S = 5.0
_HELD_BYTES = 64 << 20  # of payloads of trials that go through the chunks side by side
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

    @property
    def trials_held(self) -> int:
        """How many trials may be under way at once."""
        return max(FEWEST_TRIALS, _HELD_BYTES // max(1, *self.payload_bytes))

    def chunks(self, count: int = CHUNKS) -> tuple[tuple[int, int], ...]:
        """Ranges of about equal seconds that cover all layers, cut where payloads are small.

        Of equal payloads at the last: a convolution, its normalisation and its ReLU are fused.
        """
        n = len(self.layer_s)
        ends = [0.0, *itertools.accumulate(self.layer_s)]
        width = ends[-1] / count
        cuts = {0, n}
        for k in range(1, count):
            near = [c for c in range(n + 1) if abs(ends[c] - k * width) <= _WINDOW * width]
            nearest = min(range(n + 1), key=lambda c: abs(ends[c] - k * width))
            cuts.add(min(near, key=lambda c: (self.payload_bytes[c], -c), default=nearest))
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
    count; else they are known from elsewhere. shape: torch's layer times. noise: what else runtimes
    are judged on, the most revealing first. wanted: how far off they may be.
    """

    values: Sequence[Any]
    run: Run
    shape: Shape
    is_run_here: bool = True
    noise: tuple[Trial, ...] = ()
    wanted: Exactness = _ANYTHING_FINITE

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Everything that a range is judged on. The example may be all zeros: it comes second."""
        return (*self.noise[:1], Trial(EXAMPLE, lambda: self.values, self.run), *self.noise[1:])


def measure_layer_times(
    runtime: Runtime,
    known: Reference,
    run_slot: RunSlot = unslotted,
    clock: Clock = time.perf_counter,
) -> LayerTimes:
    """The runtime's layer times.

    layer_s sums to the seconds of the whole run by `clock`. Where eager torch runs here, that is
    the sum of torch's layer times, times the ratio of the two whole runs, timed in turns, so that a
    busy or throttled host slows both. error is the largest of compare's, on every trial for the
    whole, and for the chunks one after another. turn(run) is to return run(), one run of one range,
    when it disturbs no request; ranges are built outside of it and held one at a time. The program
    is built twice, and run some 20 times: ONNX Runtime took 0.3 s for MobileNetV2 and 5 s for
    VGG-16 (7.8 and 290 ms a run). Raises RuntimeUnavailableError where the runtime cannot run every
    range, or is too far off.
    """
    timing = _Timing(run_slot, clock)
    whole = runtime.prepare(0, len(known.shape.layer_s))
    judged, error = _judged(f"{runtime.name} on the whole model", whole, known, timing)
    whole_s = timing.whole_s(whole, known)
    del whole  # its memory is needed for the chunks
    example = next(one for one in judged if one.trial == EXAMPLE)
    chunks = known.shape.chunks()
    chunk_s: list[float] = []
    for start, stop in chunks:
        prepared, payload = runtime.prepare(start, stop), example.payload
        run_slot(partial(_advance, judged, prepared))  # the first run allocates and picks kernels
        chunk_s += timing.seconds(payload, prepared)
    what = f"{runtime.name} on the model in {len(chunks)} ranges"
    error = max(error, *(one.error(what, known.wanted) for one in judged))
    layer_s = known.shape.spread(chunks, chunk_s)
    scale = whole_s / sum(layer_s)
    return LayerTimes(runtime.name, tuple(s * scale for s in layer_s), "measured", error)


def look_at_torch(
    run: Run, values: Sequence[Any], run_slot: RunSlot, clock: Clock = time.perf_counter
) -> float:
    """Seconds of the whole model in eager torch now, by a few runs."""
    run_slot(partial(run, values))  # the first run allocates and picks kernels
    return _Timing(run_slot, clock, _LOOKED_S).seconds(values, run)[0]


def look_at(
    runtime: Runtime, known: Reference, run_slot: RunSlot, clock: Clock = time.perf_counter
) -> tuple[float, float]:
    """Seconds of the whole model in a runtime now, and its error, by a few runs.

    As measure_layer_times(), but for the ranges; on the example, and on noise that is known.
    """
    timing = _Timing(run_slot, clock, _LOOKED_S)
    whole = runtime.prepare(0, len(known.shape.layer_s))
    _, error = _judged(f"{runtime.name} on the whole model", whole, known, timing)
    return timing.whole_s(whole, known), error


@dataclass(eq=False)
class _Judged:
    """A trial under way: its payload at the cut that was reached, and eager torch's outputs."""

    trial: str
    payload: Sequence[Any]
    expected: Sequence[Any]

    def error(self, what: str, wanted: Exactness) -> float:
        """How far off the payload is. Raises RuntimeUnavailableError where that is too far."""
        error = error_of(self.payload, self.expected, wanted)
        require(what, self.trial, error, wanted)
        return error


def _advance(judged: Sequence[_Judged], prepared: Prepared) -> None:
    """Through one chunk: all trials together take less than one of them through the model."""
    for one in judged:
        one.payload = prepared(one.payload)


def _judged(
    what: str, whole: Prepared, known: Reference, timing: "_Timing"
) -> tuple[list[_Judged], float]:
    """The trials that go through the chunks, and how far off the whole is on all of them.

    Of a slow model not all are tried. Raises RuntimeUnavailableError where one is too far off.
    """
    began_s, held, errors = timing.clock(), list[_Judged](), list[float]()
    for trial in known.trials:
        if len(errors) >= FEWEST_TRIALS and timing.clock() - began_s > _ENOUGH_JUDGED_S:
            break
        payload = list(trial.make())
        one = _Judged(trial.name, payload, timing.run_slot(partial(trial.run, payload)))
        made = replace(one, payload=timing.run_slot(partial(whole, payload)))
        errors.append(made.error(what, known.wanted))
        if len(held) < known.shape.trials_held:
            held.append(one)
    return held, max(errors)


@dataclass(frozen=True)
class _Timing:
    """enough_s: of runs of one range, after which there are no more."""

    run_slot: RunSlot
    clock: Clock
    enough_s: float = _ENOUGH_S

    def whole_s(self, whole: Prepared, known: Reference) -> float:
        """Seconds of the whole run after the first."""
        if not known.is_run_here:
            return self.seconds(known.values, whole)[0]
        whole_s, torch_s = self.seconds(known.values, whole, known.run)
        return whole_s / torch_s * sum(known.shape.layer_s)

    def seconds(self, payload: Sequence[Any], *runs: Run) -> list[float]:
        """Median seconds of a run of each, one after another in every round."""
        times: list[list[float]] = [[] for _ in runs]
        while len(times[0]) < _RUNS and (len(times[0]) < 2 or sum(times[0]) < self.enough_s):
            for run, seconds in zip(runs, times, strict=True):
                seconds.append(self.run_slot(partial(one_run_s, run, payload, self.clock)))
        return [statistics.median(seconds) for seconds in times]
