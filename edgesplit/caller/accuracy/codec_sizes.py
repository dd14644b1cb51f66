"""Bytes of a workload's payloads in each codec, at each cut, on examples or on the first input.

And how much longer or shorter than their size says it takes to code them, as timed here.
"""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import CodecSizes, is_lossy
from edgesplit.node.codec.speeds import Point, fitted, timed
from edgesplit.node.program.program import Program
from edgesplit.node.program.segment import LayerRun

EXAMPLES_SIZED = 8  # payloads of so many examples are encoded
_LEAST_TIMES = 3  # so often at least is each timed
# What is quicker is the call and the clock, and no plan depends on it.
_LEAST_TIMED_S = 1e-5
_LEAST_EFFORT = 0.1
_Points = list[list[Point]]  # per cut, of each codec
_Run = Callable[[Callable[[], _Points]], _Points]


def codec_sizes(
    of: tuple[Program, Graph], inputs: Iterable[Sequence[Any]], codecs: Sequence[str], run: _Run
) -> tuple[CodecSizes, ...]:
    """Mean bytes of each codec at each cut; losses are not known yet.

    of: the program and its graph. inputs: payloads at cut 0. run(function): as LossMeter has it.
    Where a codec saves nothing, and at the last cut, whose payload is the answer, the size is
    infinite: it is not to be used.
    """
    program, graph = of
    inputs = list(inputs)
    inputs *= math.ceil(_LEAST_TIMES / len(inputs))
    seen = [run(partial(_of_one, program, payload, codecs)) for payload in inputs]
    return tuple(
        _sizes(codec, graph, [[at_cut[number] for at_cut in one] for one in seen])
        for number, codec in enumerate(codecs)
    )


def _of_one(program: Program, payload: Sequence[Any], codecs: Sequence[str]) -> _Points:
    payloads = _payloads(program, payload)
    return [[timed(values, codec) for codec in codecs] for values in payloads]


def _payloads(program: Program, payload: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """At each cut of that input."""
    run = LayerRun(program.weights, program.switches)
    run.begin(program.live_values(0), payload)
    yield payload
    for number, layer in enumerate(program.structure.layers, 1):
        yield run.layer(layer, program.live_values(number))


def _sizes(codec: str, graph: Graph, seen: Sequence[Sequence[Point]]) -> CodecSizes:
    """seen: per example, a point per cut."""
    cuts = list(zip(*seen, strict=True))
    means = [statistics.fmean(size for size, _, _ in at_cut) for at_cut in cuts]
    spreads = tuple(statistics.pstdev([size for size, _, _ in at_cut]) for at_cut in cuts)
    last = len(graph)
    sizes = tuple(
        math.inf if cut == last or mean >= as_is else mean
        for cut, (mean, as_is) in enumerate(zip(means, graph.payload_bytes, strict=True))
    )
    loss = None if is_lossy(codec) else 0.0
    efforts = [
        _efforts([statistics.median(point[at] for point in at_cut) for at_cut in cuts], graph)
        for at in (1, 2)
    ]
    return CodecSizes(
        codec, sizes, (loss,) * len(sizes), spread_bytes=spreads,
        effort=tuple(zip(*efforts, strict=True)),
    )  # fmt: skip


def _efforts(seconds: Sequence[float], graph: Graph) -> list[float]:
    """Seconds per byte at each cut over those on the whole; 1 for what is too quick to be timed.

    What a payload takes whatever its size is left out of it.
    """
    points = list(zip(graph.payload_bytes, seconds, strict=True))
    fixed_s, s_per_byte = fitted([point for point in points if point[1] >= _LEAST_TIMED_S])
    return [
        max(_LEAST_EFFORT, (one - fixed_s) / (s_per_byte * size))
        if one >= _LEAST_TIMED_S and s_per_byte * size > 0
        else 1.0
        for size, one in points
    ]
