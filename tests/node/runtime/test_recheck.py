"""Answers are compared later, one at a time and within a share of the seconds; the wrong end it."""

import threading

import pytest
import torch
from runtime_cases import case_of
from torch import nn

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.runtime.recheck import CREDIT_S, SHARE, Recheck, why_wrong
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.job import Ran
from edgesplit.node.tier.tier_workload import TierWorkload

TIMEOUT_S = 60


@pytest.fixture
def recheck():
    made = Recheck()
    yield made
    made.stop()


@pytest.fixture
def tier(recheck):
    """A workload that may run in ONNX Runtime: sums and doubles its rows."""
    sample = case_of(nn.Sequential(nn.Linear(6, 6), nn.ReLU()), [torch.ones(2, 6)])
    engine = TorchEngine(sample.program, sample.workload.forms, 1)
    made = TierWorkload("w", engine, PreparedCache(1e9, 16), recheck)
    made.profile(sample.values, unslotted)
    made.offer("onnx", sample.graph)
    return made


def ran(tier, change=0.0, compute_s=0.01):
    given = [torch.rand(2, 6)]
    made = tier.segment(0, 2, "onnx")(given)
    return Ran(0, 2, "onnx", given, [made[0] + change], compute_s)


def test_one_comparison_at_a_time(recheck):
    begun, goes_on = threading.Event(), threading.Event()

    def compare():
        begun.set()
        goes_on.wait(TIMEOUT_S)

    assert recheck.is_due(1.0)
    recheck.do(compare)
    assert begun.wait(TIMEOUT_S)
    assert not recheck.is_due(1e9)
    goes_on.set()
    assert recheck.wait(TIMEOUT_S)


def test_a_comparison_is_paid_for_with_computing_but_for_the_first(recheck):
    started = threading.Event()
    for _ in range(2):
        assert recheck.is_due(0.0)
        # As long as all that is saved up, at least.
        recheck.do(lambda: started.wait(2 * CREDIT_S))
        assert recheck.wait(TIMEOUT_S)
    assert not recheck.is_due(0.0)
    assert not recheck.is_due(CREDIT_S / SHARE / 2)
    assert recheck.is_due(1000 * CREDIT_S / SHARE)


def test_a_right_answer_changes_nothing(tier, recheck):
    tier.ran(ran(tier))
    assert recheck.wait(TIMEOUT_S)
    assert tier.given_up == {}
    tier.segment(0, 2, "onnx")


def test_a_wrong_answer_ends_the_runtime_for_the_workload(tier, recheck):
    answer = ran(tier, change=0.5)
    key = ("w", "onnx", 0, 2)
    assert key in tier.cache
    tier.ran(answer)
    assert recheck.wait(TIMEOUT_S)
    why = tier.given_up["onnx"]
    assert "onnx on layers 0-2 differs from torch by" in why
    assert "on a request, 0.0001 is allowed" in why
    assert key not in tier.cache
    for use in (
        lambda: tier.segment(0, 2, "onnx"),
        lambda: tier.offer("onnx", None),
        lambda: tier.measure_runtime("onnx", Exactness(), unslotted),
    ):
        with pytest.raises(RuntimeUnavailableError, match="on a request"):
            use()
    assert tier.segment(0, 2)(answer.given)


def test_what_torch_refuses_no_runtime_may_answer():
    def refuses():
        raise IndexError("index out of range")

    assert "answers a request that torch refuses" in why_wrong("it", [], refuses, Exactness())
    assert why_wrong("it", [], lambda: [], Exactness()) == ""


def test_where_nobody_knows_nothing_is_wrong():
    def fails():
        raise MemoryError

    assert why_wrong("it", [1], fails, Exactness()) == ""
