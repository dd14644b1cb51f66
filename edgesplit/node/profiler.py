"""Times a program's layers on this machine, and sees what the payload at each cut looks like.

Layers timed one by one overstate or understate their share of a run, so they give the shape and
the time of the whole run gives the sum.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from edgesplit.core.graph import Graph
from edgesplit.node.form import Forms, payload_bytes
from edgesplit.node.program import Program
from edgesplit.node.tensors import forms_of
from edgesplit.node.turn import Turn, at_once, one_run_s

WHOLE_RUNS = 5
LAYER_RUNS = 3
_ENOUGH_S = 1.0  # of whole runs: a slow tier is not kept busy for more figures than it needs


def payload_forms(program: Program, values: Sequence[Any]) -> tuple[Forms, ...]:
    """What the payload at each cut 0..n looks like, from one run of `values`."""
    payload = list(values)
    forms = [forms_of(payload)]
    for step in program.steps():
        payload = step(payload)
        forms.append(forms_of(payload))
    return tuple(forms)


def graph_of(name: str, program: Program, forms: Sequence[Forms]) -> Graph:
    """The planner's view of a program whose payloads look like `forms`."""
    sizes = tuple(map(payload_bytes, forms))
    return Graph(name, program.layers, sizes, program.weight_bytes)


def profile_layers(
    program: Program, values: Sequence[Any], turn: Turn = at_once
) -> tuple[float, ...]:
    """Seconds per layer on this machine for the payload `values` at cut 0.

    They sum to the time of the whole run. turn(run) is to return run(), one run of the program, on
    the thread that is measured, when it disturbs nobody.
    """
    whole_s = _whole_run_s(program, values, turn)
    rounds = [turn(partial(_layer_run_s, program, values)) for _ in range(LAYER_RUNS)]
    layer_s = [statistics.median(seconds) for seconds in zip(*rounds, strict=True)]
    scale = whole_s / sum(layer_s)
    return tuple(s * scale for s in layer_s)


def _whole_run_s(program: Program, values: Sequence[Any], turn: Turn) -> float:
    run: Callable[[list[Any]], list[Any]] = program.segment(0, len(program))
    turn(lambda: run(list(values)))  # the first run allocates and picks kernels
    times: list[float] = []
    while len(times) < WHOLE_RUNS and (len(times) < 2 or sum(times) < _ENOUGH_S):
        times.append(turn(partial(one_run_s, run, values)))
    return statistics.median(times)


def _layer_run_s(program: Program, values: Sequence[Any]) -> list[float]:
    payload, seconds = list(values), []
    for step in program.steps():
        start_s = time.perf_counter()
        payload = step(payload)
        seconds.append(time.perf_counter() - start_s)
    return seconds
