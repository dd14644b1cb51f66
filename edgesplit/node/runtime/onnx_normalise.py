"""Folds batch normalisation into the convolution before it, as quantisation needs it; no torch.

Rounded on its own, each channel of a normalisation would cost a pass over the picture in floats.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_Arrays = Mapping[str, NDArray[Any]]
_EPSILON = 1e-5  # where the graph names none, as ONNX has it


@dataclass(frozen=True, eq=False)
class Scaled:
    """A weight that is another one times `gain`, whose dimensions are its channels and ones."""

    weight: str
    gain: NDArray[Any]


def fold_normalisation(model: "ModelProto") -> dict[str, Scaled]:
    """Fold in place, where nothing else reads the convolution's result; the new weights by name.

    All initializers are to hold their numbers.
    """
    from onnx import numpy_helper

    graph = model.graph
    arrays = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    makers = {name: node for node in graph.node for name in node.output}
    readers = Counter(name for node in graph.node for name in node.input)
    readers.update(info.name for info in graph.output)
    found: dict[str, Scaled] = {}
    for node in [node for node in graph.node if node.op_type == "BatchNormalization"]:
        conv = makers.get(node.input[0])
        if conv is None or conv.op_type != "Conv" or readers[node.input[0]] != 1:
            continue
        if all(name in arrays for name in (*node.input[1:], *conv.input[1:])):
            found |= _fold_one(graph, conv, node, arrays)
    used = {name for node in graph.node for name in node.input}
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in used]:
        graph.initializer.remove(tensor)
    return found


def _fold_one(
    graph: "GraphProto", conv: "NodeProto", normalise: "NodeProto", arrays: _Arrays
) -> dict[str, Scaled]:
    from onnx import numpy_helper

    scale, shift, mean, variance = (arrays[name] for name in normalise.input[1:])
    gain = (scale / np.sqrt(variance + _epsilon(normalise))).astype(np.float32)
    weight = arrays[conv.input[1]]
    before = arrays[conv.input[2]] if len(conv.input) > 2 else 0.0
    scaled = Scaled(conv.input[1], gain.reshape(-1, *[1] * (weight.ndim - 1)))
    made = normalise.output[0]
    names = f"{made}_weight", f"{made}_bias"
    bias = ((before - mean) * gain + shift).astype(np.float32)
    for name, array in zip(names, (weight * scaled.gain, bias), strict=True):
        graph.initializer.append(numpy_helper.from_array(array, name))
    conv.input[:] = [conv.input[0], *names]
    conv.output[0] = made
    graph.node.remove(normalise)
    return {names[0]: scaled}


def _epsilon(node: "NodeProto") -> float:
    return next((one.f for one in node.attribute if one.name == "epsilon"), _EPSILON)
