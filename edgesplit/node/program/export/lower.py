"""From torch.export's functional graph to a program: cleaned, constants folded, cut into layers.

Rule: no operator that writes into its arguments is left, or split and whole could differ silently.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import getitem
from typing import Any

import torch
from torch import fx
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind

from edgesplit.errors import ExportError
from edgesplit.node.program.ops import is_foldable, is_mutating, op_name, short_name
from edgesplit.node.program.program import Program
from edgesplit.node.program.structure import (
    Layer,
    Op,
    Operator,
    Ref,
    Structure,
    Weight,
    map_leaves,
    used,
)
from edgesplit.node.program.surroundings import without_autocast
from edgesplit.node.program.switches import now

_aten = torch.ops.aten
# Their result equals the first argument whenever it has the same shape, dtype and strides.
_VIEWS = frozenset(
    {
        _aten.alias.default,
        _aten.detach.default,
        _aten.lift_fresh.default,
        _aten.expand.default,
        _aten.view.default,
        _aten._unsafe_view.default,
        _aten.slice.Tensor,
        _aten.contiguous.default,
        _aten.expand_as.default,
        _aten.flatten.using_ints,
        _aten.reshape.default,
        _aten.view_as.default,
        _aten.type_as.default,
        *(getattr(_aten.to, name) for name in _aten.to.overloads()),  # type: ignore[no-untyped-call]
    }
)
# As above when they do not train; in a functionalised export they have become a clone.
_DROPOUTS = frozenset(
    {_aten.dropout.default, _aten.feature_dropout.default, _aten.alpha_dropout.default}
)
# As above, but they copy.
_COPIES = frozenset({_aten.clone.default, _aten._to_copy.default, _aten.lift_fresh_copy.default})

# Of these, args[3] and args[4] are the running statistics, args[5] tells whether they are updated.
_BATCH_STATISTICS = frozenset(
    {
        _aten._native_batch_norm_legit_functional.default,
        _aten._native_batch_norm_legit.default,
        _aten.native_batch_norm.default,
        _aten.batch_norm.default,
    }
)
_PARAMETER_MUTATION = OutputKind.PARAMETER_MUTATION

# These only set a flag on the tensor, which would not survive the way to another machine.
_PHYSICAL: dict[Any, Any] = {
    _aten._conj.default: _aten.conj_physical.default,
    _aten._neg_view.default: _aten.neg.default,
}


def lower(exported: ExportedProgram, prefix: str) -> Program:
    """The program of an export that was functionalised by `run_decompositions({})`.

    prefix: the path that stands before the names of the caller's modules, such as `model.`.
    Raises ExportError for a model that changes its own parameters or buffers, or that cannot be
    made functional.
    """
    _refuse_state_changes(exported, prefix)
    lowering = _Lowering(prefix)
    inputs = lowering.bind(exported)
    lowering.number = len(inputs)
    for node in exported.graph.nodes:
        lowering.visit(node)
    # Values that a mutated input would have received are no results of the model.
    outputs = [
        leaf
        for spec, leaf in zip(exported.graph_signature.output_specs, lowering.outputs, strict=True)
        if spec.kind is OutputKind.USER_OUTPUT
    ]
    layers = _without_unused(lowering.layers, used(outputs))
    structure = Structure(len(inputs), layers, tuple(outputs))
    return Program(structure, tuple(lowering.weights.tensors), now())


def _refuse_state_changes(exported: ExportedProgram, prefix: str) -> None:
    """A buffer that is written and never tells, such as a count of calls, is no matter."""
    signature = exported.graph_signature
    changed = [str(s.target) for s in signature.output_specs if s.kind is _PARAMETER_MUTATION]
    reads = _names_read(exported)
    changed += [
        str(spec.target)
        for spec in signature.output_specs
        if spec.kind is OutputKind.BUFFER_MUTATION and spec.target in reads
    ]
    if changed:
        names = ", ".join(name.removeprefix(prefix) for name in changed)
        raise ExportError(
            f"the model changes its own state in forward: {names}; every tier would keep a copy "
            "of its own. Return the new value instead, or do not update it in eval mode"
        )


def inputs_written(exported: ExportedProgram) -> frozenset[int]:
    """Positions of the user's inputs that forward writes into."""
    signature = exported.graph_signature
    written = {s.target for s in signature.output_specs if s.kind is OutputKind.USER_INPUT_MUTATION}
    return frozenset(n for n, name in enumerate(signature.user_inputs) if name in written)


def _names_read(exported: ExportedProgram) -> set[str]:
    """Names of the parameters and buffers that the model's results depend on."""
    specs = exported.graph_signature.output_specs
    results = exported.graph.output_node().args[0]
    assert isinstance(results, (tuple, list)), "torch.export returns a tuple"
    pairs = zip(specs, results, strict=True)
    found: set[fx.Node] = set()
    waiting = [node for spec, node in pairs if spec.kind is OutputKind.USER_OUTPUT]
    while waiting:
        node = waiting.pop()
        if isinstance(node, fx.Node) and node not in found:
            found.add(node)
            waiting += _sources(node)
    placeholders = exported.graph.find_nodes(op="placeholder")
    inputs = zip(placeholders, exported.graph_signature.input_specs, strict=True)
    return {str(spec.target) for node, spec in inputs if node in found}


def _sources(node: fx.Node) -> list[fx.Node]:
    """What a node's result depends on; batch statistics do not depend on the running ones."""
    if node.target in _BATCH_STATISTICS and node.args[5]:
        return [arg for arg in node.args[:3] if isinstance(arg, fx.Node)]
    return node.all_input_nodes


@dataclass
class _Weights:
    """Constant tensors met so far, each form of each memory once."""

    tensors: list[torch.Tensor] = field(default_factory=list)
    known: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def intern(self, tensor: torch.Tensor) -> Weight:
        """The weight that stands for `tensor`."""
        place = (tensor.untyped_storage()._cdata, tensor.storage_offset())
        key = (*place, tuple(tensor.shape), tensor.stride(), tensor.dtype, tensor.requires_grad)
        if key not in self.known:
            self.known[key] = len(self.tensors)
            # torch's matmul rounds otherwise where the weight needs no gradient.
            self.tensors.append(tensor.detach().requires_grad_(tensor.requires_grad))
        return Weight(self.known[key])


class _Lowering:
    """Visits nodes in order. `env` holds a Ref per computed value, else the constant itself."""

    def __init__(self, prefix: str, folds: bool = True) -> None:
        self.prefix, self.folds = prefix, folds
        self.env: dict[fx.Node, Any] = {}
        self.weights = _Weights()
        self.layers: list[Layer] = []
        self.outputs: Any = ()
        self.number = 0
        self._names: dict[str, int] = {}
        self._home: dict[int, int] = {}
        # Calls that give a plain number, such as the batch: part of the layer that comes next, or
        # a first layer that computes nothing would send the raw input on.
        self._sizes: tuple[Op, ...] = ()

    def bind(self, exported: ExportedProgram) -> list[fx.Node]:
        """Give every placeholder its constant or number; the nodes of the user's inputs."""
        inputs: list[fx.Node] = []
        placeholders = exported.graph.find_nodes(op="placeholder")
        for node, spec in zip(placeholders, exported.graph_signature.input_specs, strict=True):
            if spec.kind is InputKind.USER_INPUT:
                self.env[node] = Ref(len(inputs))
                inputs.append(node)
            elif spec.target in exported.constants:
                self.env[node] = exported.constants[spec.target]
            elif spec.target in exported.state_dict:
                self.env[node] = exported.state_dict[spec.target]
            else:
                raise ExportError(f"the model needs {spec.kind.name} {spec.arg}, not supported")
            if not isinstance(self.env[node], (Ref, torch.Tensor)):
                kind = type(self.env[node]).__name__
                raise ExportError(f"the model holds {spec.target}, a {kind}; only tensors travel")
        return inputs

    def visit(self, node: fx.Node) -> None:
        """Lower one node."""
        if node.op == "output":
            self._close_sizes()
            found = self._shipped(self._lookup(node.args[0]))
            self.outputs = tuple(found) if isinstance(found, (tuple, list)) else found
        elif node.op == "get_attr":
            self.env[node] = self._attribute(node)
        elif node.op == "call_function":
            self.env[node] = self._call(node)

    def _call(self, node: fx.Node) -> Any:
        target = _PHYSICAL.get(node.target, node.target)
        if is_mutating(target):
            raise ExportError(
                f"{op_name(target)} writes into its arguments and torch.export did not remove "
                "it; rewrite that step of the model without an in-place operation"
            )
        args, kwargs = self._lookup(node.args), self._lookup(node.kwargs)
        if _is_identity(node):
            return args[0]
        if self.folds and not used((args, kwargs)) and is_foldable(target, args, kwargs):
            with torch.no_grad(), without_autocast():
                return target(*args, **kwargs)
        if "_assert" in op_name(target) or "sym_constrain_range" in op_name(target):
            return None
        out = Ref(self.number)
        self.number += 1
        op = Op(op_name(target), self._shipped(args), self._shipped(kwargs), out.number)
        self._place(node, op)
        return out

    def _place(self, node: fx.Node, op: Op) -> None:
        """Put the call into a layer of its own, or into one that it must stay with."""
        if node.target is getitem:
            self._home[op.out] = self._join(op, self._home[op.args[0].number])
        elif isinstance(node.meta["val"], (torch.Tensor, tuple, list)):
            self._home[op.out] = len(self.layers)
            self.layers.append(Layer(self._layer_name(node), (*self._sizes, op)))
            self._sizes = ()
        else:
            self._sizes = (*self._sizes, op)

    def _join(self, op: Op, home: int) -> int:
        layer = self.layers[home]
        self.layers[home] = Layer(layer.name, (*layer.ops, op))
        return home

    def _close_sizes(self) -> None:
        """Sizes that only the output needs belong to the last layer."""
        for op in self._sizes if self.layers else ():
            self._join(op, len(self.layers) - 1)

    def _attribute(self, node: fx.Node) -> Any:
        found: Any = node.graph.owning_module
        for part in str(node.target).split("."):
            found = getattr(found, part)
        return found if isinstance(found, torch.Tensor) else _lower_branch(found, self.prefix)

    def _lookup(self, value: Any) -> Any:
        return map_leaves(lambda x: self.env[x] if isinstance(x, fx.Node) else x, value)

    def _shipped(self, value: Any) -> Any:
        return map_leaves(self._shipped_leaf, value)

    def _shipped_leaf(self, leaf: Any) -> Any:
        if isinstance(leaf, torch.Tensor):
            return self.weights.intern(leaf)
        if isinstance(leaf, OpOverload):  # one that writes, wrapped so that it does not
            return Operator(op_name(leaf))
        if isinstance(leaf, (torch.SymInt, torch.SymFloat, torch.SymBool)):
            raise ExportError(f"torch.export left the symbolic size {leaf} as a constant")
        return leaf

    def _layer_name(self, node: fx.Node) -> str:
        """`features.0.conv2d`: the module's path and the operator; repeats get a number."""
        assert callable(node.target)
        stack = list((node.meta.get("nn_module_stack") or {}).values())
        path = f"{stack[-1][0]}." if stack else ""
        # Outside of every module, torch gives a path of its own.
        path = path.removeprefix(self.prefix) if path.startswith(self.prefix) else ""
        name = path + short_name(node.target)
        count = self._names[name] = self._names.get(name, -1) + 1
        return f"{name}_{count}" if count else name


def _lower_branch(module: fx.GraphModule, prefix: str) -> Structure:
    """A branch of torch.cond and the like. Its weights arrive as inputs, so nothing is folded."""
    lowering = _Lowering(prefix, folds=False)
    inputs = module.graph.find_nodes(op="placeholder")
    lowering.env = {node: Ref(number) for number, node in enumerate(inputs)}
    lowering.number = len(inputs)
    for node in module.graph.nodes:
        lowering.visit(node)
    if lowering.weights.tensors:
        raise ExportError("a branch of the model's control flow holds a tensor of its own")
    return Structure(len(inputs), tuple(lowering.layers), lowering.outputs)


def _is_identity(node: fx.Node) -> bool:
    """Whether the node's result can be replaced by its first argument."""
    if node.target in _DROPOUTS:
        return not node.args[2]
    if node.target not in _VIEWS and node.target not in _COPIES:
        return False
    source = node.args[0]
    if not isinstance(source, fx.Node) or _form(source) != _form(node):
        return False
    # A copy of an input protects the caller's tensor from what happens to the result.
    return node.target in _VIEWS or source.op == "call_function"


def _form(node: fx.Node) -> tuple[Any, ...]:
    """Shape, strides, type and place; symbolic sizes are compared by their text."""
    value = node.meta["val"]
    sizes = [str(size) for size in (*value.shape, *value.stride())]
    return (sizes, value.dtype, value.device)


def _without_unused(layers: Sequence[Layer], needed: set[int]) -> tuple[Layer, ...]:
    """The layers without operators whose results nothing needs."""
    kept: list[Layer] = []
    for layer in reversed(layers):
        ops: list[Op] = []
        for op in reversed(layer.ops):
            if op.out in needed:
                needed |= used((op.args, op.kwargs))
                ops.insert(0, op)
        if ops:
            kept.insert(0, Layer(layer.name, tuple(ops)))
    return tuple(kept)
