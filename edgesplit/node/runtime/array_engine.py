"""A workload on a host without torch: ranges in ONNX Runtime, on numpy's arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.form import Forms
from edgesplit.node.packed import PackedProgram
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.turn import Turn

_NO_TORCH = (
    "torch is not installed on this host; run these layers in onnx, or pip install "
    "'edgesplit[full]' there"
)


@dataclass(frozen=True, eq=False)
class ArrayEngine:
    """See Engine. threads: of ONNX Runtime's own pool."""

    packed: PackedProgram
    forms: tuple[Forms, ...]
    threads: int

    has_eager = False

    def eager(self, start: int, stop: int) -> Prepared:
        """A relay's empty range; RuntimeUnavailableError for any other."""
        if start != stop:
            raise RuntimeUnavailableError(f"layers {start}-{stop} in torch: {_NO_TORCH}")
        return _Relay()

    def profile(self, values: Sequence[Any], turn: Turn) -> tuple[float, ...]:
        """Raises RuntimeUnavailableError."""
        raise RuntimeUnavailableError(f"no layer can be timed in torch: {_NO_TORCH}")

    def runtime(self, name: str, graph: OnnxGraph | None) -> Runtime:
        """`onnx`; RuntimeUnavailableError for all others."""
        if name != "onnx" or graph is None:
            raise RuntimeUnavailableError(f"{name} needs torch: {_NO_TORCH}")
        return OnnxRuntime(graph, self.packed.weights(), self.threads)


class _Relay:
    """No layers: the payload passes through."""

    n_bytes = 0

    def __call__(self, values: Sequence[Any], /) -> list[Any]:
        return list(values)
