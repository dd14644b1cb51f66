"""Runtimes on the embedded cluster: chosen with the plan, right, named where they cannot run."""

import warnings

import pytest
import torch
from conftest import small_net

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.runtimes import UnusedRuntimeWarning
from edgesplit.errors import PlanError, UnknownNameError


@pytest.fixture(scope="module")
def model():
    return small_net()


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def whole(model, x):
    with torch.no_grad():
        return model.eval()(x)


def test_every_cut_in_every_runtime_is_right_and_recorded(model, x):
    config = Config(runtimes=("torch", "onnx", "torch-channels-last"))
    with EdgeSplit(model, config=config) as split:
        split.infer(x)
        for cut in range(9):
            for here in ("onnx", "torch-channels-last", "torch"):
                plan = f"end[{here}]:0-{cut} | edge[onnx]:{cut}-8"
                assert torch.allclose(split.infer_on(plan, x), whole(model, x), rtol=1e-4)
        sample = split.last_record().samples[0]
        assert sample.runtime == "torch"
        text = str(split.explain())
        assert set(split.profile().offered["end"]) == {"torch", "onnx", "torch-channels-last"}
        two = torch.cat([x, x])
        assert torch.allclose(split.infer(two), whole(model, two), rtol=1e-4)
    assert "onnx" in text
    assert "error" in text


def test_without_torch_in_the_list_another_runs_where_it_can(model, x):
    with EdgeSplit(model, config=Config(runtimes=("onnx",))) as split:
        y = split.infer(x)
        assert {s.runtime for s in split.plan.stages if len(s)} == {"onnx"}
        assert torch.allclose(y, whole(model, x), rtol=1e-4)
        with pytest.raises(PlanError, match="has no runtime 'torch'"):
            split.infer_on("end:0-8", x)


def test_only_the_same_bits_leaves_torch(model, x):
    config = Config(runtimes=("torch", "onnx"), exact=True)
    with EdgeSplit(model, config=config) as split:
        with pytest.warns(UnusedRuntimeWarning, match=r"does not run onnx.*nothing is allowed"):
            split.infer(x)
        assert split.profile().offered["end"] == ("torch",)
        with pytest.raises(PlanError, match="has no runtime 'onnx'; it has torch"):
            split.infer_on("end[onnx]:0-8", x)


def test_a_runtime_that_is_not_here_is_named_and_left_out(model, x):
    if torch.cuda.is_available():
        pytest.skip("this host has a GPU")
    with EdgeSplit(model, config=Config(runtimes=("torch", "cuda"))) as split:
        with pytest.warns(UnusedRuntimeWarning, match=r"tier '\w+' does not run cuda"):
            y = split.infer(x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(y, split.infer(x))


@pytest.mark.parametrize("runtimes", [("tensorrt",), ()])
def test_unknown_runtimes_are_refused(runtimes):
    with pytest.raises(UnknownNameError, match="runtimes are torch, torch-channels-last, onnx"):
        Config(runtimes=runtimes)
