"""A host without torch: frames, relays, segments of arrays and the tier's actor load there."""

import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from edgesplit.node.model import export
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
HOLDS_A_PROGRAM = """
import os
import pickle
import numpy as np
from edgesplit.cluster.actors import SegmentActor
from edgesplit.core.power import Power
from edgesplit.node import wire
from edgesplit.node.router import ServeSettings

with open(os.environ["PACKED"], "rb") as file:
    packed, x, y = pickle.load(file)
weight, bias = packed.weights()
assert np.allclose(x @ weight.T + bias, y)
actor = SegmentActor(ServeSettings("end", host="127.0.0.1"), Power(10.0, 5.0, 5.0, 1.0), "model")
opened = actor.open()
assert actor.load("p", packed) == packed.n_layers == 1
assert actor.reaches(("end", opened.address), 5.0)
actor.close()
"""
NO_TORCH = """
import sys
loaded = [name for name, module in sys.modules.items() if module and name.split(".")[0] == "torch"]
assert not loaded, loaded
print("done")
"""


@pytest.fixture(scope="module")
def packed_file(tmp_path_factory):
    """A packed linear layer with an input and its output, as a pickle."""
    model, x = nn.Linear(6, 4), torch.randn(2, 6)
    sent = (pack(export(model, (x,)).program), x.numpy(), model(x).detach().numpy())
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


@pytest.mark.parametrize("source", [SERVES, HOLDS_A_PROGRAM], ids=["serves", "holds a program"])
def test_where_importing_torch_raises(source, packed_file):
    assert run(sys.executable, BLOCKED + source, packed_file) == "done\n"


@pytest.mark.parametrize("module", ["edgesplit.node.program", "edgesplit.node.tensors"])
def test_the_block_blocks(module, packed_file):
    output = run(sys.executable, f"{BLOCKED}import {module}\n", packed_file)
    assert "import of torch halted" in output
