"""A workload on a host without torch: ranges in ONNX Runtime, on numpy's arrays."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.packed import PackedProgram
from edgesplit.node.program.run_slot import RunSlot
from edgesplit.node.runtime import JointRuntime, Prepared
from edgesplit.node.runtime.check import Trial
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.table import known_runtime, without_torch
from edgesplit.node.transport.tensor_form import Forms


@dataclass(frozen=True, eq=False)
class ArrayEngine:
    """See Engine. threads, flushes_denormals: of ONNX Runtime's own pool."""

    packed: PackedProgram
    forms: tuple[Forms, ...]
    threads: int
    flushes_denormals: bool = False

    has_eager = False

    @property
    def weights(self) -> Sequence[Any]:
        """Arrays that share the storages' memory. Raises WireError."""
        return self.packed.weights()

    def eager(self, start: int, stop: int) -> Prepared:
        """A relay's empty range; RuntimeUnavailableError for any other."""
        if start != stop:
            raise RuntimeUnavailableError(f"layers {start}-{stop} in torch: {_no_torch()}")
        return _Relay()

    def profile(self, values: Sequence[Any], run_slot: RunSlot) -> tuple[float, ...]:
        """Raises RuntimeUnavailableError."""
        raise RuntimeUnavailableError(f"no layer can be timed in torch: {_no_torch()}")

    def noise(self, values: Sequence[Any], run_slot: RunSlot) -> tuple[Trial, ...]:
        """Nothing: what eager torch makes of noise comes from elsewhere."""
        return ()

    def forms_of_two(self, graph: OnnxGraph | None, run_slot: RunSlot) -> tuple[Forms, ...]:
        """As the graph says."""
        if graph is None:
            raise RuntimeUnavailableError(f"no layers can be run here: {_no_torch()}")
        from edgesplit.node.runtime.onnx_batch import forms_of_two

        return forms_of_two(graph)

    def runtime(self, name: str, graph: OnnxGraph | None) -> JointRuntime:
        """RuntimeUnavailableError for one that needs torch."""
        known = known_runtime(name)
        if known.needs_torch:
            raise RuntimeUnavailableError(f"{name} needs torch: {_no_torch()}")
        return known.make(self, graph)


class _Relay:
    """No layers: the payload passes through."""

    n_bytes = 0

    def __call__(self, values: Sequence[Any], /) -> list[Any]:
        return list(values)


def _no_torch() -> str:
    return (
        "torch is not installed on this host; run these layers in "
        f"{' or '.join(without_torch())}, or pip install 'edgesplit[full]' there"
    )
