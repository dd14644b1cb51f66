"""Lossy runtimes: how their graphs are written, what plans are offered, what explain() says."""

import math
import os
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.measure.graphs import GraphWriter
from edgesplit.cluster.measure.runtimes import (
    Offered,
    Runtimes,
    RuntimeTask,
    UnusedRuntimeWarning,
)
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.power import Power
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.process.imports import Imports
from edgesplit.node.program.export.model import export
from edgesplit.node.program.shipping import pack
from edgesplit.node.runtime.onnx_quantized import QuantizedGraph
from edgesplit.node.transport.packed_payload import pack_payload
from experiments.shared.small_net import small_net


def test_the_writing_process_quantises_on_the_examples(monkeypatch):
    monkeypatch.setattr(os, "nice", lambda by: by)  # that process is this one here
    x = torch.rand(1, 6)
    exported = export(nn.Sequential(nn.Linear(6, 6), nn.ReLU()).eval(), (x,))
    sent = pack(exported.program), pack_payload(exported.flatten((x,)))
    imports = Imports((), ())
    examples = [pack_payload([torch.rand(1, 6)]) for _ in range(3)]
    written = GraphWriter().write("onnx-int8", *sent, examples, imports)
    assert isinstance(written, QuantizedGraph)
    assert not isinstance(GraphWriter().write("onnx", *sent, (), imports), QuantizedGraph)
    with pytest.raises(RuntimeUnavailableError, match="at least one example"):
        GraphWriter().write("onnx-int8", *sent, (), imports)


def test_layer_times_of_a_lossy_runtime_say_that_their_loss_is_not_known():
    offered = Offered("end", "onnx-int8", LayerTimes("onnx-int8", (0.1,))).without_known_loss()
    assert offered.times == LayerTimes("onnx-int8", (0.1,), loss=math.inf)
    exact = Offered("end", "onnx", LayerTimes("onnx", (0.1,)))
    assert exact.without_known_loss() is exact


class BareTier:
    """A tier without torch that runs what it is asked to; it says whatever is waited for."""

    def __init__(self):
        self.actors = {"end": SimpleNamespace(refusal=SimpleNamespace(remote=lambda *asked: ""))}

    def call(self, tier, method, *args):
        return LayerTimes(args[1], (1.0,)) if method == "measure_runtime" else None

    def ref(self, shared):
        return shared

    def get(self, call, what, *timeout):
        return call


@pytest.mark.parametrize("wanted", [("onnx-int8",), ("onnx-int8", "onnx"), ("onnx", "onnx-int8")])
def test_a_tier_without_torch_has_nothing_lossy_that_passes_for_exact(monkeypatch, wanted):
    monkeypatch.setattr("edgesplit.cluster.measure.runtimes.write_graph", lambda *args: object())
    x, tier = torch.rand(1, 6), BareTier()
    exported = export(nn.Sequential(nn.Linear(6, 6)).eval(), (x,))
    task = RuntimeTask(
        "w", exported.program, ("p", None), exported.flatten((x,)), None, calibration=object()
    )
    opened = {
        "end": SimpleNamespace(has_torch=False, host="a", power=Power(1, 1, 1, 1), metering=None)
    }
    runtimes = Runtimes(tier, opened, Config(runtimes=wanted), tier.get)
    [found] = runtimes.tiers(task)
    assert found.loss_in("onnx-int8") == math.inf
    assert found.loss_in("onnx") is None


def settled(split, x):
    split.infer(x)
    split.wait_for_runtimes()


@pytest.mark.usefixtures("one_cluster")
@pytest.mark.parametrize(
    ("exact", "why"),
    [(False, "is calibrated on examples: give EdgeSplit"), (True, "exact=True allows no")],
)
def test_a_session_that_only_names_it_says_what_is_missing(exact, why):
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    config = Config(runtimes=("torch", "onnx-int8"), exact=exact)
    with EdgeSplit(small_net(), config=config) as split:
        with pytest.warns(UnusedRuntimeWarning, match=f"does not run onnx-int8: onnx-int8.*{why}"):
            settled(split, x)
        assert split.profile.offered["end"] == ("torch",)
        text = str(split.explain())
        assert "end does not use onnx-int8: onnx-int8 is " in text
        assert why in text
