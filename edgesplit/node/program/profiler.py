"""Times a program's layers on this machine, and sees what the payload at each cut looks like.

Layers timed one by one overstate or understate their share of a run, so they give the shape and
the time of the whole run gives the sum.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch

from edgesplit.core.graph import Graph
from edgesplit.errors import ExportError
from edgesplit.node.program.macs import macs_of
from edgesplit.node.program.program import Program
from edgesplit.node.program.run_slot import RunSlot, one_run_s, unslotted
from edgesplit.node.program.segment import LayerRun
from edgesplit.node.transport.tensor_form import Forms, payload_bytes
from edgesplit.node.transport.tensors import can_travel, forms_of

WHOLE_RUNS = 5
LAYER_RUNS = 3
_ENOUGH_S = 0.5  # of whole runs: a slow tier is not kept busy for more figures than it needs


def payload_forms(program: Program, values: Sequence[Any]) -> tuple[Forms, ...]:
    """What the payload at each cut 0..n looks like, from one run of `values`.

    Raises ExportError for a model that makes tensors inside that cannot travel.
    """
    # Without a module per layer: those of each input size would wait for the garbage collector.
    run = LayerRun(program.weights, program.switches)
    run.begin(program.live_values(0), values)
    forms = [forms_of(list(values))]
    for number, layer in enumerate(program.structure.layers, 1):
        payload = run.layer(layer, program.live_values(number))
        for value in payload:
            _require_dense(layer.name, value)
        forms.append(forms_of(payload))
    return tuple(forms)


def _require_dense(layer: str, value: Any) -> None:
    if isinstance(value, torch.Tensor) and not can_travel(value):
        kind = "nested" if value.is_nested else "quantised" if value.is_quantized else "sparse"
        raise ExportError(
            f"layer {layer} makes a {kind} tensor, and only dense ones can travel between tiers; "
            "compute with dense tensors, or keep that part out of the model that is split"
        )


def graph_of(name: str, program: Program, forms: Sequence[Forms]) -> Graph:
    """The planner's view of a program whose payloads look like `forms`."""
    sizes = tuple(map(payload_bytes, forms))
    macs = macs_of(program, forms[0])
    return Graph(name, program.layers, sizes, program.weight_bytes, macs)


def profile_layers(
    program: Program, values: Sequence[Any], run_slot: RunSlot = unslotted
) -> tuple[float, ...]:
    """Seconds per layer on this machine for the payload `values` at cut 0.

    They sum to the time of the whole run. turn(run) is to return run(), one run of the program, on
    the thread that is measured, when it disturbs no request.
    """
    whole_s = _whole_run_s(program, values, run_slot)
    rounds = [run_slot(partial(_layer_run_s, program, values)) for _ in range(LAYER_RUNS)]
    layer_s = [statistics.median(seconds) for seconds in zip(*rounds, strict=True)]
    scale = whole_s / sum(layer_s)
    return tuple(s * scale for s in layer_s)


def _whole_run_s(program: Program, values: Sequence[Any], run_slot: RunSlot) -> float:
    run: Callable[[list[Any]], list[Any]] = program.segment(0, len(program))
    run_slot(lambda: run(list(values)))  # the first run allocates and picks kernels
    times: list[float] = []
    while len(times) < WHOLE_RUNS and (len(times) < 2 or sum(times) < _ENOUGH_S):
        times.append(run_slot(partial(one_run_s, run, values)))
    return statistics.median(times)


def _layer_run_s(program: Program, values: Sequence[Any]) -> list[float]:
    payload, seconds = list(values), []
    for step in program.steps():
        start_s = time.perf_counter()
        payload = step(payload)
        seconds.append(time.perf_counter() - start_s)
    return seconds
