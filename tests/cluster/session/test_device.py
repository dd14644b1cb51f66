"""A tier on a host without torch: an installation of its own, in a cluster with one that has it.

The head is the tier `cloud` with this process's packages, the tier `end` runs in a virtual
environment with the extra `device` only.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import pytest
import ray
import torch
from cluster_models import Enlarges
from device_host import free_port, make_device_venv, ray_node
from inside_session import actor_of, handle_of, workload_of

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.measure.runtimes import UnusedRuntimeWarning
from edgesplit.errors import PlanError, RuntimeUnavailableError
from experiments.shared.small_net import small_net

TIERS = ("end", "cloud")
ONNX = Config(tiers=TIERS, runtimes=("torch", "onnx"), threads=1)
N = 8  # layers of small_net
TOLERANCE = 1e-4

pytestmark = pytest.mark.timeout(420)  # the installation: 20 to 90 s


@pytest.fixture(scope="session")
def venv(tmp_path_factory):
    return make_device_venv(tmp_path_factory.mktemp("device"))


@pytest.fixture(scope="module")
def address(venv):
    """A head of this environment that plays `cloud`, and a node of the other that plays `end`."""
    port = free_port()
    here = str(Path(sys.executable).with_name("ray"))
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as folder:
        head = ("--head", f"--port={port}", f"--temp-dir={folder}", "--include-dashboard=false")
        joins = (f"--address=127.0.0.1:{port}",)
        with ray_node(here, "cloud", *head), ray_node(venv.program("ray"), "end", *joins):
            yield f"127.0.0.1:{port}"
            ray.shutdown()


@pytest.fixture(scope="module")
def model():
    return small_net()


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def split(address, model, x):
    """One that has planned by itself once."""
    with EdgeSplit(model, address=address, config=ONNX) as split:
        split.infer(x)
        yield split


def process_of(split, tier):
    """Of a tier's actor: its Python, and the packages that its process has imported."""

    def look(actor):
        return sys.executable, {name.split(".")[0] for name, one in sys.modules.items() if one}

    actor = actor_of(split, tier)
    return ray.get(actor.__ray_call__.remote(look), timeout=30)


def relative_difference(y, whole):
    return float((y - whole).abs().max() / whole.abs().max())


def test_torch_cannot_be_imported_there(venv):
    done = venv.run("python", "-c", "import torch")
    assert done.returncode == 1
    assert "No module named 'torch'" in done.stdout


def test_public_names_say_what_is_missing(venv):
    done = venv.run(
        "python", "-c", "from edgesplit import Config, Plan; from edgesplit import EdgeSplit"
    )
    assert done.stdout.splitlines()[-1].endswith(
        "EdgeSplit needs torch, which is not installed here; pip install 'edgesplit[full]'"
    )


def test_the_doctor_is_content_with_it(venv):
    done = venv.run("edgesplit", "doctor", "--json")
    checks = {check["name"]: check for check in json.loads(done.stdout)["checks"]}
    assert done.returncode == 0, done.stdout
    said = "not installed; this host can serve tiers in onnx, onnx-int8"
    assert (checks["torch"]["mark"], checks["torch"]["found"]) == ("ok", said)
    marks = [checks[f"runtime {name}"]["mark"] for name in ("onnx", "compile", "cuda")]
    assert marks == ["ok", "advice", "advice"]
    assert "onnxruntime" in checks["packages"]["found"]


@pytest.mark.parametrize("words", [["plan", "vgg16"], ["run", "vgg16", "x.png"], ["calibrate"]])
def test_commands_that_need_torch_say_so_in_a_line(venv, words):
    done = venv.run("edgesplit", *words)
    assert (done.returncode, done.stdout) == (
        1,
        "edgesplit: this command needs torch, which is not installed here; "
        "pip install 'edgesplit[full]'\n",
    )


def test_commands_of_a_device_do_without(venv, address, tmp_path):
    init = ("node", "init", "--tier", "end", "--head-ip", "192.0.2.1", "--node-ip", "192.0.2.2")
    with tempfile.TemporaryDirectory(prefix="d-", dir="/tmp") as short:
        folders = ("--folder", str(tmp_path), "--ray-folder", f"{short}/ray")
        done = venv.run("edgesplit", *init, *folders)
    assert "tier end at 192.0.2.2" in done.stdout
    assert "rapl" in venv.run("edgesplit", "meters").stdout
    done = venv.run("edgesplit", "status", "--address", address, "--json")
    tiers = [node["tier"] for node in json.loads(done.stdout)["nodes"]]
    assert sorted(tiers) == ["cloud", "end"]


@pytest.mark.parametrize(
    "plan",
    [
        f"end[onnx]:0-{N}",
        f"end[onnx]:0-5 | cloud:5-{N}",
        f"end[onnx]:0-3 | cloud[onnx]:3-{N}",
        f"end:0-0 | cloud:0-{N}",
    ],
)
def test_plans_over_it_give_the_whole_models_result(split, model, x, plan):
    y = split.infer_on(plan, x)
    with torch.no_grad():
        assert relative_difference(y, model.eval()(x)) <= TOLERANCE
    assert str(split.last_record.plan) == plan


def test_its_process_never_imports_torch(split, venv, x):
    assert split.profile.offered == {"end": ("onnx",), "cloud": ("torch", "onnx")}
    split.infer_on(f"end[onnx]:0-4 | cloud:4-{N}", x)
    python, packages = process_of(split, "end")
    assert Path(python).parent == venv.folder / "bin"
    assert "onnxruntime" in packages
    assert not {"torch", "torchvision"} & packages
    assert "torch" in process_of(split, "cloud")[1]


def test_a_plan_in_torch_is_refused_by_name(split, x):
    with pytest.raises(PlanError, match=r"tier 'end' has no runtime 'torch'; it has onnx"):
        split.infer_on(f"end:0-4 | cloud:4-{N}", x)


def test_another_batch_size_is_measured_there_too(split, model, x):
    two = torch.cat([x, x.flip(0)])
    with torch.no_grad():
        assert relative_difference(split.infer(two), model.eval()(two)) <= TOLERANCE


def test_everything_on_it_is_prepared_and_calibration_keeps_it_busy(address, model, x):
    config = Config(tiers=TIERS, runtimes=("onnx",), threads=1)
    with EdgeSplit(model, policy="end-only", address=address, config=config) as split:
        y = split.infer(x)
        assert str(split.plan) == f"end[onnx]:0-{N}"
        actor, workload = handle_of(split, "end"), workload_of(split)
        call = actor.spend.remote("compute", 0.2, workload.id, ("cloud", ""))
        assert ray.get(call, timeout=30)["compute"] >= 0.2
    with torch.no_grad():
        assert relative_difference(y, model.eval()(x)) <= TOLERANCE


def answer_until_given_up(split, plan, x):
    """The first answer along `plan`; it is asked until the runtime is not offered any more."""
    first = split.infer_on(plan, x)
    until_s = time.monotonic() + 60
    while "onnx" in split.profile.offered["cloud"] and time.monotonic() < until_s:
        time.sleep(0.1)  # one is compared only while no other one is
        split.infer_on(plan, x)
    return first


def test_a_wrong_answer_of_it_is_seen_by_the_caller(address):
    """It cannot compare by itself. Without its only runtime no plan uses it for layers any more."""
    torch.manual_seed(0)
    model = Enlarges(5.0).eval()  # no noise is above that all over
    shown = 6 + torch.rand(1, 3, 26, 26)
    with torch.no_grad():
        whole = model(shown)
    with EdgeSplit(model, address=address, config=ONNX) as split:
        split.infer(torch.zeros(1, 3, 26, 26))
        plan = f"end[onnx]:0-{len(split.graph)}"
        said = r"onnx is not used .* \(tier 'end'\)"
        with pytest.warns(UnusedRuntimeWarning, match=said):
            wrong = answer_until_given_up(split, plan, shown)
        assert relative_difference(wrong, whole) > TOLERANCE
        for _ in range(5):
            assert relative_difference(split.infer(shown), whole) <= TOLERANCE
        assert relative_difference(split.infer_on(plan, shown), whole) <= TOLERANCE
        assert split.last_record.why == "end unable"


def test_a_session_without_a_runtime_for_it_says_what_to_do(address, model, x):
    config = Config(tiers=TIERS, threads=1, runtimes=("torch",))
    opened = EdgeSplit(model, address=address, config=config)
    with opened as split, pytest.raises(RuntimeUnavailableError) as caught:
        split.infer(x)
    for text in ("tier 'end' has no torch", 'add "onnx"', "pip install 'edgesplit[full]'"):
        assert text in str(caught.value)
