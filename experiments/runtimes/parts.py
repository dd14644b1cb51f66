"""Latency and error of a whole model and of its thirds in every runtime, interleaved."""

from collections.abc import Callable
from statistics import median, quantiles
from typing import Any

from edgesplit.core.layer_times import TORCH
from edgesplit.node.runtime.check import compare
from edgesplit.node.runtime.measure import Shape
from experiments.runtimes.bench import Bench, take_turns

WHOLE = "whole"
THIRDS = ("first third", "middle third", "last third")
Segment = Callable[[Any], list[Any]]


def measure_parts(bench: Bench, rounds: int) -> list[dict[str, Any]]:
    """A row per runtime and part: median and quartiles over the rounds, error against eager.

    The parts are those of part_bounds. All ranges are held at once: twice a model per runtime.
    """
    bounds = part_bounds(Shape(bench.rows[TORCH].layer_s, bench.graph.payload_bytes))
    keys = [(runtime, part) for part in bounds for runtime in bench.rows]
    segments = [bench.run(*bounds[part], runtime) for runtime, part in keys]
    payloads = {part: bench.payload(start) for part, (start, _) in bounds.items()}
    errors = [
        compare(segment, bench.run(*bounds[part], TORCH), payloads[part])
        for segment, (_, part) in zip(segments, keys, strict=True)
    ]
    runs = [_bound(s, payloads[part]) for s, (_, part) in zip(segments, keys, strict=True)]
    found = []
    for (runtime, part), error, series in zip(keys, errors, take_turns(runs, rounds), strict=True):
        low, middle, high = quantiles([one.wall_s for one in series], n=4)
        start, stop = bounds[part]
        found.append(
            {"runtime": runtime, "part": part, "start": start, "stop": stop}
            | {"latency_s": middle, "latency_s_q1": low, "latency_s_q3": high}
            | {"cpu_s": median(one.cpu_s for one in series), "relative_error": error}
        )
    return found


def part_bounds(shape: Shape) -> dict[str, tuple[int, int]]:
    """[start, stop) of the whole and of its thirds by eager torch's seconds, by name.

    Thirds are cut where payloads are small. Where a layer takes so long that they would be fewer
    (or the model has fewer layers), they are called parts of so many.
    """
    chunks = shape.chunks(len(THIRDS))
    names = THIRDS if len(chunks) == len(THIRDS) else _numbered(len(chunks))
    return {WHOLE: (0, len(shape.layer_s)), **dict(zip(names, chunks, strict=True))}


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(f"part {k + 1} of {count}" for k in range(count))


def _bound(segment: Segment, payload: list[Any]) -> Callable[[], list[Any]]:
    return lambda: segment(payload)
