"""A session answers as the model at the first input, called as its owner would call it."""

import os
import signal

import psutil
import pytest
import torch
from torch import nn

from edgesplit import Config, EdgeSplit, ModelChangedWarning, TrainingModeWarning
from edgesplit.errors import InputError

EXACT = Config(exact=True)
pytestmark = pytest.mark.usefixtures("one_cluster")


class Looks(nn.Module):
    """Everything that changes with what is around the call."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(4, 4)

    def forward(self, x):
        y = self.linear(x) * (torch.arange(4) / 3)
        return y * 2 if torch.is_grad_enabled() else y


def detached(y):
    return y.detach()


def on_the_cloud(split, *args):
    """The answer by way of all three tiers, computed by the last one."""
    split.infer(*args)
    n = len(split.graph)
    return split.infer_on(f"end:0-0 | edge:0-0 | cloud:0-{n}", *args)


def test_what_is_around_the_call():
    model, x = Looks(), torch.rand(2, 4)
    with EdgeSplit(model, config=EXACT) as split:
        for mode in (torch.enable_grad, torch.no_grad, torch.inference_mode):
            with mode():
                assert torch.equal(on_the_cloud(split, x), detached(model(x)))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(on_the_cloud(split, x), detached(model(x)))
        torch.set_default_dtype(torch.float64)
        try:
            y, expected = on_the_cloud(split, x), detached(model(x))
        finally:
            torch.set_default_dtype(torch.float32)
        assert y.dtype == expected.dtype == torch.float64
        assert torch.equal(y, expected)
        assert torch.equal(on_the_cloud(split, x), detached(model(x)))
        with torch.device("meta"), pytest.raises(InputError, match="default device meta"):
            split.infer(x)


def test_other_surroundings_prepare_nothing_where_the_model_does_not_look():
    model, x = nn.Linear(4, 4), torch.rand(2, 4)
    with EdgeSplit(model, config=EXACT) as split:
        split.infer(x)
        exported, graph = split.exported, split.graph
        with torch.no_grad():
            assert torch.equal(split.infer(x), model(x))
        assert split.exported is exported
        assert split.graph is graph


def test_parts_left_in_training():
    model = nn.Sequential(nn.Linear(8, 64), nn.Dropout(0.5), nn.Linear(64, 2)).eval()
    x = torch.rand(1, 8)
    expected = detached(model(x))
    model[1].train()
    with EdgeSplit(model, config=EXACT) as split:
        with pytest.warns(TrainingModeWarning, match=r"1 \(Dropout\).*mode='as-is'") as caught:
            assert torch.equal(split.infer(x), expected)
        assert caught[0].filename == __file__
        assert torch.equal(split.infer(x), expected)
    with EdgeSplit(model, config=Config(exact=True, mode="as-is")) as split:
        assert len({tuple(on_the_cloud(split, x).flatten().tolist()) for _ in range(5)}) == 5
    assert model[1].training


class Writes(nn.Module):
    def forward(self, a, b):
        a.mul_(2)
        return a + b


def test_inputs_that_share_memory():
    x = torch.rand(2, 4)
    with EdgeSplit(Writes(), config=EXACT) as split:
        before = x.clone()
        assert torch.equal(split.infer(x, x.clone()), before * 2 + before)
        assert torch.equal(x, before)
        with pytest.raises(InputError, match=r"inputs 0 and 1 share memory.*clone"):
            split.infer(x, x)


def test_a_changed_model_is_said_once_and_never_seen():
    """The same shape, another one, and the caller's own process when no tier is left."""
    model, x = nn.Sequential(nn.Linear(4, 4), nn.Tanh()), torch.rand(1, 4)
    other = torch.rand(2, 3, 4)
    expected, expected_other = detached(model(x)), detached(model(other))
    with EdgeSplit(model, config=EXACT) as split:
        assert torch.equal(split.infer(x), expected)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(3)
        with pytest.warns(ModelChangedWarning, match=r"0\.weight, 0\.bias") as caught:
            assert torch.equal(split.infer(x), expected)
        assert caught[0].filename == __file__
        assert torch.equal(split.infer(other), expected_other)
        assert all(torch.equal(y, expected) for y in split.map([x, x]))
        for process in psutil.Process().children(recursive=True):
            if "SegmentActor" in " ".join(process.cmdline() or [""]):
                os.kill(process.pid, signal.SIGKILL)
        assert torch.equal(split.infer(x), expected)
