"""Lossy runtimes: refused unless named and granted, then judged by form; loss is for others."""

import math

import pytest
import torch
from runtime_cases import case_of
from torch import nn

from edgesplit.errors import InexactRuntimeError, RuntimeUnavailableError
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.check import Exactness, error_of, require
from edgesplit.node.runtime.lossy import judged, why_not_measured
from edgesplit.node.runtime.onnx_quantise import quantised
from edgesplit.node.runtime.recheck import Recheck
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.job import Ran
from edgesplit.node.tier.tier_workload import TierWorkload

pytestmark = pytest.mark.usefixtures("one_thread")

INT8, USUAL = "onnx-int8", Exactness()
LOSSY = judged([INT8], USUAL)
TIMEOUT_S = 60


@pytest.mark.parametrize(
    ("wanted", "has_examples", "why"),
    [
        (Exactness(exact=True), True, "onnx-int8 is lossy, and exact=True allows no"),
        (Exactness(0.05), True, r"keeps no tolerance \(0.05 was given\)"),
        (USUAL, False, r"calibrated on examples: give EdgeSplit\(..., examples=...\)"),
        (USUAL, True, "^$"),
    ],
)
def test_when_it_is_measured(wanted, has_examples, why):
    with pytest.raises(AssertionError, match=why):
        raise AssertionError(why_not_measured(INT8, wanted, has_examples))
    assert why_not_measured("onnx", wanted, has_examples) == ""


def test_who_is_judged_how():
    assert judged(["torch", "onnx"], USUAL) == USUAL
    assert judged(["onnx", INT8], USUAL) == LOSSY != USUAL
    assert judged(["made-up"], USUAL) == USUAL


ONE, NAN, ZERO = torch.tensor([1.0, 2.0]), torch.tensor([1.0, math.nan]), torch.zeros(2)


@pytest.mark.parametrize(
    ("made", "expected", "error"),
    [
        ([ONE * 1.5], [ONE], 0.5),
        ([ONE], [ONE], 0.0),
        ([ONE], [ZERO], 1.0),
        ([torch.tensor([1])], [torch.tensor([2])], 1.0),
        ([ONE], [NAN], 1.0),
        ([NAN], [ONE], math.inf),
        ([ONE.double()], [ONE], math.inf),
        ([ONE[:1]], [ONE], math.inf),
        ([ONE, ONE], [ONE], math.inf),
        ([3], [2], 1.0),
        ([3.0], [2], math.inf),
    ],
)
def test_only_forms_count_and_what_is_finite(made, expected, error):
    assert error_of(made, expected, LOSSY) == error
    if error < math.inf:
        require("it", "a trial", error, LOSSY)
        return
    with pytest.raises(InexactRuntimeError, match="gives another result than torch on a trial"):
        require("it", "a trial", error, LOSSY)


@pytest.fixture
def tier():
    """A workload that has both runtimes of ONNX Runtime, before anything is measured."""
    torch.manual_seed(0)
    sample = case_of(nn.Sequential(nn.Linear(6, 6), nn.ReLU()), [torch.rand(2, 6)])
    engine, recheck = TorchEngine(sample.program, sample.workload.forms, 1), Recheck()
    made = TierWorkload("w", engine, PreparedCache(1e9, 16), recheck)
    made.profile(sample.values, unslotted)
    made.offer(INT8, quantised(sample.graph, sample.program.weights, [sample.values]))
    made.offer("onnx", sample.graph)
    yield made
    recheck.stop()


def test_it_is_measured_with_its_error_and_its_ranges_pass(tier):
    times = tier.measure_runtime(INT8, USUAL, unslotted)
    assert times.error > USUAL.tolerance
    assert times.loss is None
    tier.check(0, 2, INT8, USUAL)
    assert tier.look_at(INT8, USUAL, unslotted)[1] > USUAL.tolerance


@pytest.mark.parametrize(
    ("runtime", "change", "is_dropped"),
    [(INT8, 0.3, False), (INT8, math.nan, True), ("onnx", 0.0, False), ("onnx", 0.3, True)],
)
def test_a_difference_in_answers_drops_the_exact_one_only(tier, runtime, change, is_dropped):
    given = [torch.rand(2, 6)]
    made = tier.segment(0, 2, runtime)(given)
    tier.ran(Ran(0, 2, runtime, given, [made[0] + change], 0.01))
    assert tier.recheck.wait(TIMEOUT_S)
    assert (runtime in tier.given_up) == is_dropped
    if is_dropped:
        with pytest.raises(RuntimeUnavailableError):
            tier.segment(0, 2, runtime)
