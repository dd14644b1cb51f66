"""ONNX Runtime on a host without torch, and what a range costs there in memory."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from runtime_cases import case, case_of
from torch import nn, zeros

ROOT = Path(__file__).parents[3]
BEGIN = """
import os, pickle, sys
for name in ("torch", "torchvision"):
    sys.modules[name] = None
import numpy as np
from edgesplit.node.runtime.check import compare
from edgesplit.node.runtime.onnx import OnnxRuntime

with open(os.environ["SENT"], "rb") as file:
    graph, weights, payloads = pickle.load(file)
runtime = OnnxRuntime(graph, weights, threads=1)
n = len(graph)
"""
RUNS = """
for start, stop in ((0, n), (0, n // 2), (n // 2, n), (3, 3)):
    made = runtime.prepare(start, stop)(payloads[start])
    assert all(isinstance(value, np.ndarray | int) for value in made)
    plain = [np.array(v, order="C") if isinstance(v, np.ndarray) else v for v in made]
    expected = [np.array(v, order="C") if isinstance(v, np.ndarray) else v for v in payloads[stop]]
    assert compare(lambda _: plain, lambda _: expected, []) < 1e-5
    for number, value in zip(graph.live_values[stop], made):
        passes = number in graph.live_values[start]
        wanted = graph.forms[number]
        if isinstance(value, np.ndarray) and not passes:
            assert tuple(s // value.itemsize for s in value.strides) == wanted.strides
print("done")
"""
# A first range loads the libraries, so that the second one shows what a range costs.
MEASURES = """
def resident_bytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

runtime.prepare(1, 2)(payloads[1])
before = resident_bytes()
prepared = runtime.prepare(0, n)
prepared(payloads[0])
grown = resident_bytes() - before
print(grown, prepared.n_bytes, sum(weight.nbytes for weight in weights))
"""


def on_device(sample, source, tmp_path):
    """What a process without torch prints that runs `source` on the sample."""
    path = tmp_path / "sent.pickle"
    weights = [weight.detach().numpy() for weight in sample.program.weights]
    payloads = [[v if isinstance(v, int) else v.numpy() for v in p] for p in sample.payloads]
    path.write_bytes(pickle.dumps((sample.graph, weights, payloads), protocol=5))
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", BEGIN + source],
        env={**os.environ, "PYTHONPATH": str(ROOT), "SENT": str(path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", ["UNet", "Masked", "Positions", "Laid"])
def test_ranges_run_on_arrays_without_torch(name, tmp_path):
    assert on_device(case(name), RUNS, tmp_path) == "done\n"


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc/self/statm here")
@pytest.mark.parametrize("kind", ["linear", "convolution"])
def test_a_range_keeps_one_copy_of_its_weights(kind, tmp_path):
    """In ONNX Runtime's own layout; n_bytes says how much. Not the two to four that were there."""
    if kind == "linear":
        model = nn.Sequential(*[nn.Linear(2048, 2048) for _ in range(4)])
        sample = case_of(model, [zeros(1, 2048)])
    else:
        model = nn.Sequential(*[nn.Conv2d(512, 512, 3, padding=1) for _ in range(6)])
        sample = case_of(model, [zeros(1, 512, 4, 4)])
    grown, n_bytes, weight_bytes = map(int, on_device(sample, MEASURES, tmp_path).split())
    assert weight_bytes > 50e6
    assert weight_bytes < n_bytes < 1.1 * weight_bytes
    assert grown < 1.3 * n_bytes
