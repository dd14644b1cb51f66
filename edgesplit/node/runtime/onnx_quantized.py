"""A program's ONNX graph, and the same once more quantised to 8 bits; no torch here.

Quantised layers are fused: a convolution takes in the normalisation and the ReLU behind it, and the
values between them are gone. A cut there splits the block, whose layers then run as floats, as the
plain graph has them. Neither graph holds weights: a tier quantises those that it has. Written by
onnx_quantise.py, run by onnx_int8.py.
"""

import graphlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime.onnx_graph import OnnxGraph

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

_BEFORE = "_before_rounding"


@dataclass(frozen=True, eq=False)
class QuantizedGraph(OnnxGraph):
    """quantised: a ModelProto with QuantizeLinear and DequantizeLinear around what is rounded.

    Its values have the names that they have in `model`; so have the weights.
    """

    quantised: bytes = b""


class QuantizedCutter:
    """Takes ranges out of both graphs. As GraphCutter, but for what a value is.

    A rounded value is what DequantizeLinear gives, at a cut as inside of a range: the range behind
    the cut rounds it to the same 8 bits, so that split and whole agree to the bit.
    """

    def __init__(self, plain: "ModelProto", quantised: "ModelProto") -> None:
        self._like = quantised
        self._infos = {info.name: info for info in (*plain.graph.input, *plain.graph.output)}
        self._initializers = {
            tensor.name: tensor
            for model in (plain, quantised)
            for tensor in model.graph.initializer
        }
        self._rounded = _rounded(quantised.graph.node, self._initializers)
        self._quantised = _makers(quantised.graph.node)
        float_makers = _makers(plain.graph.node)
        self._inside = {
            name: _inside(name, float_makers, self._quantised)
            for name in float_makers.keys() & self._quantised.keys()
        }
        self._plain = _makers(_renamed(plain.graph.node, self._rounded, {}))

    def cut(self, inputs: Sequence[str], outputs: Sequence[str]) -> "ModelProto":
        """The model that computes `outputs` from those of `inputs` that it needs.

        Raises RuntimeUnavailableError where they depend on anything else.
        """
        wanted = [self._rounded.get(name, name) for name in outputs]
        nodes, reads = self._walk(frozenset(inputs), wanted)
        given = {name: f"{name}{_BEFORE}" for name in outputs if name in self._rounded}
        made = {self._rounded[name]: name for name in given}
        model = type(self._like)()
        model.ir_version = self._like.ir_version
        model.opset_import.extend(self._like.opset_import)
        graph = model.graph
        graph.name = "range"
        graph.node.extend(_renamed(nodes, given | made, given | made))
        graph.input.extend(self._infos[name] for name in inputs if name in reads)
        graph.output.extend(self._infos[name] for name in outputs)
        graph.initializer.extend(
            self._initializers[name] for name in sorted(reads) if name in self._initializers
        )
        return model

    def _walk(
        self, inputs: frozenset[str], outputs: Iterable[str]
    ) -> tuple[list["NodeProto"], set[str]]:
        """The nodes that `outputs` need, makers first, and every name that is read on the way."""
        reads: set[str] = set()
        makers: dict[str, NodeProto] = {}
        waiting = list(outputs)
        while waiting:
            name = waiting.pop()
            if name in reads:
                continue
            reads.add(name)
            if name in inputs or name in self._initializers:
                continue
            makers[name] = self._maker(name, inputs)
            waiting.extend(one for one in makers[name].input if one)
        return _in_order(makers), reads

    def _maker(self, name: str, inputs: frozenset[str]) -> "NodeProto":
        """Its quantised one, unless the cut lies between the layers that this one fuses."""
        is_split = not inputs.isdisjoint(self._inside.get(name, ()))
        first, second = self._quantised.get(name), self._plain.get(name)
        maker = (second or first) if is_split else (first or second)
        if maker is None:
            raise RuntimeUnavailableError(
                f"the ONNX graph computes something from {name}, which is no part of the payload; "
                "cut elsewhere or run these layers in torch"
            )
        return maker


def _makers(nodes: Iterable["NodeProto"]) -> dict[str, "NodeProto"]:
    return {name: node for node in nodes for name in node.output if name}


def _rounded(nodes: Sequence["NodeProto"], constants: Mapping[str, object]) -> dict[str, str]:
    """What a value that is no weight is called behind its two nodes, by its name before them."""
    given = {n.output[0]: n.input[0] for n in nodes if n.op_type == "QuantizeLinear"}
    found = (
        (given.get(node.input[0]), node.output[0])
        for node in nodes
        if node.op_type == "DequantizeLinear"
    )
    makers = _makers(nodes)
    return {
        name: made
        for name, made in found
        if name is not None and not _is_constant(name, makers, constants)
    }


def _is_constant(
    name: str, makers: Mapping[str, "NodeProto"], constants: Mapping[str, object]
) -> bool:
    """A weight, or one times the gain of its channels."""
    maker = makers.get(name)
    read = [name] if maker is None else maker.input
    return all(one in constants for one in read)


def _inside(
    name: str, makers: Mapping[str, "NodeProto"], kept: Mapping[str, object]
) -> frozenset[str]:
    """Values that are in the plain graph only, between `name` and what its maker there reads."""
    found: set[str] = set()
    waiting = list(makers[name].input)
    while waiting:
        one = waiting.pop()
        if one in found or one in kept or one not in makers:
            continue
        found.add(one)
        waiting.extend(makers[one].input)
    return frozenset(found)


def _renamed(
    nodes: Iterable["NodeProto"], inputs: Mapping[str, str], outputs: Mapping[str, str]
) -> Iterator["NodeProto"]:
    """Copies of the nodes that read and make values by other names."""
    for node in nodes:
        copy = type(node)()
        copy.CopyFrom(node)
        copy.input[:] = [inputs.get(name, name) for name in node.input]
        copy.output[:] = [outputs.get(name, name) for name in node.output]
        yield copy


def _in_order(makers: Mapping[str, "NodeProto"]) -> list["NodeProto"]:
    """Each node once, behind those that make what it reads."""
    nodes = {id(node): node for node in makers.values()}
    before = {
        key: [id(makers[name]) for name in node.input if name in makers]
        for key, node in nodes.items()
    }
    return [nodes[key] for key in graphlib.TopologicalSorter(before).static_order()]
