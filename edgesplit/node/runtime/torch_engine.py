"""A workload on a host with torch: eager torch and every other runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.form import Forms
from edgesplit.node.profiler import profile_layers
from edgesplit.node.program import Program
from edgesplit.node.runtime import Runtime
from edgesplit.node.runtime.channels_last import ChannelsLastRuntime
from edgesplit.node.runtime.compiled import CompiledRuntime
from edgesplit.node.runtime.cuda import CudaRuntime
from edgesplit.node.runtime.eager import EagerRuntime
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.torch_range import Workload
from edgesplit.node.segment import Segment
from edgesplit.node.turn import Turn


@dataclass(frozen=True, eq=False)
class TorchEngine:
    """See Engine. threads: of a runtime with threads of its own."""

    program: Program
    forms: tuple[Forms, ...]
    threads: int

    has_eager = True

    def eager(self, start: int, stop: int) -> Segment:
        """Layers [start, stop): 1-100 ms where it is new. Raises PlanError."""
        return self.program.segment(start, stop)

    def profile(self, values: Sequence[Any], turn: Turn) -> tuple[float, ...]:
        """As node/profiler.py times them."""
        return profile_layers(self.program, values, turn)

    def runtime(self, name: str, graph: OnnxGraph | None) -> Runtime:
        """Raises RuntimeUnavailableError for an unknown one, or `onnx` without its graph."""
        workload = Workload(self.program, self.forms)
        match name:
            case "torch":
                return EagerRuntime(self.program)
            case "torch-channels-last":
                return ChannelsLastRuntime(workload)
            case "compile":
                return CompiledRuntime(workload, self.threads)
            case "cuda":
                return CudaRuntime(workload)
            case "onnx" if graph is not None:
                return OnnxRuntime(graph, self.program.weights, self.threads)
        raise RuntimeUnavailableError(f"no runtime {name!r} can be made here; run it in torch")
