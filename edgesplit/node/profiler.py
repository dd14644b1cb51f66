"""Times a program's layers on this machine, and sees what the payload at each cut looks like.

Layers timed one by one overstate or understate their share of a run, so they give the shape and
the time of the whole run gives the sum.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from edgesplit.core.graph import Graph
from edgesplit.node.form import Forms, payload_bytes
from edgesplit.node.program import Program
from edgesplit.node.tensors import forms_of

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


def profile_layers(program: Program, values: Sequence[Any]) -> tuple[float, ...]:
    """Seconds per layer on this machine and thread for the payload `values` at cut 0.

    They sum to the time of the whole run.
    """
    whole_s = _whole_run_s(program, values)
    steps = program.steps()
    times: list[list[float]] = [[] for _ in steps]
    for _ in range(LAYER_RUNS):
        payload = list(values)
        for step, seconds in zip(steps, times, strict=True):
            start_s = time.perf_counter()
            payload = step(payload)
            seconds.append(time.perf_counter() - start_s)
    layer_s = [statistics.median(seconds) for seconds in times]
    scale = whole_s / sum(layer_s)
    return tuple(s * scale for s in layer_s)


def _whole_run_s(program: Program, values: Sequence[Any]) -> float:
    run: Callable[[list[Any]], list[Any]] = program.segment(0, len(program))
    run(list(values))  # the first run allocates and picks kernels
    times: list[float] = []
    while len(times) < WHOLE_RUNS and (len(times) < 2 or sum(times) < _ENOUGH_S):
        start_s = time.perf_counter()
        run(list(values))
        times.append(time.perf_counter() - start_s)
    return statistics.median(times)
