"""Used implies right: what a runtime is used for after a warm-up on zeros, it does as torch does.

The runtimes are judged by the product's own judge, then compared on inputs that it has not seen.
"""

import pytest
import torch
from operator_cases import CASES, KINDS
from runtime_cases import case_of

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.check import Exactness, compare, eligible
from edgesplit.node.runtime.onnx_export import export_graph
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.tier_workload import TierWorkload

WANTED = Exactness()
PER_KIND = 5
# What no noise shows: between 88.7 and 89.4 sinh is infinite in ONNX Runtime, but not in torch.
UNSEEN = {"hyperbolic": {"large"}}
# Of these ONNX Runtime is expected to be used, so that the judge is not one that takes nothing.
EXPECTED = (
    "resize-nearest-up", "resize-bilinear-scale", "int-floordiv-negative", "int-remainder", "round",
    "to-uint8", "quantised-by-hand", "max-pool", "max-pool-ceil", "average-pool-ceil-padded",
    "amax-amin", "argmax", "clamp", "relu6", "sort", "sum-of-nothing", "cumsum", "variance",
    "uint8-multiply", "int64-past-float", "bool-logic", "double", "power", "logarithm", "gelu",
    "gelu-tanh", "softmax", "group-norm", "group-norm-tiny-eps", "layer-norm", "lstm", "gru",
    "transposed-convolution", "embedding", "attention", "scatter-add", "index-put", "gather",
)  # fmt: skip

pytestmark = pytest.mark.usefixtures("one_thread")  # results depend on how many there are


def judged(name, runtime):
    """The tier's workload of that case, the runtime's range of all layers, or None if not used."""
    operator = CASES[name]
    sample = case_of(operator.model(), operator.zeros())
    engine = TorchEngine(sample.program, sample.workload.forms, 1)
    tier = TierWorkload("w", engine, PreparedCache(1e9, 16))
    tier.profile(sample.values, unslotted)
    bounds = (0, len(sample.program))
    try:
        graph = export_graph(sample.program, sample.values) if runtime == "onnx" else None
        tier.offer(runtime, graph)
        tier.measure_runtime(runtime, WANTED, unslotted)
        tier.check(*bounds, runtime, WANTED)
    except RuntimeUnavailableError:
        return sample.program.segment(*bounds), None
    return sample.program.segment(*bounds), tier.segment(*bounds, runtime)


def is_steady(expected, values):
    """Whether torch itself gives about the same where the last bits of its input are others."""
    nudged = [v * (1 + 2**-20) if v.is_floating_point() else v for v in values]
    return compare(expected, lambda _: expected(values), nudged) <= 1e-5


def wrong(name, expected, prepared):
    """Kinds of fresh inputs on which the range is run and is wrong, with the errors."""
    generator, found = torch.Generator().manual_seed(7), {}
    for kind in KINDS:
        for _ in range(PER_KIND):
            values = CASES[name].inputs_of(kind, generator)
            try:
                error = compare(prepared, expected, values)
            except RuntimeUnavailableError:
                continue  # torch does it
            # An LSTM at 100 times its usual input: torch is 9 % off what it gives in float64.
            if not eligible(error, WANTED.tolerance) and is_steady(expected, values):
                found[kind] = max(error, found.get(kind, 0.0))
    return found


@pytest.mark.parametrize("name", CASES)
def test_onnx_is_right_or_not_used(name):
    expected, prepared = judged(name, "onnx")
    assert prepared is not None or name not in EXPECTED
    if prepared is not None:
        assert set(wrong(name, expected, prepared)) <= UNSEEN.get(name, set())


@pytest.mark.parametrize("name", ["upsample-channels-last", "upsample-bilinear-conv"])
def test_channels_last_is_right(name):
    expected, prepared = judged(name, "torch-channels-last")
    assert wrong(name, expected, prepared) == {}
