"""Runs a range of layers: one generated module per range, which shares the program's weights.

fx.Interpreter would do the same at up to twice the time. Building takes 1-100 ms, so it stays off
the data path: ranges in use are cached.
"""

import linecache
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import fx
from torch.fx import graph_module

from edgesplit.errors import RequestError
from edgesplit.node.program.ops import find_op
from edgesplit.node.program.structure import Layer, Operator, Ref, Structure, Weight, map_leaves
from edgesplit.node.program.surroundings import without_autocast
from edgesplit.node.program.switches import USUAL, Switches, in_force, now

Value = torch.Tensor | int | float | bool


class Segment:
    """Layers [start, stop) as a function: the payload at cut start to the payload at cut stop."""

    def __init__(
        self,
        start: int,
        stop: int,
        n_inputs: int,
        module: fx.GraphModule,
        switches: Switches = USUAL,
    ) -> None:
        self.start, self.stop = start, stop
        self._switches = switches
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
            if _are_in_force(self._switches):
                return list(self._run(*values))
            with in_force(self._switches), without_autocast():
                return list(self._run(*values))


def _are_in_force(switches: Switches) -> bool:
    return now() == switches and not torch.is_autocast_enabled("cpu")


class LayerRun:
    """A run of a whole program layer by layer, without building a module: for looking, once."""

    def __init__(self, weights: Sequence[torch.Tensor], switches: Switches) -> None:
        self._weights, self._switches = weights, switches
        self._values: dict[int, Any] = {}

    def begin(self, numbers: Sequence[int], values: Sequence[Value]) -> None:
        """Take the payload at cut 0, whose values have these numbers."""
        self._values = dict(zip(numbers, values, strict=True))

    def layer(self, layer: Layer, outputs: Sequence[int]) -> list[Value]:
        """Run the next layer; the payload behind it, of the values numbered `outputs`."""
        with torch.inference_mode():
            if _are_in_force(self._switches):
                self._run(layer)
            else:
                with in_force(self._switches), without_autocast():
                    self._run(layer)
        self._values = {number: self._values[number] for number in outputs}
        return list(self._values.values())

    def _run(self, layer: Layer) -> None:
        for op in layer.ops:
            args, kwargs = self._given(op.args), self._given(op.kwargs)
            self._values[op.out] = find_op(op.target)(*args, **kwargs)

    def _given(self, value: Any) -> Any:
        return map_leaves(self._leaf, value)

    def _leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, Ref):
            return self._values[leaf.number]
        if isinstance(leaf, Weight):
            return self._weights[leaf.index]
        if isinstance(leaf, Operator):
            return find_op(leaf.name)
        if isinstance(leaf, Structure):
            return build_module(leaf.layers, range(leaf.n_inputs), leaf.outputs, self._weights)
        return leaf


def build_module(
    layers: Sequence[Layer],
    inputs: Sequence[int],
    outputs: Any,
    weights: Sequence[torch.Tensor],
) -> fx.GraphModule:
    """A module that takes the values numbered `inputs`, runs `layers` and returns `outputs`.

    outputs: several values, or of a branch a single one.
    """
    outputs = tuple(outputs) if isinstance(outputs, (tuple, list)) else outputs
    builder = _Builder(inputs, weights)
    for layer in layers:
        for op in layer.ops:
            builder.numbers[op.out] = builder.graph.call_function(
                find_op(op.target), builder.lower(op.args), builder.lower(op.kwargs)
            )
    builder.graph.output(builder.lower(outputs))
    module = fx.GraphModule(builder.attributes, builder.graph)
    _forget_source(module)
    # Found in the instance's own dict, an attribute costs a tenth of nn.Module.__getattr__.
    vars(module).update(builder.attributes)
    return module


def _forget_source(module: fx.GraphModule) -> None:
    """fx keeps the source of every module that was ever made, for tracebacks."""
    name = type(module).forward.__code__.co_filename
    graph_module._loader.eval_cache.pop(name, None)
    linecache.cache.pop(name, None)


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
        if isinstance(leaf, Operator):
            return find_op(leaf.name)
        if isinstance(leaf, Structure):
            branch = build_module(leaf.layers, range(leaf.n_inputs), leaf.outputs, self.weights)
            return self._attribute(f"branch{len(self.attributes)}", branch)
        return leaf

    def _attribute(self, name: str, value: Any) -> fx.Node:
        if name not in self._nodes:
            self.attributes[name] = value
            self._nodes[name] = self.graph.get_attr(name)
        return self._nodes[name]
