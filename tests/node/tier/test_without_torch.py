"""A host without torch: frames and relays, and the tier's actor with a program in ONNX Runtime."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgesplit.cluster.measure.runtimes import packed_trials
from edgesplit.node.program.export.model import export, exporting
from edgesplit.node.program.profiler import payload_forms
from edgesplit.node.program.shipping import pack
from edgesplit.node.runtime.onnx_export import export_graph

ROOT = Path(__file__).parents[3]
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
    assert [(s.tier, s.start, s.stop) for s in answer.timings] == route
    x = np.linspace(-3, 5, 4096, dtype=np.float32).reshape(64, 64).T
    for codec in ("int8", "int4-channel+lz4", "float16+zstd", "bfloat16", "zstd"):
        answer = three.infer([x, 7], route, codecs={"end": codec, "edge": codec})
        assert np.allclose(answer.values[0], x + 36, atol=0.8)
        assert answer.values[0].strides == x.strides
        assert all(timing.codec_s > 0 for timing in answer.timings)
"""
USES_A_PROGRAM = """
import os
import pickle
from functools import partial
from dataclasses import replace
import numpy as np
import edgesplit.cluster.actors.tier_actor
from edgesplit.node.tier.tier_session import TierSessionSettings
from edgesplit.node.tier.tier_sessions import TierSessions
from edgesplit.core.power import Power
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.process.imports import Imports
from edgesplit.node.program.program_file import describe, encode_program, program_name
from edgesplit.node.tier.router import ServeSettings
from edgesplit.node.runtime.check import Exactness

with open(os.environ["PACKED"], "rb") as file:
    packed, forms, trials, graph = pickle.load(file)
x = trials[0].given
tier = TierSessions("end")
tier.open_door("127.0.0.1", ())
serve, power = ServeSettings("end"), Power(10.0, 5.0, 5.0, 1.0)
opened = tier.open(TierSessionSettings(serve, power, "model", Imports()))
actor = partial(tier.call, "")
assert not opened.has_torch
n = packed.n_layers
data = encode_program(describe(packed))
if not (here := actor("has", data)).is_whole:
    for file, layout in describe(packed).layouts().items():
        whole = layout.part(packed.by_name, 0, layout.n_bytes)
        assert here.n_bytes[file] or actor("take_part", file, 0, whole) == layout.n_bytes
    actor("take", data)
assert actor("has", data).is_whole
assert actor("load", "p", program_name(data)) == n
assert actor("reaches", ("end", opened.address), 5.0)
actor("describe", "w", "p", forms)
def refused(call):
    try:
        call()
    except RuntimeUnavailableError as error:
        return str(error)
    raise AssertionError("not refused")

assert "torch is not installed on this host" in refused(lambda: actor("profile", "w", x))
actor("expect", "w", trials, (1.0,) * n)
row = actor("measure_runtime", "w", "onnx", graph, Exactness())
assert row.runtime == "onnx" and len(row.layer_s) == n and row.total_s > 0
assert row.error <= 1e-4
told = refused(lambda: actor("measure_runtime", "w", "compile", None, Exactness()))
assert "compile needs torch" in told
for cut in range(n + 1):
    actor("prepare", "w", 0, cut, "onnx")
    actor("prepare", "w", cut, n, "onnx")
    assert actor("measure", "w", 0, cut, "onnx") >= 0
actor("prepare", "w", 2, 2, "torch")  # a relay
assert "layers 0-2 in torch" in refused(lambda: actor("prepare", "w", 0, 2, "torch"))
assert actor("spend", "compute", 0.05, "w", ("", ""))["compute"] >= 0.05
again = partial(actor, "measure_runtime", "w", "onnx", graph, Exactness())
wrong = [replace(trials[0], made=trials[1].made), *trials[1:]]
actor("expect", "w", wrong, (1.0,) * n)
assert "on the example" in refused(again)
wrong = [trials[0], replace(trials[1], made=trials[0].made)]
actor("expect", "w", wrong, (1.0,) * n)
assert "on normal noise" in refused(again)
tier.close()
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
    with exporting():
        graph = export_graph(program, values)
    forms = payload_forms(program, values)
    sent = (pack(program), forms, packed_trials(program, values), graph)
    path = tmp_path_factory.mktemp("packed") / "packed.pickle"
    path.write_bytes(pickle.dumps(sent))
    return path


def run(python, source, packed_file):
    """What a fresh process prints that runs `source` with warnings as errors."""
    done = subprocess.run(
        [python, "-W", "error", "-c", source + NO_TORCH],
        env={
            **{k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "RAY_ADDRESS")},
            "PYTHONPATH": os.pathsep.join((str(ROOT), str(Path(__file__).parents[1]))),
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


@pytest.mark.parametrize(
    "module", ["edgesplit.node.program.program", "edgesplit.node.transport.tensors"]
)
def test_the_block_blocks(module, packed_file):
    output = run(sys.executable, f"{BLOCKED}import {module}\n", packed_file)
    assert "import of torch halted" in output
