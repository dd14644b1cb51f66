"""Runs a range of layers: one generated module per range, which shares the program's weights.

fx.Interpreter would do the same at up to twice the time. Building takes 1-100 ms, so it stays off
the data path: ranges in use are cached.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx

from edgesplit.errors import RequestError
from edgesplit.node.ops import find_op
from edgesplit.node.structure import Layer, Ref, Structure, Weight, map_leaves

Value = torch.Tensor | int | float | bool


class Segment:
    """Layers [start, stop) as a function: the payload at cut start to the payload at cut stop."""

    def __init__(self, start: int, stop: int, n_inputs: int, module: fx.GraphModule) -> None:
        self.start, self.stop = start, stop
        self._n_inputs = n_inputs
        self._module = module
        self._run: Callable[..., tuple[Value, ...]] = module.forward

    @property
    def n_bytes(self) -> int:
        """Memory of its own: none worth counting, since it shares the program's weights."""
        return 0

    def __call__(self, values: Sequence[Value]) -> list[Value]:
        """The values alive at `stop`. Values that only pass through are the same objects.

        Raises RequestError for a payload of another cut.
        """
        if len(values) != self._n_inputs:
            raise RequestError(
                f"segment {self.start}-{self.stop} takes {self._n_inputs} values, "
                f"given {len(values)}; the payload belongs to another cut or program"
            )
        with torch.inference_mode():
            return list(self._run(*values))


def build_module(
    layers: Sequence[Layer],
    inputs: Sequence[int],
    outputs: Sequence[Any],
    weights: Sequence[torch.Tensor],
) -> fx.GraphModule:
    """A module that takes the values numbered `inputs`, runs `layers` and returns `outputs`."""
    builder = _Builder(inputs, weights)
    for layer in layers:
        for op in layer.ops:
            builder.numbers[op.out] = builder.graph.call_function(
                find_op(op.target), builder.lower(op.args), builder.lower(op.kwargs)
            )
    builder.graph.output(builder.lower(tuple(outputs)))
    module = fx.GraphModule(builder.attributes, builder.graph)
    # Found in the instance's own dict, an attribute costs a tenth of nn.Module.__getattr__.
    vars(module).update(builder.attributes)
    return module


class _Builder:
    """The graph being written, its node per value number and per attribute."""

    def __init__(self, inputs: Sequence[int], weights: Sequence[torch.Tensor]) -> None:
        self.graph = fx.Graph()
        self.weights = weights
        self.numbers = {number: self.graph.placeholder(f"v{number}") for number in inputs}
        self.attributes: dict[str, Any] = {}
        self._nodes: dict[str, fx.Node] = {}

    def lower(self, value: Any) -> Any:
        """`value` with nodes in place of what it refers to."""
        return map_leaves(self._leaf, value)

    def _leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return self.numbers[leaf.number]
        if isinstance(leaf, Weight):
            return self._attribute(f"w{leaf.index}", self.weights[leaf.index])
        if isinstance(leaf, Structure):
            branch = build_module(leaf.layers, range(leaf.n_inputs), leaf.outputs, self.weights)
            return self._attribute(f"branch{len(self.attributes)}", branch)
        return leaf

    def _attribute(self, name: str, value: Any) -> fx.Node:
        if name not in self._nodes:
            self.attributes[name] = value
            self._nodes[name] = self.graph.get_attr(name)
        return self._nodes[name]
