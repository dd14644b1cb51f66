"""A host without torch: frames, relays, segments of arrays and the tier's actor all work there.

Once in a process in which importing torch raises, once in a virtual environment that holds what
the `device` extra asks for and nothing else.
"""

import configparser
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
COMPUTES_IN_ONNX_RUNTIME = """
import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper
from tiers import tiers

class Doubles:
    \"\"\"Any range of layers doubles its values.\"\"\"

    def __init__(self):
        ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [2, 3]) for n in "xy"]
        graph = helper.make_graph([helper.make_node("Add", "xx", "y")], "g", ends[:1], ends[1:])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        self.session = onnxruntime.InferenceSession(model.SerializeToString())

    def segment(self, start, stop, runtime="torch"):
        return lambda values: [self.session.run(None, {"x": value})[0] for value in values]

with tiers(Doubles()) as three:
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    (y,) = three.infer([x], [("end", 0, 3), ("edge", 3, 3), ("cloud", 3, 9)]).values
    assert np.array_equal(y, 4 * x)
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


def requirements(extra):
    """What the base and an extra of setup.cfg ask for."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    lines = setup["options"]["install_requires"] + setup["options.extras_require"][extra]
    return [line for line in lines.split("\n") if line.strip() and not line.startswith("#")]


@pytest.mark.device
def test_in_an_environment_of_the_device_extra(tmp_path, packed_file):
    python = tmp_path / "venv" / "bin" / "python"
    quiet = ("--quiet", "--disable-pip-version-check")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True, timeout=60)
    install = [python, "-m", "pip", "install", *quiet, *requirements("device")]
    subprocess.run(install, check=True, timeout=240)
    listed = subprocess.run(
        [python, "-m", "pip", "list", *quiet],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout
    assert "torch" not in listed
    for source in (SERVES, HOLDS_A_PROGRAM, COMPUTES_IN_ONNX_RUNTIME):
        assert run(python, source, packed_file) == "done\n"
    commands = "from edgesplit.cli import main\nmain(['meters'], standalone_mode=False)\n"
    assert run(python, commands, packed_file).endswith("done\n")
