"""What a runtime's first use of a model costs: seconds, and memory that stays. One per process.

Figures are clean in a fresh process only, see process.py.
"""

import gc
import time
from typing import Any

import psutil

from edgesplit.core.layer_times import TORCH
from edgesplit.node.process.allocator import return_free_memory
from experiments.runtimes.bench import offer, opened


def measure_first_use(model: str, runtime: str) -> dict[str, Any]:
    """Seconds to load libraries, build and first run the whole model; resident growth in bytes.

    graph_s: writing the ONNX graph, once per model at the caller; 0 for other runtimes. load_s: a
    first range, of one layer, which loads the runtime's libraries; its memory does not count.
    n_bytes: what the range itself says. Raises RuntimeUnavailableError.
    """
    _, made = opened(model)
    workload = made.workload
    graph_s = 0.0
    if runtime != TORCH:
        start_s = time.perf_counter()
        offer(made, runtime)
        graph_s = time.perf_counter() - start_s
    start_s = time.perf_counter()
    workload.segment(0, 1, runtime)(list(made.values))
    load_s = time.perf_counter() - start_s
    before_bytes = _resident_bytes()
    start_s = time.perf_counter()
    prepared: Any = workload.segment(0, len(made.program), runtime)
    built_s = time.perf_counter()
    prepared(list(made.values))
    ran_s = time.perf_counter()
    return {
        "runtime": runtime,
        "graph_s": graph_s,
        "load_s": load_s,
        "build_s": built_s - start_s,
        "first_run_s": ran_s - built_s,
        "resident_growth_bytes": _resident_bytes() - before_bytes,
        "n_bytes": prepared.n_bytes,
    }


def _resident_bytes() -> int:
    """Of this process, without what it has freed and could give back."""
    gc.collect()
    return_free_memory()
    return int(psutil.Process().memory_info().rss)
