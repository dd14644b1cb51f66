"""From a program to its ONNX graph: once per workload, at the caller.

The program is written as one module that returns every value alive at any cut: an output keeps its
name, whatever is folded around it.
"""

import importlib.util
import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import fx

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.program import Program, is_random
from edgesplit.node.program.segment import Value, build_module
from edgesplit.node.program.structure import Ref
from edgesplit.node.runtime.onnx_fold import fold
from edgesplit.node.runtime.onnx_graph import OnnxGraph, value_name
from edgesplit.node.transport.tensor_form import Form, TensorForm
from edgesplit.node.transport.tensors import forms_of, name_of

if TYPE_CHECKING:
    import onnx_ir

_PACKAGES = ("onnx", "onnxscript")
# What a payload may hold: numpy has no bfloat16, ONNX no complex numbers of its own.
_DTYPES = frozenset(
    {"float16", "float32", "float64", "bool", "uint8", "int8", "int16", "int32", "int64"}
)


def export_graph(program: Program, values: Sequence[Value]) -> OnnxGraph:
    """The ONNX graph for payloads like those of `values` at cut 0. Takes 1-20 s.

    Raises RuntimeUnavailableError where the packages are missing, or for what ONNX cannot express,
    with torch's own reason.
    """
    _check_packages()
    forms = _forms(program, values)
    tensors = [number for number, form in forms.items() if isinstance(form, TensorForm)]
    outputs = [Ref(number) for number in tensors if number not in program.live_values(0)]
    layers, inputs = program.structure.layers, program.live_values(0)
    module = build_module(layers, inputs, outputs, program.weights)
    model = _translate(module, values, (inputs, [ref.number for ref in outputs]))
    weights = _strip(model, program.weights)
    live_values = tuple(program.live_values(cut) for cut in range(len(program) + 1))
    return OnnxGraph(_serialized(model), weights, live_values, forms)


def _check_packages() -> None:
    missing = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeUnavailableError(
            f"no ONNX graph without {' and '.join(missing)}; pip install {' '.join(missing)}"
        )


def _forms(program: Program, values: Sequence[Value]) -> dict[int, Form]:
    """What every value of every payload looks like, by number, from one run of `values`."""
    given, n = program.live_values(0), len(program)
    numbers = sorted({number for cut in range(n + 1) for number in program.live_values(cut)})
    outputs = [Ref(number) for number in numbers]
    module = build_module(program.structure.layers, given, outputs, program.weights)
    # Operators that may draw numbers, such as attention with dropout, mostly do not.
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        made = module(*values)
        if is_random(program) and not all(map(_is_same, made, module(*values))):
            raise RuntimeUnavailableError(
                "the model draws random numbers, which ONNX Runtime draws differently; run it in "
                "torch"
            )
    forms = forms_of(made)
    for form in forms:
        _check_dtype(form)
    return dict(zip(numbers, forms, strict=True))


def _is_same(a: Value, b: Value) -> bool:
    if isinstance(a, torch.Tensor):
        return bool(((a == b) | (a != a)).all())
    return a == b


def _check_dtype(form: Form) -> None:
    if isinstance(form, TensorForm) and form.dtype not in _DTYPES:
        raise RuntimeUnavailableError(
            f"a payload of {form.dtype} cannot be handed to ONNX Runtime, which takes "
            f"{', '.join(sorted(_DTYPES))}; run this model in torch"
        )


def _translate(
    module: fx.GraphModule, values: Sequence[Value], names: tuple[Sequence[int], Sequence[int]]
) -> "onnx_ir.Model":
    """The module in ONNX, simplified within its layers. names: numbers of inputs and outputs."""
    given, made = ([value_name(number) for number in numbers] for numbers in names)
    log = logging.getLogger("torch.onnx")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            exported = torch.onnx.export(
                module,
                tuple(values),
                dynamo=True,
                optimize=False,
                verbose=False,
                input_names=given,
                output_names=made,
            )
            assert exported is not None
            model: onnx_ir.Model = exported.model
            fold(model)
    except Exception as error:  # torch.onnx, and torch.export inside it, raise anything
        raise RuntimeUnavailableError(
            f"ONNX cannot express this model: {_reason(error)}. Run it in torch"
        ) from error
    finally:
        log.setLevel(level)
    return model


def _strip(model: "onnx_ir.Model", weights: Sequence[torch.Tensor]) -> tuple[tuple[str, int], ...]:
    """Take the program's weights out of the model; their names in it and their positions.

    One of a dtype that numpy lacks stays inside.
    """
    import onnx_ir

    places = {
        _place(weight): index
        for index, weight in enumerate(weights)
        if weight.numel() and name_of(weight.dtype) in _DTYPES
    }
    found: list[tuple[str, int]] = []
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        index = places.get(_place(getattr(tensor, "raw", None)))
        if tensor is None or index is None:
            continue
        value.const_value = onnx_ir.ExternalTensor(
            "weights",
            0,
            tensor.nbytes,
            tensor.dtype,
            shape=onnx_ir.Shape(weights[index].shape),
            name=name,
        )
        found.append((name, index))
    return tuple(found)


def _place(tensor: Any) -> tuple[Any, ...]:
    """Where a tensor lies and how it is read: equal for two that are the same weight."""
    if not isinstance(tensor, torch.Tensor):
        return ()
    return (tensor.data_ptr(), tensor.dtype, tuple(tensor.shape), tensor.stride())


def _serialized(model: "onnx_ir.Model") -> bytes:
    import onnx_ir
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    ClearMetadataAndDocStringPass()(model)
    return bytes(onnx_ir.to_proto(model).SerializeToString())


def _reason(error: BaseException) -> str:
    """The innermost reason; what torch.onnx wraps around it is advice on reporting it."""
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {' '.join(lines[:2])[:400]}"
