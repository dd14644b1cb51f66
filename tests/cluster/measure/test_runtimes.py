"""Runtimes on the embedded cluster: chosen with the plan, right, named where they cannot run."""

import math
import re
import time
import warnings

import pytest
import torch
from click.testing import CliRunner
from cluster_models import Enlarges
from memory_limit import held_to
from torch import nn

from edgesplit import Config, EdgeSplit, Emulation, Goal, parse_plan
from edgesplit.cli import main
from edgesplit.cluster.measure.runtimes import UnusedRuntimeWarning
from edgesplit.errors import PlanError, UnknownNameError
from edgesplit.node.process.headroom import KEPT_BYTES
from experiments.chaos.faults import process_of
from experiments.shared.small_net import small_net

pytestmark = pytest.mark.usefixtures("one_cluster")


@pytest.fixture(scope="module")
def model():
    return small_net()


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


def whole(model, x):
    with torch.no_grad():
        return model.eval()(x)


def settled(split, x):
    """The first answer, once every runtime has been measured."""
    y = split.infer(x)
    split.wait_for_runtimes()
    return y


def test_every_cut_in_every_runtime_is_right_and_recorded(model, x):
    config = Config(runtimes=("torch", "onnx", "torch-channels-last"))
    with EdgeSplit(model, config=config) as split:
        assert torch.equal(split.infer(x), split.infer_on("end:0-8", x))
        split.wait_for_runtimes()
        for cut in range(9):
            for here in ("onnx", "torch-channels-last", "torch"):
                plan = f"end[{here}]:0-{cut} | edge[onnx]:{cut}-8"
                assert torch.allclose(split.infer_on(plan, x), whole(model, x), rtol=1e-4)
        sample = split.last_record.timings[0]
        assert sample.runtime == "torch"
        text = str(split.explain())
        assert set(split.profile.offered["end"]) == {"torch", "onnx", "torch-channels-last"}
        two = torch.cat([x, x])
        assert torch.allclose(split.infer(two), whole(model, two), rtol=1e-4)
        split.wait_for_runtimes()
        assert set(split.profile.offered["end"]) == {"torch", "onnx", "torch-channels-last"}
        assert torch.allclose(split.infer_on("end[onnx]:0-8", two), whole(model, two), rtol=1e-4)
    assert "onnx" in text
    assert "error" in text


def test_without_torch_in_the_list_another_runs_where_it_can(model, x):
    with EdgeSplit(model, config=Config(runtimes=("onnx",))) as split:
        y = split.infer(x)
        assert {s.runtime for s in split.plan.stages if len(s)} == {"onnx"}
        assert torch.allclose(y, whole(model, x), rtol=1e-4)
        with pytest.raises(PlanError, match="has no runtime 'torch'"):
            split.infer_on("end:0-8", x)


def test_where_memory_is_short_the_plan_stays_and_requests_are_run_in_torch(model, x):
    """Held to the 64 MiB that have to stay free: nothing with weights of its own can be built."""
    far = "end:0-4 | edge[onnx]:4-8"

    def policy(graph, profile, goal):
        return parse_plan(far if goal.end_energy else "end:0-8")

    two = ("end", "edge")
    config = Config(tiers=two, emulation=Emulation(), runtimes=("torch", "onnx"))
    at_home, saving = Goal(0.0, 0.0, 1.0), Goal(1.0, 0.0, 0.0)
    with EdgeSplit(model, goal=at_home, policy=policy, config=config) as split:
        expected = settled(split, x)
        with held_to(process_of(split, "edge").pid, KEPT_BYTES):
            assert torch.allclose(split.infer_on(far, x), expected, rtol=1e-4)
            assert [s.runtime for s in split.last_record.timings] == ["torch", "torch"]
            split.set_goal(saving)
            until_s = time.monotonic() + 2.0  # without the limit it takes 0.2 s
            while time.monotonic() < until_s:
                assert torch.equal(split.infer(x), expected)
                assert str(split.plan) == "end:0-8"
        assert torch.allclose(split.infer_on(far, x), expected, rtol=1e-4)
        assert [s.runtime for s in split.last_record.timings] == ["torch", "onnx"]


def test_by_itself_a_session_moves_to_the_quicker_runtime_while_requests_flow(model, x):
    with EdgeSplit(model, policy="end-only", config=Config(emulation=Emulation())) as split:
        first = split.infer(x)
        assert str(split.plan) == "end:0-8"
        until_s = time.monotonic() + 60
        while "onnx" not in split.profile.offered["cloud"] and time.monotonic() < until_s:
            assert torch.allclose(split.infer(x), first, rtol=1e-4)
        split.wait_for_runtimes()
        assert split.profile.offered == dict.fromkeys(("end", "edge", "cloud"), ("torch", "onnx"))
        assert " onnx " in str(split.explain())


def test_a_pin_for_one_tier_leaves_the_others_alone(model, x):
    with EdgeSplit(model, runtime={"end": "onnx"}) as split:
        split.infer(x)
        assert split.profile.offered["end"] == ("onnx",)
        assert split.profile.offered["edge"] == ("torch", "onnx")
    with pytest.raises(UnknownNameError, match="no tier 'mars'"):
        EdgeSplit(model, runtime={"mars": "onnx"})


def test_only_the_same_bits_leaves_torch(model, x):
    config = Config(runtimes=("torch", "onnx"), exact=True)
    with EdgeSplit(model, config=config) as split:
        with pytest.warns(UnusedRuntimeWarning, match=r"does not run onnx.*nothing is allowed"):
            settled(split, x)
        assert "end does not use onnx: onnx on the whole model differs" in str(split.explain())
        assert split.profile.offered["end"] == ("torch",)
        with pytest.raises(PlanError, match="has no runtime 'onnx'; it has torch"):
            split.infer_on("end[onnx]:0-8", x)


def test_a_runtime_that_is_not_here_is_named_and_left_out(model, x):
    if torch.cuda.is_available():
        pytest.skip("this host has a GPU")
    with EdgeSplit(model, config=Config(runtimes=("torch", "cuda"))) as split:
        with pytest.warns(UnusedRuntimeWarning, match=r"tier '\w+' does not run cuda"):
            y = settled(split, x)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert torch.equal(y, split.infer(x))


@pytest.mark.parametrize("runtimes", [("tensorrt",), ()])
def test_unknown_runtimes_are_refused(runtimes):
    with pytest.raises(UnknownNameError, match="runtimes are several of torch, torch-channels"):
        Config(runtimes=runtimes)


def test_a_warm_up_on_zeros_tells_nothing(x):
    torch.manual_seed(0)
    model = Enlarges(-1e9)
    y = torch.rand(1, 3, 26, 26)
    with EdgeSplit(model) as split:
        settled(split, torch.zeros(1, 3, 26, 26))
        assert torch.allclose(split.infer(y), whole(model, y), rtol=1e-4)
        offered = split.profile.offered["end"]
        assert "onnx" not in offered or torch.allclose(
            split.infer_on("end[onnx]:0-2", y), whole(model, y), rtol=1e-4
        )


def test_nan_is_passed_on_as_the_model_does_it(x):
    """ONNX Runtime's max-pool drops it: such a request is run in torch, and its record says so."""
    model = nn.Sequential(nn.MaxPool2d(2), nn.ReLU())
    x = x.clone()
    with EdgeSplit(model, config=Config(runtimes=("torch", "onnx"))) as split:
        settled(split, x)
        plan = "end[onnx]:0-1 | edge[onnx]:1-2"
        assert torch.equal(split.infer_on(plan, x), whole(model, x))
        assert [s.runtime for s in split.last_record.timings] == ["onnx", "onnx"]
        x[0, 0, 3, 3] = math.nan
        assert torch.equal(split.infer_on(plan, x).isnan(), whole(model, x).isnan())
        assert [s.runtime for s in split.last_record.timings] == ["torch", "torch"]
        assert split.last_record.why == ""


@pytest.mark.parametrize("runtimes", [("torch", "onnx"), ("onnx",)], ids=["beside torch", "alone"])
def test_a_runtime_that_is_wrong_on_a_request_is_given_up_everywhere(runtimes):
    torch.manual_seed(0)
    model = Enlarges(5.0)  # no noise is above that all over
    shown = 6 + torch.rand(1, 3, 26, 26)
    with EdgeSplit(model, config=Config(runtimes=runtimes)) as split:
        settled(split, torch.zeros(1, 3, 26, 26))
        n = len(split.graph)
        assert "onnx" in split.profile.offered["edge"], split.explain()
        plan = f"end:0-0 | edge[onnx]:0-{n}"
        until_s = time.monotonic() + 60
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            wrong = split.infer_on(plan, shown)
            assert split.last_record.timings[1].runtime == "onnx"
            while split.profile.offered["cloud"] != ("torch",) and time.monotonic() < until_s:
                time.sleep(0.1)
        if torch.allclose(wrong, whole(model, shown), rtol=1e-4):
            pytest.skip("this ONNX Runtime resizes as torch does")
        assert split.profile.offered == dict.fromkeys(("end", "edge", "cloud"), ("torch",))
        (warning,) = (w for w in caught if issubclass(w.category, UnusedRuntimeWarning))
        said = rf"onnx is not used .* onnx on layers 0-{n} differs from torch by .* \(tier 'edge'\)"
        assert re.search(said, str(warning.message))
        unused = f"cloud does not use onnx: onnx on layers 0-{n} differs"
        assert unused in str(split.explain())
        assert unused in CliRunner().invoke(main, ["status"]).output
        until_s = time.monotonic() + 60
        while "onnx" in str(split.plan) and time.monotonic() < until_s:
            assert torch.equal(split.infer(shown), whole(model, shown))
        assert "onnx" not in str(split.plan)
        with pytest.raises(PlanError, match="has no runtime 'onnx'"):
            split.infer_on(plan, shown)
