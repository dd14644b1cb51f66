"""Bytes of a workload's payloads in each codec, at each cut, on examples or on the first input."""

import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import CodecSizes, is_lossy
from edgesplit.node.codec.payload import sizes_of
from edgesplit.node.program.program import Program
from edgesplit.node.program.segment import LayerRun

EXAMPLES_SIZED = 8  # payloads of so many examples are encoded
_Sizes = Mapping[str, Sequence[int]]  # by codec, at each cut
_Run = Callable[[Callable[[], _Sizes]], _Sizes]


def codec_sizes(
    of: tuple[Program, Graph], inputs: Iterable[Sequence[Any]], codecs: Sequence[str], run: _Run
) -> tuple[CodecSizes, ...]:
    """Mean bytes of each codec at each cut; losses are not known yet.

    of: the program and its graph. inputs: payloads at cut 0. run(function): as LossMeter has it.
    Where a codec saves nothing, and at the last cut, whose payload is the answer, the size is
    infinite: it is not to be used.
    """
    program, graph = of
    seen = [run(partial(_of_one, program, payload, codecs)) for payload in inputs]
    return tuple(_sizes(codec, graph, [one[codec] for one in seen]) for codec in codecs)


def _of_one(program: Program, payload: Sequence[Any], codecs: Sequence[str]) -> _Sizes:
    return sizes_of(_payloads(program, payload), codecs)


def _payloads(program: Program, payload: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """At each cut of that input."""
    run = LayerRun(program.weights, program.switches)
    run.begin(program.live_values(0), payload)
    yield payload
    for number, layer in enumerate(program.structure.layers, 1):
        yield run.layer(layer, program.live_values(number))


def _sizes(codec: str, graph: Graph, seen: Sequence[Sequence[int]]) -> CodecSizes:
    """seen: per example, bytes per cut."""
    means = [statistics.fmean(at_cut) for at_cut in zip(*seen, strict=True)]
    last = len(graph)
    sizes = tuple(
        math.inf if cut == last or mean >= as_is else mean
        for cut, (mean, as_is) in enumerate(zip(means, graph.payload_bytes, strict=True))
    )
    loss = None if is_lossy(codec) else 0.0
    return CodecSizes(codec, sizes, (loss,) * len(sizes))
