"""The ONNX graph: what it holds, how ranges are cut out of it, and what it is refused for."""

import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from runtime_cases import case, case_of
from torch import nn

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime import onnx as onnx_runtime
from edgesplit.node.runtime.check import compare
from edgesplit.node.runtime.layout import laid_out
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_export import export_graph
from edgesplit.node.runtime.onnx_graph import GraphCutter, value_name


def parsed(graph):
    onnx = pytest.importorskip("onnx")
    return onnx.load_model_from_string(graph.model)


@pytest.mark.parametrize("shape", [(2, 1000), (1, 2, 1000)], ids=["Gemm", "Transpose, MatMul"])
def test_the_graph_travels_without_the_weights(shape):
    """Two layers of 4 MB, which a batch of sequences reads transposed."""
    model = nn.Sequential(nn.Linear(1000, 1000), nn.Linear(1000, 1000))
    sample = case_of(model, [torch.zeros(shape)])
    graph = sample.graph
    assert len(pickle.dumps(graph)) < 10_000
    assert sorted(index for _, index in graph.weights) == list(range(len(sample.program.weights)))


def test_the_tier_s_weights_count_and_not_the_caller_s():
    sample = case("SharedBuffer")
    n = len(sample.program)
    graph = pickle.loads(pickle.dumps(sample.graph))
    doubled = [weight * 2 for weight in sample.program.weights]
    prepared = OnnxRuntime(graph, doubled, threads=1).prepare(0, n)
    reference = replace(sample.program, weights=tuple(doubled)).segment(0, n)
    assert compare(prepared, reference, sample.values) < 1e-6


class Halved(nn.Module):
    """A weight that numpy has no dtype for, in a model whose payloads have one."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4).bfloat16())

    def forward(self, x):
        return (x * 2) @ self.weight.float()


def test_a_bfloat16_weight_travels_in_the_graph():
    sample = case_of(Halved(), [torch.randn(2, 4)])
    n = len(sample.program)
    prepared = OnnxRuntime(sample.graph, sample.program.weights, threads=1).prepare(0, n)
    assert compare(prepared, sample.program.segment(0, n), sample.values) < 1e-6


def test_weights_that_are_not_contiguous():
    sample = case("UNet")
    n = len(sample.program)
    odd = [
        w.to(memory_format=torch.channels_last) if w.dim() == 4 else w
        for w in sample.program.weights
    ]
    assert not all(weight.is_contiguous() for weight in odd)
    prepared = OnnxRuntime(sample.graph, odd, threads=1).prepare(0, n)
    assert compare(prepared, sample.program.segment(0, n), sample.values) < 1e-5


@pytest.mark.parametrize("name", ["Transformer", "InPlace", "Laid", "mobilenet_v2"])
def test_every_layer_needs_only_the_payload_before_it(name):
    """Then so does every range; simplifying across a cut would break this."""
    sample = case(name)
    cutter = GraphCutter(parsed(sample.graph))
    for layer in range(len(sample.program)):
        made = sample.graph.tensors_between(layer, layer + 1)
        given = [value_name(number) for number in sample.graph.live_values[layer]]
        assert cutter.cut(given, [value_name(number) for number in made]).graph.output


def test_convolutions_take_their_batch_norms_in(tmp_path):
    """Constants reach ONNX Runtime's fusion although the graph holds no weights."""
    onnx = pytest.importorskip("onnx")
    sample, path = case("UNet"), tmp_path / "optimized.onnx"

    class Saving(OnnxRuntime):
        def _options(self, ort):
            options = super()._options(ort)
            options.optimized_model_filepath = str(path)
            return options

    Saving(sample.graph, sample.program.weights, 1).prepare(0, len(sample.program))
    before = [node.op_type for node in parsed(sample.graph).graph.node]
    after = [node.op_type for node in onnx.load(path).graph.node]
    assert before.count("BatchNormalization") == before.count("Relu") == 5
    assert after.count("BatchNormalization") == after.count("Relu") == 0
    assert after.count("Conv") == before.count("Conv")


def test_a_value_that_the_payload_lacks_is_refused():
    sample = case("UNet")
    cutter, n = GraphCutter(parsed(sample.graph)), len(sample.program)
    skip, *others = [value_name(number) for number in sample.graph.live_values[12]]
    result = [value_name(number) for number in sample.graph.live_values[n]]
    assert cutter.cut([skip, *others], result).graph.output
    with pytest.raises(RuntimeUnavailableError, match=rf"{result[0]} from v0, which is no part"):
        cutter.cut(others, result)


class Exponential(nn.Module):
    """An operator that ONNX has nothing for."""

    def forward(self, x):
        return torch.linalg.matrix_exp(x * 2) + 1


class Noise(nn.Module):
    def forward(self, x):
        return x + torch.rand_like(x)


class Complex(nn.Module):
    def forward(self, x):
        return torch.fft.rfft(x).abs() * 2


@pytest.mark.parametrize(
    ("model", "x", "reason"),
    [
        (
            Exponential(),
            torch.eye(3),
            "ONNX cannot express this model: .*matrix_exp.*Run it in torch",
        ),
        (Noise(), torch.ones(3, 3), "draws random numbers.*run it in torch"),
        (Complex(), torch.ones(2, 6), "a payload of complex64 cannot be handed to ONNX Runtime"),
        (nn.Linear(3, 3).bfloat16(), torch.ones(2, 3).bfloat16(), "a payload of bfloat16 cannot"),
    ],
    ids=["operator", "random", "complex", "bfloat16"],
)
def test_what_onnx_cannot_do(model, x, reason):
    sample = case_of(model, [x])
    with pytest.raises(RuntimeUnavailableError, match=reason):
        export_graph(sample.program, sample.values)


def test_the_export_draws_nothing_from_the_caller_s_generator():
    sample = case_of(Noise(), [torch.ones(3, 3)])
    before = torch.get_rng_state()
    with pytest.raises(RuntimeUnavailableError, match="draws random numbers"):
        export_graph(sample.program, sample.values)
    assert torch.equal(torch.get_rng_state(), before)


def test_layers_that_onnx_runtime_has_no_kernel_for():
    sample = case_of(nn.Conv2d(2, 3, 1).double(), [torch.ones(1, 2, 4, 4).double()])
    with pytest.raises(
        RuntimeUnavailableError, match=r"cannot load these layers: .*Conv.*in torch"
    ):
        sample.runtimes["onnx"].prepare(0, 1)


def test_half_precision_works_with_its_own_error():
    """Which is above the default tolerance: ONNX Runtime computes it in single precision."""
    sample = case_of(
        nn.Sequential(nn.Linear(64, 64), nn.Tanh()).half(), [torch.randn(2, 64).half()]
    )
    prepared = sample.runtimes["onnx"].prepare(0, 2)
    assert prepared(sample.values)[0].dtype == torch.float16
    assert compare(prepared, sample.program.segment(0, 2), sample.values) < 2e-3


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_package_that_is_not_installed(monkeypatch, package):
    runtime = case("DictResult").runtimes["onnx"]
    assert onnx_runtime.missing() == ""
    monkeypatch.setitem(sys.modules, package, None)
    assert onnx_runtime.missing() == f"{package} is not installed here; pip install {package}"
    with pytest.raises(RuntimeUnavailableError, match=f"in onnx: {package} is not installed"):
        runtime.prepare(0, 3)


def test_exporting_needs_onnxscript(monkeypatch):
    sample = case("DictResult")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(RuntimeUnavailableError, match="pip install onnxscript"):
        export_graph(sample.program, sample.values)


@pytest.mark.parametrize(
    "strides", [(12, 4, 1), (1, 2, 6), (4, 0, 1), (24, 4, 1), (0, 0, 0), (12, 4, 2)]
)
def test_laid_out(strides):
    array = np.broadcast_to(np.arange(4.0), (2, 3, 4)) if 0 in strides else np.arange(24.0)
    array = np.zeros((2, 3, 4)) if strides == (0, 0, 0) else array.reshape(2, 3, 4)
    laid = laid_out(np.ascontiguousarray(array), strides)
    if strides != (12, 4, 2):  # overlapping in a way that no tensor of these elements can
        assert np.array_equal(laid, array)
    assert laid.strides == tuple(8 * stride for stride in strides)


def test_strides_of_single_dimensions_cost_no_copy():
    array = np.arange(6.0).reshape(1, 6, 1)
    laid = laid_out(array, (99, 1, 7))
    assert np.shares_memory(laid, array)
    assert laid.strides == (99 * 8, 8, 56)
