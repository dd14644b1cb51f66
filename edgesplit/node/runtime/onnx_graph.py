"""A program as an ONNX graph in which every value of every payload has its name; no torch here.

The graph holds no weights: it names those of the program that each of its own stands for, so that
some 100 KB are enough for a tier that has them. Written by onnx_export.py, run by onnx.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from edgesplit.errors import PlanError, RuntimeUnavailableError
from edgesplit.node.transport.tensor_form import Form, TensorForm

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto


@dataclass(frozen=True, eq=False)
class OnnxGraph:
    """What every tier needs beside the program's weights. For payloads of `forms` only.

    model: a ModelProto without the weights' bytes. weights: the name of each in the model and its
    position among the program's. live_values: per cut the numbers of its values. forms: by
    number; a plain number is a size that the graph has baked in.
    """

    model: bytes
    weights: tuple[tuple[str, int], ...]
    live_values: tuple[tuple[int, ...], ...]
    forms: Mapping[int, Form]

    def __len__(self) -> int:
        """Layers."""
        return len(self.live_values) - 1

    def tensors_between(self, start: int, stop: int) -> tuple[int, ...]:
        """Numbers of the tensors alive at `stop` that layers [start, stop) make.

        Raises PlanError for a range that is none of this program's.
        """
        if not 0 <= start <= stop <= len(self):
            raise PlanError(f"no layers {start}-{stop}; this program has layers 0-{len(self)}")
        made = (
            number for number in self.live_values[stop] if number not in self.live_values[start]
        )
        return tuple(number for number in made if isinstance(self.forms[number], TensorForm))

    def peak_bytes(self, start: int, stop: int) -> int:
        """Bytes of the tensors before and after a layer of [start, stop), where they are most."""
        return max((self._bytes_around(layer) for layer in range(start, stop)), default=0)

    def _bytes_around(self, layer: int) -> int:
        numbers = {*self.live_values[layer], *self.live_values[layer + 1]}
        forms = (self.forms[number] for number in numbers)
        return sum(form.n_bytes for form in forms if isinstance(form, TensorForm))


def value_name(number: int) -> str:
    """What the value of that number is called in the ONNX graph."""
    return f"v{number}"


class Cutter(Protocol):
    """What takes ranges out of a program's graph."""

    def cut(self, inputs: Sequence[str], outputs: Sequence[str]) -> "ModelProto":
        """The model that computes `outputs` from those of `inputs` that it needs.

        Raises RuntimeUnavailableError where they depend on anything else.
        """


class GraphCutter:
    """Takes ranges out of one ONNX graph by the names of their values."""

    def __init__(self, model: "ModelProto") -> None:
        graph = model.graph
        self._model = model
        self._makers = {name: at for at, node in enumerate(graph.node) for name in node.output}
        self._initializers = {tensor.name: tensor for tensor in graph.initializer}
        self._infos = {info.name: info for info in (*graph.input, *graph.output)}

    def cut(self, inputs: Sequence[str], outputs: Sequence[str]) -> "ModelProto":
        """The model that computes `outputs` from those of `inputs` that it needs.

        Raises RuntimeUnavailableError where they depend on anything else.
        """
        positions, reads = self._walk(frozenset(inputs), outputs)
        model = type(self._model)()
        model.ir_version = self._model.ir_version
        model.opset_import.extend(self._model.opset_import)
        model.functions.extend(self._model.functions)
        graph = model.graph
        graph.name = "range"
        graph.node.extend(self._model.graph.node[at] for at in sorted(positions))
        graph.input.extend(self._infos[name] for name in inputs if name in reads)
        graph.output.extend(self._infos[name] for name in outputs)
        constants = (name for name in reads if name not in inputs)
        graph.initializer.extend(
            self._initializers[name] for name in sorted(constants) if name in self._initializers
        )
        return model

    def _walk(self, inputs: frozenset[str], outputs: Sequence[str]) -> tuple[set[int], set[str]]:
        """Positions of the nodes that `outputs` need, and every name that is read on the way."""
        positions: set[int] = set()
        reads: set[str] = set()
        waiting = list(outputs)
        while waiting:
            name = waiting.pop()
            if name in reads:
                continue
            reads.add(name)
            if name in inputs or name in self._initializers:
                continue
            if name not in self._makers:
                raise RuntimeUnavailableError(
                    f"the ONNX graph computes {outputs[-1]} from {name}, which is no part of the "
                    "payload; cut elsewhere or run these layers in torch"
                )
            position = self._makers[name]
            if position not in positions:
                positions.add(position)
                waiting.extend(_reads(self._model.graph.node[position]))
        return positions, reads


def _reads(node: "NodeProto") -> Iterator[str]:
    """Names the node reads, also those that a branch inside it takes from around it."""
    yield from (name for name in node.input if name)
    for attribute in node.attribute:
        for branch in (attribute.g, *attribute.graphs):
            yield from _free_names(branch)


def _free_names(graph: "GraphProto") -> set[str]:
    read = {name for node in graph.node for name in _reads(node)}
    read.update(output.name for output in graph.output)
    own = {name for node in graph.node for name in node.output}
    own.update(value.name for value in (*graph.input, *graph.initializer))
    return read - own
