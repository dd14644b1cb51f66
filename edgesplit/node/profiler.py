"""Times a program's layers on this machine, and sees what the payload at each cut looks like.

Layers timed one by one overstate or understate their share of a run, so they give the shape and
the time of the whole run gives the sum.
"""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from edgesplit.core.graph import Graph
from edgesplit.node.program import SCALAR_BYTES, Program
from edgesplit.node.turn import Turn, at_once, one_run_s

WHOLE_RUNS = 5
LAYER_RUNS = 3
_ENOUGH_S = 1.0  # of whole runs: a slow tier is not kept busy for more figures than it needs


@dataclass(frozen=True)
class ValueForm:
    """A value of a payload without its content: for making up one like it."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def n_bytes(self) -> int:
        """Bytes of its elements."""
        return math.prod(self.shape) * self.dtype.itemsize


Forms = tuple[ValueForm | bool | int | float, ...]


def payload_forms(program: Program, values: Sequence[Any]) -> tuple[Forms, ...]:
    """What the payload at each cut 0..n looks like, from one run of `values`."""
    payload = list(values)
    forms = [_forms(payload)]
    for step in program.steps():
        payload = step(payload)
        forms.append(_forms(payload))
    return tuple(forms)


def graph_of(name: str, program: Program, forms: Sequence[Forms]) -> Graph:
    """The planner's view of a program whose payloads look like `forms`."""
    sizes = tuple(sum(_form_bytes(form) for form in payload) for payload in forms)
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


def measure_segment(segment: Callable[[list[Any]], list[Any]], forms: Forms) -> float:
    """Seconds of one run of a segment on a made-up payload; also warms it up."""
    payload = made_up(forms)
    start_s = time.perf_counter()
    segment(payload)
    return time.perf_counter() - start_s


def made_up(forms: Forms) -> list[Any]:
    """A payload that looks like `forms`."""
    return [_value(form) for form in forms]


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


def _forms(payload: Sequence[Any]) -> Forms:
    return tuple(
        ValueForm(value.dtype, tuple(value.shape), value.stride())
        if isinstance(value, torch.Tensor)
        else value
        for value in payload
    )


def _form_bytes(form: ValueForm | bool | int | float) -> int:
    return form.n_bytes if isinstance(form, ValueForm) else SCALAR_BYTES


def _value(form: Any) -> Any:
    if not isinstance(form, ValueForm):
        return form
    # Zeros: valid as an index, and no slower or faster than numbers for a dense layer.
    return torch.empty_strided(form.shape, form.strides, dtype=form.dtype).zero_()
