"""A host without torch: frames and relays, and the tier's actor with a program in ONNX Runtime."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgesplit.node.model import export, exporting
from edgesplit.node.packed_payload import pack_payload
from edgesplit.node.profiler import payload_forms
from edgesplit.node.runtime.onnx_export import export_graph
from edgesplit.node.shipping import pack

ROOT = Path(__file__).parents[2]
BLOCKED = "import sys\nfor name in ('torch', 'torchvision'): sys.modules[name] = None\n"
SERVES = """
import numpy as np
from tiers import tiers

with tiers() as three:
    x = np.arange(15, dtype=np.float32).reshape(3, 5).T
    route = [("end", 0, 0), ("edge", 0, 5), ("cloud", 5, 9)]
    answer = three.infer([x, 7], route)
    assert np.array_equal(answer.values[0], x + 36)
    assert answer.values[0].strides == x.strides
    assert answer.values[1] == 43
    assert [(s.tier, s.start, s.stop) for s in answer.samples] == route
"""
USES_A_PROGRAM = """
import os
import pickle
import numpy as np
from edgesplit.cluster.actors import SegmentActor
from edgesplit.core.power import Power
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.router import ServeSettings
from edgesplit.node.runtime.check import Exactness

with open(os.environ["PACKED"], "rb") as file:
    packed, forms, x, y, graph = pickle.load(file)
actor = SegmentActor(ServeSettings("end", host="127.0.0.1"), Power(10.0, 5.0, 5.0, 1.0), "model")
opened = actor.open()
assert not opened.has_torch
n = packed.n_layers
assert actor.load("p", packed) == n
assert actor.reaches(("end", opened.address), 5.0)
actor.describe("w", "p", forms)
def refused(call):
    try:
        call()
    except RuntimeUnavailableError as error:
        return str(error)
    raise AssertionError("not refused")

assert "torch is not installed on this host" in refused(lambda: actor.profile("w", x))
actor.expect("w", x, y, (1.0,) * n)
row = actor.row("w", "onnx", graph, Exactness())
assert row.runtime == "onnx" and len(row.layer_s) == n and row.total_s > 0
assert row.error <= 1e-4
assert "compile needs torch" in refused(lambda: actor.row("w", "compile", None, Exactness()))
for cut in range(n + 1):
    actor.prepare("w", 0, cut, "onnx")
    actor.prepare("w", cut, n, "onnx")
    assert actor.measure("w", 0, cut, "onnx") >= 0
actor.prepare("w", 2, 2, "torch")  # a relay
assert "layers 0-2 in torch" in refused(lambda: actor.prepare("w", 0, 2, "torch"))
assert actor.spend("compute", 0.05, "w", ("", ""))["compute"] >= 0.05
actor.close()
"""
NO_TORCH = """
import sys
loaded = [name for name, module in sys.modules.items() if module and name.split(".")[0] == "torch"]
assert not loaded, loaded
print("done")
"""


class Skips(nn.Module):
    """A skip over the cuts, and an output that lies in memory with gaps."""

    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 1)

    def forward(self, image):
        x = self.first(image).relu()
        y = self.second(x) + x
        return y[:, 1:3], y.mean((2, 3))


@pytest.fixture(scope="module")
def packed_file(tmp_path_factory):
    """A packed program with its payloads' forms, an input, the output and its ONNX graph."""
    model, x = Skips(), torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    exported = export(model, (x,))
    program, values = exported.program, exported.flatten((x,), {})
    outputs = program.segment(0, len(program))(values)
    with exporting():
        graph = export_graph(program, values)
    forms = payload_forms(program, values)
    sent = (pack(program), forms, pack_payload(values), pack_payload(outputs), graph)
    path = tmp_path_factory.mktemp("packed") / "packed.pickle"
    path.write_bytes(pickle.dumps(sent))
    return path


def run(python, source, packed_file):
    """What a fresh process prints that runs `source` with warnings as errors."""
    done = subprocess.run(
        [python, "-W", "error", "-c", source + NO_TORCH],
        env={
            **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")},
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(Path(__file__).parent))),
            "PACKED": str(packed_file),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return done.stdout


@pytest.mark.parametrize("source", [SERVES, USES_A_PROGRAM], ids=["serves", "uses a program"])
def test_where_importing_torch_raises(source, packed_file):
    assert run(sys.executable, BLOCKED + source, packed_file) == "done\n"


@pytest.mark.parametrize("module", ["edgesplit.node.program", "edgesplit.node.tensors"])
def test_the_block_blocks(module, packed_file):
    output = run(sys.executable, f"{BLOCKED}import {module}\n", packed_file)
    assert "import of torch halted" in output
