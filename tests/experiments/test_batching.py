"""The experiment batching: a queue is answered in its order, whatever shares a run."""

import pytest
import torch
from torch import nn

from edgesplit.node.program.export.model import export
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.profiler import payload_forms
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.check import Exactness, difference
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.tier_workload import TierWorkload
from experiments.batching.__main__ import _targets
from experiments.batching.one_process import Queue

pytestmark = pytest.mark.usefixtures("one_thread")
DEPTH = 40


@pytest.fixture(scope="module")
def queue():
    """A model of many small operators, which gains whatever the machine does."""
    torch.manual_seed(0)
    linears = [nn.Linear(8, 8) for _ in range(DEPTH)]
    for linear in linears:
        nn.init.orthogonal_(linear.weight)  # else all inputs end in one answer, which tells nothing
    layers = [part for linear in linears for part in (linear, nn.LeakyReLU(0.9))]
    exported = export(nn.Sequential(*layers), (torch.randn(1, 8),))
    values = [torch.randn(1, 8)]
    engine = TorchEngine(exported.program, payload_forms(exported.program, values), 1)
    workload = TierWorkload("w", engine, PreparedCache(1e9, 16))
    workload.profile(values, unslotted)
    workload.measure_batch(0, 2 * DEPTH, "torch", Exactness(), unslotted)
    return Queue(workload, "torch", 0.0)


@pytest.mark.parametrize("waiting", [1, 2, 3, 7, 16, 19])
def test_each_gets_its_own_answer(queue, waiting):
    assert queue.times is not None
    given = [[torch.randn(1, 8)] for _ in range(waiting)]
    alone, batched = queue.one_by_one(given), queue.as_the_rule_says(given)
    assert len(batched) == waiting
    assert max(map(difference, batched, alone)) < 1e-4


def test_targets_name_what_was_missed():
    row = {"model": "alexnet", "runtime": "torch", "waiting": 16, "in_one_run": 16}
    alone = {"model": "resnet18", "runtime": "onnx", "waiting": 2, "in_one_run": 1}
    rows = [{**row, "gain": 1.8, "cpu_gain": 1.6}, {**alone, "gain": 0.9, "cpu_gain": 0.9}]
    found = [(target["what"], target["verdict"]) for target in _targets(rows)]
    assert found == [
        ("AlexNet in torch, 16 waiting, gain", "reached"),
        ("AlexNet in torch, 16 waiting, gain by processor seconds", "MISSED"),
        ("least gain of a batch, alexnet in torch with 16 waiting", "reached"),
        ("least gain of a batch, alexnet in torch with 16 waiting by processor seconds", "reached"),
    ]
