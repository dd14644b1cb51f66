"""Ranges of layers in ONNX Runtime on 8 bits, from the graphs of onnx_quantized.py.

Lossy: results differ from torch's by some percent, so that it is used only where the user grants a
loss. Works without torch, as onnx.py.
"""

import platform
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime.engine import Engine
from edgesplit.node.runtime.onnx import OnnxRuntime, missing
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.onnx_quantized import QuantizedCutter, QuantizedGraph

__all__ = ["QuantizedRuntime", "make", "missing"]

_FLOAT_BYTES = 4  # of a weight before it is quantised to one byte


def make(engine: Engine, graph: OnnxGraph) -> "QuantizedRuntime":
    """The engine's program as `graph` has it. Raises WireError, RuntimeUnavailableError."""
    if not isinstance(graph, QuantizedGraph):
        raise RuntimeUnavailableError("onnx-int8 needs a quantised graph, given a plain one")
    return QuantizedRuntime(graph, engine.weights, engine.threads, engine.flushes_denormals)


class QuantizedRuntime(OnnxRuntime):
    """As OnnxRuntime; while a range is built, its weights are there as floats too."""

    name = "onnx-int8"
    _graph: QuantizedGraph

    @cached_property
    def _cutter(self) -> QuantizedCutter:
        import onnx

        plain, quantised = map(
            onnx.load_model_from_string, (self._graph.model, self._graph.quantised)
        )
        return QuantizedCutter(plain, quantised)

    def _packed_bytes(self, weight_bytes: int) -> int:
        return weight_bytes // _FLOAT_BYTES

    def _options(self, ort: ModuleType) -> Any:
        options = super()._options(ort)
        if _may_overflow():  # half as quick, but right
            options.add_session_config_entry("session.x64quantprecision", "1")
        return options


def _may_overflow() -> bool:
    """Whether this processor adds pairs of products in 16 bits: x86 without VNNI."""
    path = Path("/proc/cpuinfo")
    is_x86 = platform.machine() in ("x86_64", "AMD64")
    return is_x86 and path.exists() and "vnni" not in path.read_text()
