"""One model in every runtime that this machine has, in this process and on this thread. No Ray.

What is compared takes turns. Ranges are prepared and rows measured as a tier does it.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from edgesplit.caller.inputs.zoo import load_model
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.export.model import export
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.profiler import graph_of, payload_forms
from edgesplit.node.program.program import Program
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.measure import measure_layer_times
from edgesplit.node.runtime.onnx_export import export_graph
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.tier_workload import TierWorkload

THREADS = 1
SIDE = 224  # pixels
Run = Callable[[], Any]


@dataclass(frozen=True)
class Seconds:
    """Of one run: by the clock on the wall, and what this thread had of a processor in them.

    The two differ by what else the machine did meanwhile.
    """

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, eq=False)
class Opened:
    """A model as a tier holds it, with its program and a sample payload at cut 0."""

    workload: TierWorkload
    program: Program
    values: list[Any]


@dataclass(frozen=True, eq=False)
class Bench:
    """A model's workload and graph, rows per runtime, and why others are missing, by name.

    rows: as a tier measures them. cpu_rows: by this thread's seconds on a processor.
    """

    graph: Graph
    opened: Opened
    rows: Mapping[str, LayerTimes]
    cpu_rows: Mapping[str, LayerTimes]
    missing: Mapping[str, str]

    def run(self, start: int, stop: int, runtime: str) -> Callable[[Any], list[Any]]:
        """Layers [start, stop), prepared anew unless they are eager torch's."""
        return self.opened.workload.segment(start, stop, runtime)

    def payload(self, cut: int) -> list[Any]:
        """The sample's payload at that cut, from eager torch."""
        return self.run(0, cut, TORCH)(list(self.opened.values))


def opened(model: str) -> tuple[Graph, Opened]:
    """The model, exported for a seeded batch of one, with one torch thread; no row yet.

    Raises UnknownNameError, ConfigError, ExportError.
    """
    x = torch.rand(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    return opened_for(model, load_model(model), x)


def opened_for(model: str, module: nn.Module, x: torch.Tensor) -> tuple[Graph, Opened]:
    """The same of a module that is at hand, for that input. Raises ExportError."""
    torch.set_num_threads(THREADS)
    exported = export(module, (x,))
    values = exported.flatten((x,))
    forms = payload_forms(exported.program, values)
    # Of one range: whoever is measured holds its ranges itself, and lets them go afterwards.
    cache: PreparedCache[Any] = PreparedCache(0, 1)
    workload = TierWorkload(model, TorchEngine(exported.program, forms, THREADS), cache)
    graph = graph_of(model, exported.program, forms)
    return graph, Opened(workload, exported.program, values)


def offer(opened: Opened, runtime: str) -> None:
    """Make a runtime available, with its ONNX graph where it needs one (1-20 s).

    Raises RuntimeUnavailableError.
    """
    needs_graph = runtime == "onnx"
    graph = export_graph(opened.program, opened.values) if needs_graph else None
    opened.workload.offer(runtime, graph)


def bench_of(model: str, runtimes: Sequence[str]) -> Bench:
    """The model with a measured row in each of `runtimes` that can run it, eager torch first."""
    graph, made = opened(model)
    layer_s = made.workload.profile(made.values, unslotted)
    rows, missing = {TORCH: LayerTimes(TORCH, layer_s, "measured", 0.0)}, {}
    for runtime in runtimes:
        if runtime == TORCH:
            continue
        try:
            offer(made, runtime)
            rows[runtime] = made.workload.measure_runtime(runtime, Exactness(), unslotted)
        except RuntimeUnavailableError as error:
            missing[runtime] = str(error)
    cpu_rows = {runtime: _cpu_row(made.workload, runtime) for runtime in rows}
    return Bench(graph, made, rows, cpu_rows, missing)


@dataclass(frozen=True)
class _Ranges:
    """A workload's ranges in one runtime, as measure_row wants them."""

    workload: TierWorkload
    name: str

    def prepare(self, start: int, stop: int) -> Any:
        """Layers [start, stop). Raises as Runtime.prepare."""
        return self.workload.segment(start, stop, self.name)


def _cpu_row(workload: TierWorkload, runtime: str) -> LayerTimes:
    assert workload.reference is not None, "it was profiled"
    known = replace(workload.reference, is_run_here=False)  # by this clock, not by torch's seconds
    return measure_layer_times(_Ranges(workload, runtime), known, clock=time.thread_time)


def take_turns(runs: Sequence[Run], rounds: int) -> list[list[Seconds]]:
    """What each run took, once per round, in an order drawn anew for each round (seed 0).

    A turn is two runs, of which the second one counts: a tier runs one plan again and again, and
    would not find in its caches what the others left there.
    """
    rng = np.random.default_rng(0)
    taken: list[list[Seconds]] = [[] for _ in runs]
    for _ in range(rounds):
        for index in rng.permutation(len(runs)):
            runs[index]()
            start_s, start_cpu_s = time.perf_counter(), time.thread_time()
            runs[index]()
            wall_s = time.perf_counter() - start_s
            taken[index].append(Seconds(wall_s, time.thread_time() - start_cpu_s))
    return taken
