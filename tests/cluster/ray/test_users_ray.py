"""A program that has joined Ray by itself, and users who have used Ray before."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import ray
import torch
from device_host import free_port, ray_node

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.ray.environment import read_again
from edgesplit.errors import ClusterError
from experiments.shared.small_net import small_net

X = torch.randn(1, 3, 32, 32)
RAY = str(Path(sys.executable).with_name("ray"))
PROGRAM = """
import json, os, sys, warnings
warnings.simplefilter("ignore")
import torch
from edgesplit import Config, EdgeSplit
before = dict(os.environ)
config = Config(tiers=("end",), runtimes=("torch",))
with EdgeSplit(torch.nn.Linear(4, 2), address=sys.argv[1] or None, config=config) as split:
    split.infer(torch.rand(1, 4))
    by, emulated = split.last_record.finished_by, not split.emulation.is_off
names = {n for n in before.keys() | os.environ.keys() if n.startswith(("RAY", "PYTHONB"))}
changed = [name for name in names if before.get(name) != os.environ.get(name)]
print(json.dumps({"by": by, "emulated": emulated, "changed": changed}))
"""

pytestmark = pytest.mark.timeout(420)


@pytest.fixture(scope="module")
def folder():
    with tempfile.TemporaryDirectory(prefix="u-", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture(scope="module")
def own_ray(folder):
    """ray.init() of the program itself, on a node without labels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")  # else Ray would write one into the user's home
        patch.setenv("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
        read_again()
        ray.init(
            address="local", num_cpus=1, include_dashboard=False, log_to_driver=False,
            object_store_memory=100 << 20, _temp_dir=str(folder / "own"),
        )  # fmt: skip
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
    read_again()


def test_without_labelled_nodes_it_is_told_what_to_do(own_ray):
    with pytest.raises(ClusterError) as raised:
        EdgeSplit(small_net()).infer(X)
    said = str(raised.value)
    for way in ("--labels=tier=end", "ray.shutdown()", "address='local'"):
        assert way in said
    assert ray.is_initialized()


def test_local_emulates_the_tiers_on_its_node_there(own_ray):
    model = small_net()
    with EdgeSplit(model, address="local", config=Config(runtimes=("torch",))) as split:
        y = split.infer_on("end:0-3 | edge:3-5 | cloud:5-8", X)
        with torch.no_grad():
            assert torch.allclose(y, model.eval()(X), rtol=1e-5, atol=1e-6)
        assert split.records()["emulated"].all()
        assert all(address.startswith("127.0.0.1:") for address in split.addresses.values())
        assert not split.emulation.is_off
    assert ray.is_initialized(), "it is the program's own, which stays"
    assert ray.get_runtime_context().gcs_address == own_ray


@pytest.mark.parametrize("address", ["192.0.2.77:6379", "localhost:1"])
def test_another_address_is_refused(own_ray, address):
    with pytest.raises(ClusterError, match=r"joined by itself\).*ray.shutdown\(\) first"):
        EdgeSplit(small_net(), address=address).open()


def program(home, address="", **variables):
    """What PROGRAM has printed, run by a user with that home and these variables of Ray's.

    One tier, in torch: what is asked here is which cluster it is on, and with which token.
    """
    environment = {k: v for k, v in os.environ.items() if not k.startswith("RAY_")}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, address],
        env={**environment, "HOME": str(home), "TMPDIR": str(home), **variables},
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def home():
    """Of a user whom Ray has given a token."""
    with tempfile.TemporaryDirectory(prefix="u-", dir="/tmp") as name:
        (Path(name) / ".ray").mkdir()
        (Path(name) / ".ray" / "auth_token").write_text("fedcba9876543210" * 2)
        yield Path(name)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"RAY_AUTH_MODE": "disabled"},
        {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/nowhere"},
        {
            "RAY_AUTH_TOKEN": "f" * 32,
            "RAY_NAMESPACE": "mine",
            "RAY_TMPDIR": "/nowhere",
            "RAY_RUNTIME_ENV_HOOK": "no.such.hook",
            "RAY_OVERRIDE_LABELS": '{"tier": "moon"}',
            "RAY_REDIS_ADDRESS": "127.0.0.1:1",
            "RAY_gcs_storage": "rocksdb",
            "RAY_ADDRESS": "",
        },
    ],
    ids=["token at home", "no token", "a lost token", "another kind of cluster"],
)
def test_what_a_user_of_ray_has_set_does_not_matter(home, variables):
    found = program(home, **variables)
    assert found == {"by": found["by"], "emulated": True, "changed": []}
    assert (home / ".ray" / "auth_token").read_text() == "fedcba9876543210" * 2
    assert [path.name for path in home.glob("es-*")] == []


def test_a_foreign_cluster_on_rays_port_does_not_matter(home):
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", 6379))
        except OSError:
            pass  # one runs here already
        else:
            taken.listen()
        found = program(home, RAY_GCS_SERVER_PORT="6379")
    assert found["emulated"]


def test_a_cluster_that_asks_for_the_token_at_home_is_joined(home, monkeypatch):
    """`ray start --head` asks for it once it is there; joining by address does not show it."""
    monkeypatch.setenv("HOME", str(home))
    port = free_port()
    head = ("--head", f"--port={port}", f"--temp-dir={home}/r", "--include-dashboard=false")
    with ray_node(RAY, "end", *head, RAY_AUTH_MODE=None):
        found = program(home, f"127.0.0.1:{port}")
    assert found == {"by": "end", "emulated": False, "changed": []}
