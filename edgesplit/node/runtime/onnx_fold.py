"""Simplifies a fresh ONNX graph, layer by layer: constants folded, what nothing needs removed.

Never across a value of a payload, or a cut there would lack what was folded away: Swin-T loses 3 of
its 756 layers to torch's own optimizer, a transformer one per `clone`.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir

# Larger weights are transposed on the tier that uses them: folded, they would travel a second time.
_FOLDED_ELEMENTS = 8192
_DOMAIN = "edgesplit"  # no operator of it is known, so nothing is simplified through one


def fold(model: "onnx_ir.Model") -> None:
    """Simplify the model in place. Every output keeps its name, and every reader of an output.

    Raises RuntimeError where onnxscript did not keep to that.
    """
    from onnx_ir.passes.common import RemoveUnusedNodesPass
    from onnxscript.optimizer import fold_constants

    names = [value.name for value in model.graph.outputs]
    fences = [_fence(model.graph, value) for value in list(model.graph.outputs)]
    fold_constants(model, should_fold=_is_worth_folding)
    for fence in fences:
        _take_down(model.graph, fence)
    RemoveUnusedNodesPass()(model)
    if names != [value.name for value in model.graph.outputs]:
        raise RuntimeError("simplifying the ONNX graph has renamed its outputs")


def _is_worth_folding(node: "onnx_ir.Node") -> bool | None:
    """None: as the default rules say, which would fold a transposed weight of any size."""
    tensors = [value.const_value for value in node.inputs if value is not None]
    is_large = any(tensor is not None and tensor.size > _FOLDED_ELEMENTS for tensor in tensors)
    return False if is_large else None


def _fence(graph: "onnx_ir.Graph", value: "onnx_ir.Value") -> "onnx_ir.Node":
    """A node between the value and everything that reads it."""
    import onnx_ir

    copy = onnx_ir.Value(name=f"{value.name}_fenced", shape=value.shape, type=value.type)
    readers = list(value.uses())
    fence = onnx_ir.Node(_DOMAIN, "Fence", [value], outputs=[copy])
    maker = value.producer()
    if maker is None:
        graph.insert_before(graph[0], fence)
    else:
        graph.insert_after(maker, fence)
    for node, position in readers:
        node.replace_input_with(position, copy)
    return fence


def _take_down(graph: "onnx_ir.Graph", fence: "onnx_ir.Node") -> None:
    copy, value = fence.outputs[0], fence.inputs[0]
    is_output = copy.is_graph_output()  # a later output that equals this one has taken its place
    for node, position in list(copy.uses()):
        if not (is_output and node.domain == _DOMAIN):
            node.replace_input_with(position, value)
    if is_output:
        fence.domain, fence.op_type = "", "Identity"
    else:
        graph.remove(fence, safe=True)
