"""From an ONNX graph of one request to one of any number of them side by side; no torch here.

Sizes are baked into the graph where something is reshaped. There the first one is left open, which
is right wherever requests lie outermost in memory. Whether they do is for whoever runs it to
compare: a graph that mixes requests, or cannot be rewritten so, must not be used.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.batch_forms import axes, two_of
from edgesplit.node.runtime.onnx_graph import OnnxGraph, value_name
from edgesplit.node.transport.strides import dense_strides
from edgesplit.node.transport.tensor_form import Form, Forms, TensorForm

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

_ANY = "requests"
_BRANCHING = frozenset({"If", "Loop", "Scan"})
# Where the state that a recurrent operator begins with stands among its inputs; it is 0 without.
_STATES = {"LSTM": (5, 6), "GRU": (5,), "RNN": (5,)}
_Shapes = Mapping[str, tuple[int, ...]]


def for_any_batch(model: "ModelProto", along: Mapping[str, int | None]) -> "ModelProto":
    """The model for inputs that have any number of requests along those dimensions.

    along: per input; None where all requests share it. Raises RuntimeUnavailableError for a graph
    with branches, or with a size that cannot be left open.
    """
    shapes = _shapes(model)
    made = _copy(model)
    graph = made.graph
    mixed = {info.name for info in graph.input if along[info.name] is not None}
    constants = _constants(graph)
    for node in graph.node:
        if node.op_type in _BRANCHING:
            raise RuntimeUnavailableError("branches in the graph would be taken for all at once")
        if mixed.isdisjoint(node.input):
            continue
        mixed.update(node.output)
        if node.op_type in ("Reshape", "Expand"):
            _leave_open(graph, node, shapes)
        for place in _STATES.get(node.op_type, ()):
            _begin_at_zero(node, place, constants)
    for info in graph.input:
        if (axis := along[info.name]) is not None:
            info.type.tensor_type.shape.dim[axis].dim_param = _ANY
    return made


def forms_of_two(graph: OnnxGraph) -> tuple[Forms, ...]:
    """Of the payload at each cut for two requests, as the graph's sizes follow from each other.

    Strides are those of plain layout. Raises RuntimeUnavailableError where they do not follow.
    """
    import onnx

    numbers = graph.live_values[0]
    given = two_of(tuple(graph.forms[number] for number in numbers))
    names = [value_name(number) for number in numbers]
    model = onnx.load_model_from_string(graph.model)
    opened = for_any_batch(model, dict(zip(names, axes(given), strict=True)))
    twos = {name: form.two for name, form in zip(names, given, strict=True)}
    for info in opened.graph.input:
        two = twos[info.name]
        assert isinstance(two, TensorForm)
        for dim, size in zip(info.type.tensor_type.shape.dim, two.shape, strict=True):
            dim.dim_value = size
    shapes = _shapes(opened)

    def form(number: int) -> Form:
        one = graph.forms[number]
        if not isinstance(one, TensorForm):
            return one
        shape = shapes.get(value_name(number))
        if shape is None:
            raise RuntimeUnavailableError("what the graph makes of two requests does not follow")
        return TensorForm(one.dtype, shape, dense_strides(shape, range(len(shape))))

    return tuple(tuple(map(form, numbers)) for numbers in graph.live_values)


def _copy(model: "ModelProto") -> "ModelProto":
    """Without what it says of sizes that other requests change."""
    made = type(model)()
    made.CopyFrom(model)
    made.graph.ClearField("value_info")
    for info in made.graph.output:
        info.type.tensor_type.ClearField("shape")
    return made


def _shapes(model: "ModelProto") -> dict[str, tuple[int, ...]]:
    """Of the values whose sizes are all known, by name. Raises RuntimeUnavailableError."""
    import onnx

    try:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    except Exception as error:  # onnx raises its own errors, and those of protobuf
        raise RuntimeUnavailableError(
            f"the graph's sizes do not fit each other for several requests: {str(error)[:200]}"
        ) from error
    found = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for info in (*graph.input, *graph.value_info, *graph.output):
        kind = info.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            found[info.name] = tuple(dim.dim_value for dim in kind.shape.dim)
    return found


def _constants(graph: "GraphProto") -> dict[str, Any]:
    """The small ones that are in the graph itself, by name."""
    from onnx import TensorProto, numpy_helper

    found = {
        tensor.name: numpy_helper.to_array(tensor)
        for tensor in graph.initializer
        if tensor.data_location != TensorProto.EXTERNAL
    }
    for node in graph.node:
        for value in _constant_of(node):
            found[node.output[0]] = numpy_helper.to_array(value)
    return found


def _constant_of(node: "NodeProto") -> Iterator[Any]:
    if node.op_type == "Constant":
        yield from (attribute.t for attribute in node.attribute if attribute.name == "value")


def _leave_open(graph: "GraphProto", node: "NodeProto", shapes: _Shapes) -> None:
    """Let the first size of what a Reshape or Expand makes be as many requests as there are."""
    made, given = shapes.get(node.output[0]), shapes.get(node.input[0])
    if not made or not given or 0 in made:
        raise RuntimeUnavailableError(f"a size that {node.op_type} makes is not known")
    if node.op_type == "Expand":
        if len(given) != len(made) or given[0] != made[0]:
            raise RuntimeUnavailableError(f"the graph expands {given} to {made} for one request")
        target = (1, *made[1:])  # 1: as it is
    else:
        target = (-1, *made[1:])
    _add_constant(graph, f"{node.output[0]}_{_ANY}", target)
    node.input[1] = f"{node.output[0]}_{_ANY}"


def _add_constant(graph: "GraphProto", name: str, sizes: Sequence[int]) -> None:
    from onnx import numpy_helper

    graph.initializer.append(numpy_helper.from_array(np.array(sizes, np.int64), name))


def _begin_at_zero(node: "NodeProto", place: int, constants: Mapping[str, Any]) -> None:
    """Leave out the state of one request with which a recurrent operator begins, if it is 0."""
    if len(node.input) <= place or not node.input[place]:
        return
    state = constants.get(node.input[place])
    if state is None or state.any():
        raise RuntimeUnavailableError(f"{node.op_type} begins with a state of one request")
    node.input[place] = ""
