"""What a session measures when it opens, and what the next one takes over from its hosts."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from inside_session import workload_of
from torch import nn

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.measure.runtimes import Runtimes
from edgesplit.core.layer_times import LayerTimes
from edgesplit.node.program.host_programs import cache_folder

OPERATORS = """
import time
import torch


@torch.library.custom_op("edgesplit_profiles::waits", mutates_args=())
def waits(x: torch.Tensor) -> torch.Tensor:
    time.sleep(0.3)
    return x + 1


@waits.register_fake
def _(x):
    return torch.empty_like(x)
"""


class Waits(nn.Module):
    """Takes as long on a busy machine: a look does not differ from what was measured."""

    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 4)

    def forward(self, x):
        return self.inner(torch.ops.edgesplit_profiles.waits(x))


@pytest.fixture(scope="module")
def operators(tmp_path_factory):
    """A module that only this process's sys.path leads to."""
    folder = tmp_path_factory.mktemp("operators")
    (folder / "edgesplit_waits.py").write_text(OPERATORS)
    sys.path.append(str(folder))
    yield "edgesplit_waits"
    sys.path.remove(str(folder))


def kept_of(split):
    """By file of the program's: when its layer times were measured."""
    name = workload_of(split).shipped.described.name
    files = Path(cache_folder() / "programs" / name / "profiles").iterdir()
    return {file.name: json.loads(file.read_bytes())["times"]["measured_s"] for file in files}


@pytest.mark.usefixtures("one_cluster")
def test_a_second_session_measures_no_layer_again(operators):
    model, x = Waits(), torch.randn(2, 4)  # random weights: a program that nobody has had
    config = Config(runtimes=("torch",), imports=(operators,))
    with EdgeSplit(model, config=config) as split:
        first = split.infer(x)
        measured = kept_of(split)
        said = str(split.explain())
    with EdgeSplit(model, config=config) as split:
        assert torch.equal(split.infer(x), first)
        assert kept_of(split) == measured
    assert len(measured) == 1  # three tiers of one machine measure once
    assert "end torch, edge torch, cloud torch: emulated, measured 2" in said


class Log:
    """Actors that tell when a profile is begun and when its answer is waited for."""

    def __init__(self, refusals=()):
        self.told, self.refusals = [], dict(refusals)
        self.actors = {tier: self._actor(tier) for tier in ("end", "edge", "cloud")}

    def _actor(self, tier):
        why = self.refusals.get(tier, "")
        return SimpleNamespace(refusal=SimpleNamespace(remote=lambda *asked: why))

    def call(self, tier, method, *args):
        self.told.append(f"{method} {tier}")
        return LayerTimes(args[1] if method == "measure_runtime" else "torch", (1.0,), "measured")

    def get(self, call, what, *timeout):
        if "profile" in what:
            self.told.append(f"answer {what.split(chr(39))[1]}")
        return call


def runtimes(log, hosts, wanted="torch-channels-last"):
    opened = {
        tier: SimpleNamespace(has_torch=True, host=host)
        for tier, host in zip(log.actors, hosts, strict=True)
    }
    config = Config(runtimes=("torch", wanted))
    return Runtimes(log, opened, config, log.get, "emulated, ")


TASK = SimpleNamespace(id="w", example=None, whole_s={}, calibration=None)


@pytest.mark.parametrize(
    ("hosts", "told"),
    [
        ("aaa", "profile end, answer end, profile edge, answer edge, profile cloud, answer cloud"),
        ("abc", "profile end, profile edge, profile cloud, answer end, answer edge, answer cloud"),
        ("aba", "profile end, profile edge, answer end, answer edge, profile cloud, answer cloud"),
    ],
)
def test_tiers_on_machines_of_their_own_are_measured_at_once(hosts, told):
    log = Log()
    found = runtimes(log, hosts).eager(TASK)
    assert ", ".join(log.told) == told
    assert {times.provenance for times in found.values()} == {"emulated, measured"}


def test_a_runtime_that_an_earlier_session_refused_is_not_measured():
    log = Log({"edge": "too far off"})
    offered = {one.tier: one for one in runtimes(log, "abc").measure(TASK)}
    assert log.told == [f"measure_runtime {tier}" for tier in ("end", "cloud")]
    assert offered["edge"].why == "too far off"
    assert offered["cloud"].times.provenance == "emulated, measured"


def test_no_graph_is_written_for_a_runtime_that_every_tier_refuses():
    log = Log(dict.fromkeys(("end", "edge", "cloud"), "too far off"))
    # Without a program in the task none could be.
    offered = list(runtimes(log, "abc", "onnx").measure(TASK))
    assert [one.why for one in offered] == ["too far off"] * 3


def test_where_only_torch_is_wanted_no_other_size_is_timed():
    log = Log()
    opened = {tier: SimpleNamespace(has_torch=True, host=tier) for tier in log.actors}
    only_torch = Runtimes(log, opened, Config(runtimes=("torch",)), log.get)
    scaled = SimpleNamespace(id="w", example=None, whole_s=dict.fromkeys(log.actors, 1.0))
    assert list(only_torch.measure(scaled)) == []
    assert log.told == []
