"""One model in torch, onnx and onnx-int8, whole and as three ranges, in turns on one thread."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from edgesplit.core.accuracy import paired_loss
from edgesplit.core.layer_times import TORCH
from edgesplit.node.process.allocator import ALLOCATOR_ENV
from edgesplit.node.program.program import Program
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.program.segment import Segment
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.runtime.check import difference
from edgesplit.node.runtime.measure import Shape
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_export import export_graph
from edgesplit.node.runtime.onnx_int8 import QuantizedRuntime
from edgesplit.node.runtime.onnx_quantise import quantised
from experiments.runtimes.bench import SIDE, THREADS, opened, opened_for, take_turns
from experiments.runtimes.parts import part_bounds
from experiments.shared.own_data import OwnData
from experiments.shared.processes import fresh_processes

EXAMPLES = 8  # of noise, as the sample is
CALIBRATED = 32  # of one's own data, as in a session
__all__ = ["THREADS", "measure", "measured_apart"]


def measured_apart(model: str, rounds: int, own: OwnData | None = None) -> dict[str, Any]:
    """What measure() gives, in a fresh process with a tier's allocator settings."""
    os.environ.update(ALLOCATOR_ENV)  # the process reads them when it begins
    with fresh_processes(1) as pool:
        return pool.submit(measure, model, rounds, own).result()


def measure(model: str, rounds: int, own: OwnData | None = None) -> dict[str, Any]:
    """Seconds of every part in every runtime, by round, and how far off results are.

    own: a user's weights and data; None: random weights, noise.

    parts: per runtime and part its range, "wall_s" and "cpu_s" by round; of the runtime,
    "relative_error" of the whole against eager torch, "split_error" of three ranges against it.
    accuracy: with own data, of eager torch, and what 8 bits lose of it.
    """
    examples: Sequence[tuple[torch.Tensor, int]] | None = None
    if own is None:
        known, made = opened(model)
    else:
        trained = own.load()
        examples = trained.labelled()
        known, made = opened_for(model, trained.model, examples[0][0])
    program, values = made.program, list(made.values)
    layer_s = made.workload.profile(values, unslotted)
    bounds = part_bounds(Shape(layer_s, known.payload_bytes))
    plain = export_graph(program, values)
    began_s = time.perf_counter()
    graph = quantised(plain, program.weights, _calibration(examples))
    quantise_s = time.perf_counter() - began_s
    runtimes: list[Runtime] = [
        _Eager(program),
        OnnxRuntime(plain, program.weights, THREADS),
        QuantizedRuntime(graph, program.weights, THREADS),
    ]
    exact = program.segment(0, len(program))(values)
    parts = [part for runtime in runtimes for part in _parts(runtime, bounds, values, exact)]
    taken = take_turns([part.pop("run") for part in parts], rounds)
    for part, series in zip(parts, taken, strict=True):
        part |= {"wall_s": [one.wall_s for one in series], "cpu_s": [one.cpu_s for one in series]}
    sizes = {"onnx": len(plain.model), "onnx-int8": len(graph.model) + len(graph.quantised)}
    found: dict[str, Any] = {"parts": parts, "quantise_s": quantise_s, "graph_bytes": sizes}
    if examples is not None:
        whole = 0, len(program)
        exactly, rounded = (runtime.prepare(*whole) for runtime in (runtimes[0], runtimes[-1]))
        found["accuracy"] = _accuracy(exactly, rounded, examples)
    return found


def _accuracy(
    exact: Prepared, other: Prepared, examples: Sequence[tuple[torch.Tensor, int]]
) -> dict[str, float]:
    """Share of right answers of the first; what the other loses of it, with its interval."""
    right = worse = better = 0
    for x, label in examples:
        was, now = (_class(segment([x])) == label for segment in (exact, other))
        right, worse, better = right + was, worse + (was > now), better + (now > was)
    loss = paired_loss(worse, better, len(examples))
    return {"torch": right / len(examples), **asdict(loss)}


def _class(made: Sequence[Any]) -> int:
    return int(made[0].argmax())


class _Eager:
    """Eager torch in the place of a runtime."""

    name = TORCH

    def __init__(self, program: Program) -> None:
        self._program = program

    def prepare(self, start: int, stop: int) -> Segment:
        return self._program.segment(start, stop)


def _parts(
    runtime: Runtime,
    bounds: Mapping[str, tuple[int, int]],
    values: Sequence[Any],
    exact: Sequence[Any],
) -> list[dict[str, Any]]:
    """The whole, then ranges, each on what the one before it has made."""
    found: list[dict[str, Any]] = []
    payload, whole = values, exact
    for name, (start, stop) in bounds.items():
        prepared = runtime.prepare(start, stop)
        given = values if start == 0 else payload
        payload = prepared(given)
        whole = whole if found else payload
        named = {"runtime": runtime.name, "part": name, "start": start, "stop": stop}
        found.append({**named, "run": partial(prepared, given)})
    errors = {"relative_error": difference(whole, exact), "split_error": difference(payload, whole)}
    return [{**part, **errors} for part in found]


def _calibration(
    examples: Sequence[tuple[torch.Tensor, int]] | None,
) -> list[list[torch.Tensor]]:
    """Payloads at cut 0."""
    if examples is not None:
        return [[x] for x, _ in examples[:CALIBRATED]]
    generator = torch.Generator().manual_seed(1)
    return [[torch.rand(1, 3, SIDE, SIDE, generator=generator)] for _ in range(EXAMPLES)]
