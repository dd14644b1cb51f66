"""From a program to its quantised ONNX graph: once per workload, at the caller, on examples.

Static quantisation with ONNX Runtime's own tools: activations to 8 bits without sign, between the
least and the largest that the examples have, weights to 8 bits with sign, per channel. Weights stay
floats with a QuantizeLinear behind them, which ONNX Runtime computes while a range is built: what
travels to tiers is as small as the plain graph.
"""

import importlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.program import Program
from edgesplit.node.program.segment import Value
from edgesplit.node.runtime.layout import fits
from edgesplit.node.runtime.onnx import missing
from edgesplit.node.runtime.onnx_export import export_graph
from edgesplit.node.runtime.onnx_graph import GraphCutter, OnnxGraph, value_name
from edgesplit.node.runtime.onnx_normalise import Scaled, fold_normalisation
from edgesplit.node.runtime.onnx_quantized import QuantizedGraph
from edgesplit.node.transport.tensor_form import TensorForm

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

MOST_EXAMPLES = 32  # extremes of activations hardly grow after that
# What ONNX Runtime computes on 8 bits; between others it would round for nothing.
QUANTISED = (
    *("Conv", "Gemm", "MatMul", "Add", "Mul", "Relu", "Clip", "LeakyRelu", "Sigmoid"),
    *("MaxPool", "AveragePool", "GlobalAveragePool", "Concat", "Resize"),
    *("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose"),
)
_HEAVY = frozenset({"Conv", "Gemm", "MatMul"})
_BRANCHING = frozenset({"If", "Loop", "Scan"})
_INPUT_OF_LAST = "_QuantizeLinear_Input"  # as ONNX Runtime's tools call what they round at the end
_Payload = Sequence[Value]


def quantised_graph(
    program: Program, values: _Payload, calibration: Sequence[_Payload]
) -> QuantizedGraph:
    """The quantised graph for payloads like `values` at cut 0. Takes 2-30 s.

    calibration: payloads at cut 0, of which the first MOST_EXAMPLES are run. Raises
    RuntimeUnavailableError as export_graph(), for a program with nothing to quantise or with
    branches, and for payloads of another form.
    """
    if why := missing():
        raise RuntimeUnavailableError(f"no quantised graph: {why}")
    return quantised(export_graph(program, values), program.weights, calibration)


def quantised(
    graph: OnnxGraph, weights: Sequence[torch.Tensor], calibration: Sequence[_Payload]
) -> QuantizedGraph:
    """The same of a graph that is there. weights: the program's."""
    _check(graph, calibration)
    model = _computing(graph)
    external = {tensor.name: _copied(tensor) for tensor in model.graph.initializer}
    _fill(model, {name: weights[index] for name, index in graph.weights})
    scaled = fold_normalisation(model)
    made = _rounded_by_tools(model, _feeds(graph, calibration))
    _check_rounded(made)
    _give_back(made, external, scaled, dict(graph.weights))
    _as_inside(made, [info.name for info in model.graph.output])
    made.graph.ClearField("value_info")
    return QuantizedGraph(
        graph.model, graph.weights, graph.live_values, graph.forms, made.SerializeToString()
    )


def _check(graph: OnnxGraph, calibration: Sequence[_Payload]) -> None:
    forms = [graph.forms[number] for number in graph.live_values[0]]
    if not calibration:
        raise RuntimeUnavailableError("quantisation needs at least one example")
    for at, payload in enumerate(calibration[:MOST_EXAMPLES]):
        if len(payload) != len(forms) or not all(map(fits, forms, payload)):
            raise RuntimeUnavailableError(
                f"example {at} is not of the shapes and dtypes that are quantised for, "
                f"{', '.join(map(str, forms))}; give examples like the request"
            )


def _computing(graph: OnnxGraph) -> "ModelProto":
    """The graph with the last payload as its only outputs: what lies between may be fused."""
    import onnx

    model = onnx.load_model_from_string(graph.model)
    if any(node.op_type in _BRANCHING for node in model.graph.node):
        raise RuntimeUnavailableError("a model with branches is not quantised; run it in onnx")
    names = [
        list(map(value_name, numbers))
        for numbers in (graph.live_values[0], graph.tensors_between(0, len(graph)))
    ]
    made = GraphCutter(model).cut(*names)
    # Without this the tools advise on standard error to have their own passes run first.
    made.metadata_props.add(key="onnx.quant.pre_process", value="onnxruntime.quant")
    return made


def _copied(tensor: "TensorProto") -> "TensorProto":
    made = type(tensor)()
    made.CopyFrom(tensor)
    return made


def _fill(model: "ModelProto", weights: Mapping[str, torch.Tensor]) -> None:
    from onnx import numpy_helper

    for at, tensor in enumerate(model.graph.initializer):
        if tensor.name in weights:
            array = np.ascontiguousarray(weights[tensor.name].detach().numpy())
            model.graph.initializer[at].CopyFrom(numpy_helper.from_array(array, tensor.name))


def _feeds(graph: OnnxGraph, calibration: Sequence[_Payload]) -> Iterator[dict[str, Any]]:
    for payload in islice(calibration, MOST_EXAMPLES):
        numbered = zip(graph.live_values[0], payload, strict=True)
        yield {
            value_name(number): np.ascontiguousarray(value.detach().numpy())
            for number, value in numbered
            if isinstance(graph.forms[number], TensorForm) and isinstance(value, torch.Tensor)
        }


@dataclass
class _CalibrationReader:
    """What the tools read examples from."""

    feeds: Iterator[dict[str, Any]]
    names: frozenset[str]

    def get_next(self) -> dict[str, Any] | None:
        """The next example; None behind the last."""
        feed = next(self.feeds, None)
        return feed and {name: feed[name] for name in self.names}


def _rounded_by_tools(model: "ModelProto", feeds: Iterator[dict[str, Any]]) -> "ModelProto":
    """What onnxruntime.quantization makes of it. Raises RuntimeUnavailableError."""
    import onnx

    tools: Any = importlib.import_module("onnxruntime.quantization")
    read = frozenset(info.name for info in model.graph.input)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "quantised.onnx"
        try:
            tools.quantize_static(
                model,
                path,
                _CalibrationReader(feeds, read),
                quant_format=tools.QuantFormat.QDQ,
                op_types_to_quantize=list(QUANTISED),
                per_channel=True,
                activation_type=tools.QuantType.QUInt8,
                weight_type=tools.QuantType.QInt8,
                extra_options={"AddQDQPairToWeight": True},
                use_external_data_format=True,  # weights may be more than one file holds
            )
            return onnx.load_model(path)
        except Exception as error:  # the tools raise anything, and so does ONNX Runtime in them
            raise RuntimeUnavailableError(
                f"ONNX Runtime's tools cannot quantise this model: {str(error)[:300]}; run it in "
                "onnx"
            ) from error


def _check_rounded(model: "ModelProto") -> None:
    """Raise RuntimeUnavailableError where no layer that computes much reads rounded values."""
    rounded = {n.output[0] for n in model.graph.node if n.op_type == "DequantizeLinear"}
    if not any(n.op_type in _HEAVY and rounded & set(n.input) for n in model.graph.node):
        raise RuntimeUnavailableError(
            f"nothing in this model can be quantised (it has no {', '.join(sorted(_HEAVY))} of "
            "float32); run it in onnx"
        )


def _give_back(
    model: "ModelProto",
    external: Mapping[str, "TensorProto"],
    scaled: Mapping[str, Scaled],
    weights: Mapping[str, int],
) -> None:
    """Take the program's weights out again: a tier has them, and folds them in itself."""
    from onnx import helper, numpy_helper

    graph = model.graph
    made = {name for node in graph.node for name in node.output}
    # A rounded bias has the name of the weight, which other ranges read as it is.
    _rename(model, {name: f"{name}_rounded" for name in made & weights.keys()})
    kept = [t for t in graph.initializer if t.name not in scaled and t.name not in weights]
    read = {name for node in graph.node for name in node.input}
    sources = {one.weight for name, one in scaled.items() if name in read}
    kept += [external[name] for name in sorted((read & weights.keys()) | sources)]
    for name, one in scaled.items():
        gain = f"{name}_gain"
        kept.append(numpy_helper.from_array(one.gain, gain))
        graph.node.insert(0, helper.make_node("Mul", [one.weight, gain], [name]))
    graph.ClearField("initializer")
    graph.initializer.extend(kept)


def _as_inside(model: "ModelProto", outputs: Sequence[str]) -> None:
    """Give the last values the names that others have: their own before they are rounded."""
    made = {name for node in model.graph.node for name in node.output}
    names: dict[str, str] = {}
    for name in outputs:
        if f"{name}{_INPUT_OF_LAST}" in made:
            rounded = f"{name}_DequantizeLinear_Output"
            names |= {name: rounded, f"{name}{_INPUT_OF_LAST}": name}
    _rename(model, names)


def _rename(model: "ModelProto", names: Mapping[str, str]) -> None:
    for node in model.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    for info in model.graph.output:
        info.name = names.get(info.name, info.name)
