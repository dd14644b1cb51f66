"""torch-channels-last: eager torch on images whose channels lie side by side in memory.

Convolutions on a CPU are up to twice as quick so. Convolution weights are kept a second time, in
that layout; what leaves the range is laid out as usual.
"""

from collections.abc import Sequence

import torch

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.process.headroom import IN_TORCH, require_headroom
from edgesplit.node.program.program import value_bytes
from edgesplit.node.program.segment import Segment, Value
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.program.structure import Layer, Weight
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.runtime.torch_range import (
    BatchedTorchRange,
    Module,
    TorchRange,
    in_any_layout,
    targets,
    tried,
)

_CONVOLUTIONS = frozenset(
    {"aten.conv2d.default", "aten.conv2d.padding", "aten.convolution.default"}
)


def make(engine: TorchEngine, graph: OnnxGraph | None) -> "ChannelsLastRuntime":
    """The engine's workload. Raises RuntimeUnavailableError where it would do no better."""
    if not targets(engine.program.structure.layers) & _CONVOLUTIONS:
        raise RuntimeUnavailableError(
            f"no layer convolves images, so {ChannelsLastRuntime.name} would run them as torch "
            "does; run this model in torch"
        )
    return ChannelsLastRuntime(engine.workload)


class ChannelsLastRuntime:
    """The layers of one program for payloads of one form."""

    name = "torch-channels-last"

    def __init__(self, workload: ShapedProgram) -> None:
        self._workload = workload

    def prepare(self, start: int, stop: int) -> TorchRange | Segment:
        """Layers [start, stop): 5-300 ms; as in torch where none of them convolves images.

        Raises as Runtime.prepare.
        """
        if not targets(self._workload.layers(start, stop)) & _CONVOLUTIONS:
            return self._workload.program.segment(start, stop)
        run, n_bytes = self._run(start, stop)
        prepared = TorchRange(self._workload, (start, stop), run, n_bytes)
        return tried(self._workload, prepared, self.name)

    def prepare_batched(
        self, start: int, stop: int, axes: Sequence[int | None]
    ) -> BatchedTorchRange | Segment:
        """As Runtime.prepare_batched; the copied weights are copied once more."""
        if not targets(self._workload.layers(start, stop)) & _CONVOLUTIONS:
            return self._workload.program.segment(start, stop)
        return BatchedTorchRange(self._workload, (start, stop), *self._run(start, stop))

    def _run(self, start: int, stop: int) -> tuple[Module, int]:
        """What takes the payload and returns the values that are new; bytes of its own."""
        layers = self._workload.layers(start, stop)
        laid_freely = in_any_layout(self._workload, start, stop)
        weights, n_bytes = self._weights(layers)
        module = self._workload.module((start, stop), laid_freely, weights)

        def run(*values: Value) -> list[Value]:
            return list(module.forward(*map(_channels_last, values)))

        return run, n_bytes

    def _weights(self, layers: tuple[Layer, ...]) -> tuple[list[torch.Tensor], int]:
        """The program's weights, those of convolutions in the other layout; bytes of copies."""
        weights = list(self._workload.program.weights)
        own = {
            op.args[1].index
            for layer in layers
            for op in layer.ops
            if op.target in _CONVOLUTIONS and isinstance(op.args[1], Weight)
        }
        copied = sum(value_bytes(weights[index]) for index in own)
        require_headroom(copied, f"copying convolution weights for {self.name}", IN_TORCH)
        n_bytes = 0
        for index in own:
            with torch.no_grad():
                laid = _with_layout(weights[index])
            # Those of 1 x 1 convolutions lie in both layouts at once and are not copied.
            n_bytes += value_bytes(laid) if laid is not weights[index] else 0
            weights[index] = laid
        return weights, n_bytes


def _channels_last(value: Value) -> Value:
    if isinstance(value, torch.Tensor) and value.is_floating_point():
        return _with_layout(value)
    return value


def _with_layout(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.contiguous(memory_format=torch.channels_last) if tensor.dim() == 4 else tensor
