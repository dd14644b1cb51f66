"""A workload on a host with torch: eager torch and every other runtime."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.core.row import TORCH
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.form import Forms
from edgesplit.node.profiler import profile_layers
from edgesplit.node.program import Program
from edgesplit.node.runtime import Runtime
from edgesplit.node.runtime.channels_last import ChannelsLastRuntime, has_convolutions
from edgesplit.node.runtime.compiled import CompiledRuntime
from edgesplit.node.runtime.cuda import CudaRuntime
from edgesplit.node.runtime.eager import EagerRuntime
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.torch_range import Workload
from edgesplit.node.runtime.value_shapes import require_fixed_shapes
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
        """Raises RuntimeUnavailableError for an unknown one, or `onnx` without its graph.

        Also where it could give other results than on the sample, or do no better than torch.
        """
        workload = Workload(self.program, self.forms)
        if name != TORCH:
            require_fixed_shapes(workload, name)
        match name:
            case "torch":
                return EagerRuntime(self.program)
            case "torch-channels-last":
                return _channels_last(workload)
            case "compile":
                return CompiledRuntime(workload, self.threads)
            case "cuda":
                return CudaRuntime(workload)
            case "onnx" if graph is not None:
                return OnnxRuntime(graph, self.program.weights, self.threads)
        raise RuntimeUnavailableError(f"no runtime {name!r} can be made here; run it in torch")


def _channels_last(workload: Workload) -> ChannelsLastRuntime:
    if not has_convolutions(workload.program):
        raise RuntimeUnavailableError(
            f"no layer convolves images, so {ChannelsLastRuntime.name} would run them as torch "
            "does; run this model in torch"
        )
    return ChannelsLastRuntime(workload)
