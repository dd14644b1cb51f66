"""Which runtimes a tier offers, and that what is offered never answers wrongly."""

import pytest
import torch
from runtime_cases import Masked, case, case_of
from torch import nn

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.program.value_shapes import value_dependent
from edgesplit.node.runtime.check import Exactness, compare
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.runtime.torch_range import laid_out
from edgesplit.node.tier.tier_workload import TierWorkload

A = torch.tensor([[1.0, -1.0, 2.0], [3.0, 4.0, 5.0]])
B = torch.tensor([[1.0, 1.0, 2.0], [3.0, 4.0, 5.0]])


class Picks(nn.Module):
    """As many columns as there are positive numbers in the first row."""

    def forward(self, x):
        y = x * 2
        return y[:, y[0] > 0] + 1


class Nonzero(nn.Module):
    def forward(self, x):
        return (x * 2).nonzero() + 1


class Gathers(nn.Module):
    """Indexed by whole numbers: its shape is theirs."""

    def forward(self, x):
        order = x[0].argsort()
        return (x * 2)[:, order]


def workload_of(sample):
    cache = PreparedCache(1e9, 16)
    tier = TierWorkload("w", TorchEngine(sample.program, sample.workload.forms, 1), cache)
    tier.profile(sample.values, unslotted)
    return tier


def test_channels_last_is_offered_where_something_convolves():
    workload_of(case("UNet")).offer("torch-channels-last", None)
    with pytest.raises(RuntimeUnavailableError, match="no layer convolves images"):
        workload_of(case("Tied")).offer("torch-channels-last", None)


@pytest.mark.parametrize(
    ("model", "names"),
    [(Picks(), ("aten.index.Tensor",)), (Nonzero(), ("aten.nonzero.default",)), (Gathers(), ())],
    ids=["mask", "nonzero", "order"],
)
def test_value_dependent_shapes_are_seen(model, names):
    assert value_dependent(case_of(model, [A]).workload) == names


@pytest.mark.parametrize("runtime", ["onnx", "torch-channels-last", "compile", "cuda"])
def test_a_model_whose_shapes_depend_on_values_runs_in_torch_only(runtime):
    """Prepared for two columns, ONNX Runtime gave three with a number of another column."""
    tier = workload_of(case_of(Picks(), [A]))
    with pytest.raises(RuntimeUnavailableError, match=r"depend on values \(aten.index.Tensor\)"):
        tier.offer(runtime, None)
    assert tier.segment(0, 5)([B])[0].tolist() == [[3, 3, 5], [7, 9, 11]]


def test_a_range_in_onnx_whose_result_has_another_shape_says_so():
    sample = case_of(Picks(), [A])
    prepared = sample.runtimes["onnx"].prepare(0, len(sample.program))
    assert prepared([A])[0].tolist() == [[3, 5], [7, 11]]
    with pytest.raises(RuntimeUnavailableError, match=r"which has the shape \(2, 3\)"):
        prepared([B])


def test_a_result_of_another_shape_is_not_cut_to_the_one_expected():
    (form,) = case_of(nn.Linear(2, 2), [torch.zeros(3, 2)]).workload.forms[1]
    with pytest.raises(RuntimeUnavailableError, match=r"result has the shape \(4, 2\)"):
        laid_out(torch.zeros(2, 4).t(), form)


def test_half_precision_in_onnx_is_named_as_too_far_off():
    model = nn.Sequential(nn.Linear(64, 64), nn.Tanh()).half()
    sample = case_of(model, [torch.randn(2, 64).half()])
    tier = workload_of(sample)
    tier.offer("onnx", sample.graph)
    with pytest.raises(RuntimeUnavailableError, match=r"differs from torch by .*, 0.0001 is allo"):
        tier.measure_runtime("onnx", Exactness(), unslotted)
    assert tier.measure_runtime("onnx", Exactness(tolerance=2e-3), unslotted).error < 2e-3


def test_whole_numbers_and_booleans_in_payloads_are_equal():
    """int64 tokens and their maximum, a bool mask that is expanded: any difference is infinite."""
    sample = case_of(Masked(), [torch.randint(0, 8, (2, 5))])
    dtypes = {value.dtype for payload in sample.payloads for value in payload}
    assert {torch.int64, torch.bool} <= dtypes
    for cut, payload in enumerate(sample.payloads):
        prepared = sample.runtimes["onnx"].prepare(cut, len(sample.program))
        assert compare(prepared, sample.program.segment(cut, len(sample.program)), payload) < 1e-6


def test_a_runtime_that_was_not_offered():
    with pytest.raises(RuntimeUnavailableError, match="was not offered the runtime 'onnx'"):
        workload_of(case("Flat")).segment(0, 1, "onnx")
