"""What a tier runs for several requests at once: found beside requests, kept, given up."""

import os
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from runtime_cases import case, case_of
from torch import nn

from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.program.shipping import pack
from edgesplit.node.runtime.check import Exactness, difference
from edgesplit.node.runtime.noise import noise_trials
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.tier.job import Ran
from edgesplit.node.tier.tier_workload import TierWorkload

pytestmark = pytest.mark.usefixtures("one_thread")
USUAL = Exactness()
ROOT = Path(__file__).parents[3]
SIDE = 8
DEPTH = 30


class Deep(nn.Module):
    """What takes the time is calling operators, whatever the number of requests in a call."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(SIDE, SIDE) for _ in range(DEPTH))

    def forward(self, x):
        for layer in self.layers:
            x = x + torch.tanh(layer(x))
        return x


class DeepCentred(Deep):
    """Half way the rows look at each other."""

    def forward(self, x):
        y = super().forward(x)
        return super().forward(y - y.mean(0) / 2)


N = 3 * DEPTH


class Picks(nn.Module):
    """As many columns as there are positive numbers in the first row."""

    def forward(self, x):
        y = x * 2
        return y[:, y[0] > 0] + 1


@pytest.fixture(scope="module")
def deep():
    torch.manual_seed(0)
    return case_of(Deep(), [torch.randn(1, SIDE)])


def tier_of(sample, limit_bytes=1e9):
    cache = PreparedCache(limit_bytes, 16)
    tier = TierWorkload("w", TorchEngine(sample.program, sample.workload.forms, 1), cache)
    tier.profile(sample.values, unslotted)
    return tier


def with_onnx(sample, limit_bytes=1e9):
    tier = tier_of(sample, limit_bytes)
    tier.offer("onnx", sample.graph)
    return tier


@pytest.mark.parametrize("runtime", ["torch", "onnx"])
@pytest.mark.parametrize("bounds", [(0, N), (N // 3, N)])
def test_a_range_that_gains_runs_several(deep, runtime, bounds):
    tier = with_onnx(deep)
    assert tier.batch(*bounds, runtime) is None
    tier.measure_batch(*bounds, runtime, USUAL, unslotted)
    assert tier.why_alone(*bounds, runtime) == ""
    batched = tier.batch(*bounds, runtime)
    assert 2 <= batched.most <= 16
    assert batched.times.best(batched.most) == batched.most
    before, alone = deep.program.segment(0, bounds[0]), deep.program.segment(*bounds)
    payloads = [before([torch.randn(1, SIDE)]) for _ in range(batched.most)]
    assert max(map(difference, batched(payloads), map(alone, payloads))) <= 1e-5


def test_every_run_has_a_run_slot(deep):
    """Whatever is computed is computed on the thread that serves requests."""
    tier, inside, ran = with_onnx(deep), threading.local(), []
    inside.is_in = False

    def run_slot(run):
        inside.is_in = True
        try:
            return run()
        finally:
            inside.is_in = False

    eager = tier.engine.program.segment(0, N)
    before = type(eager).__call__

    def watched(segment, values):
        ran.append(inside.is_in)
        return before(segment, values)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(eager), "__call__", watched)
        tier.measure_batch(0, N, "torch", USUAL, run_slot)
    assert len(ran) > 20
    assert all(ran)


def test_exact_results_are_those_of_single_runs(deep):
    tier = tier_of(deep)
    tier.measure_batch(0, N, "torch", Exactness(exact=True), unslotted)
    assert tier.batch(0, N) is None


def test_before_anything_is_known_of_the_workload(deep):
    cache = PreparedCache(1e9, 16)
    tier = TierWorkload("w", TorchEngine(deep.program, deep.workload.forms, 1), cache)
    tier.measure_batch(0, N, "torch", USUAL, unslotted)
    assert tier.batch(0, N) is None
    assert tier.why_alone(0, N) == ""  # it may still be looked at


def test_what_looks_across_the_batch_runs_alone():
    sample = case_of(DeepCentred(), [torch.randn(1, SIDE)])
    tier = tier_of(sample)
    whole = (0, len(sample.program))
    for bounds in (whole, (0, N)):
        tier.measure_batch(*bounds, "torch", USUAL, unslotted)
    assert tier.batch(*whole) is None
    assert "look across the batch" in tier.why_alone(*whole)
    assert tier.batch(0, N).most > 1  # up to there they do not


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("Control", "branches in the model"),
        ("Positions", "another answer|differs"),
        ("Picks", "shapes in this model depend on values"),
    ],
)
def test_why_a_model_runs_alone(name, why):
    sample = case_of(Picks(), [torch.randn(1, 6)]) if name == "Picks" else case(name)
    tier = tier_of(sample)
    n = len(sample.program)
    tier.measure_batch(0, n, "torch", USUAL, unslotted)
    assert tier.batch(0, n) is None
    assert re.search(why, tier.why_alone(0, n))


def test_a_verdict_is_found_once(deep):
    tier = tier_of(case("Control"))
    tier.measure_batch(0, N, "torch", USUAL, unslotted)
    why = tier.why_alone(0, N)
    assert why

    def run_slot(run):
        pytest.fail("it was measured again")

    tier.measure_batch(0, N, "torch", USUAL, run_slot)
    assert tier.why_alone(0, N) == why


def test_while_one_thread_measures_others_go_on(deep):
    tier, entered, leave = tier_of(deep), threading.Event(), threading.Event()

    def run_slot(run):
        entered.set()
        assert leave.wait(10)
        return run()

    thread = threading.Thread(target=tier.measure_batch, args=(0, N, "torch", USUAL, run_slot))
    thread.start()
    assert entered.wait(10)
    tier.measure_batch(0, N, "torch", USUAL, lambda run: pytest.fail("both measure"))
    leave.set()
    thread.join(60)
    assert tier.batch(0, N) is not None


def test_a_range_that_the_cache_has_dropped_is_built_again(deep):
    """Its seconds are known: nothing is measured a second time."""
    tier = with_onnx(deep)
    tier.measure_batch(0, N, "onnx", USUAL, unslotted)
    times = tier.batch(0, N, "onnx").times
    tier.drop_prepared()
    assert tier.batch(0, N, "onnx") is None
    runs = []

    def run_slot(run):
        runs.append(run)
        return run()

    tier.measure_batch(0, N, "onnx", USUAL, run_slot)
    assert tier.batch(0, N, "onnx").times == times
    assert len(runs) <= 1


def test_nothing_is_kept_of_a_range_that_runs_alone():
    sample = case("Attention")
    tier, n = with_onnx(sample), len(sample.program)
    tier.measure_batch(0, n, "onnx", USUAL, unslotted)
    assert tier.why_alone(0, n, "onnx")
    assert ("w", "onnx", 0, n, "batched") not in tier.cache


def test_a_payload_that_onnx_may_lose_stops_the_batch_only(deep):
    """NaN: each request is then run alone, and the one that holds it in torch."""
    tier = with_onnx(deep)
    tier.measure_batch(0, N, "onnx", USUAL, unslotted)
    x = torch.randn(1, SIDE)
    with pytest.raises(Exception, match="NaN or infinity"):
        tier.batch(0, N, "onnx")([[x], [x * float("nan")]])


def test_what_was_wrong_in_a_batch_runs_alone_from_then_on(deep):
    """The runtime stays: its single runs were not wrong."""
    tier = with_onnx(deep)
    for runtime in ("torch", "onnx"):
        tier.measure_batch(0, N, runtime, USUAL, unslotted)
    x = torch.randn(1, SIDE)
    wrong = [deep.program.segment(0, N)([x])[0] + 1]
    tier.ran(Ran(0, N, "onnx", [x], wrong, 0.01, requests=2))
    assert tier.recheck.wait(10)
    assert tier.batch(0, N, "onnx") is None
    assert "differs from torch" in tier.why_alone(0, N, "onnx")
    assert tier.given_up == {}
    assert tier.segment(0, N, "onnx") is not None
    assert tier.batch(0, N, "torch") is not None


def test_a_runtime_that_is_given_up_takes_its_batches_with_it(deep):
    tier = with_onnx(deep)
    tier.measure_batch(0, N, "onnx", USUAL, unslotted)
    tier.give_up("onnx", "it was wrong")
    assert tier.batch(0, N, "onnx") is None


@pytest.mark.parametrize("runtime", ["compile", "cuda"])
def test_runtimes_of_one_request(deep, runtime):
    tier = tier_of(deep)
    tier.offer(runtime, None)
    made = tier.engine.runtime(runtime, None)
    with pytest.raises(Exception, match="one request at a time"):
        made.prepare_batched(0, N, (0,))


WITHOUT_TORCH = """
import os, pickle, sys
for name in ("torch", "torchvision"):
    sys.modules[name] = None
import numpy as np
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.array_engine import ArrayEngine
from edgesplit.node.runtime.check import Exactness, difference
from edgesplit.node.tier.tier_workload import TierWorkload

with open(os.environ["SENT"], "rb") as file:
    packed, forms, graph, trials, n = pickle.load(file)
tier = TierWorkload("w", ArrayEngine(packed, forms, 1), PreparedCache(1e9, 16))
tier.expect(trials, [1.0] * n)
tier.offer("onnx", graph)
for start, stop in ((0, n), (n // 3, n)):
    tier.measure_batch(start, stop, "onnx", Exactness(), unslotted)
    batched = tier.batch(start, stop, "onnx")
    assert batched is not None, tier.why_alone(start, stop, "onnx")
    alone = tier.segment(start, stop, "onnx")
    before = tier.segment(0, start, "onnx" if start else "torch")
    payloads = [before(values) for _, values, _ in trials][: batched.most]
    made = batched(payloads)
    assert len(made) == len(payloads) > 1
    assert max(map(difference, made, map(alone, payloads))) < 1e-5
print("done")
"""


def test_a_tier_without_torch(deep, tmp_path):
    """Arrays in ONNX Runtime: how requests lie side by side, the graph's sizes tell."""
    whole = deep.program.segment(0, N)
    given = [deep.values, *(trial.make() for trial in noise_trials(deep.program, deep.values))]
    trials = [
        (f"trial {at}", [v.numpy() for v in values], [v.numpy() for v in whole(values)])
        for at, values in enumerate(given)
    ]
    packed = pack(deep.program)
    sent = tmp_path / "sent.pickle"
    sent.write_bytes(pickle.dumps((packed, deep.workload.forms, deep.graph, trials, N)))
    env = {**os.environ, "SENT": str(sent)}
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_TORCH],
        env=env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (done.stdout, done.returncode) == ("done\n", 0), done.stderr
