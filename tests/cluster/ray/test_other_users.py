"""What other users of this machine can do to an embedded cluster: nothing, without its token."""

import contextlib
import os
import stat
import tempfile
from functools import partial
from pathlib import Path

import psutil
import pytest
from other_user import as_nobody, attempts, grpc_status, http_status
from ray._private import worker

from edgesplit import EdgeSplit
from edgesplit.deploy.private_folder import way_in
from experiments.shared.small_net import small_net

UNKNOWN_METHOD, UNAUTHENTICATED = 12, 16
# One method of each of Ray's services: whoever offers it asks for the token.
METHODS = (
    "/ray.rpc.InternalKVGcsService/InternalKVPut",
    "/ray.rpc.NodeInfoGcsService/GetAllNodeInfo",
    "/ray.rpc.JobInfoGcsService/AddJob",
    "/ray.rpc.ActorInfoGcsService/CreateActor",
    "/ray.rpc.autoscaler.AutoscalerStateService/GetClusterStatus",
    "/ray.rpc.NodeManagerService/RequestWorkerLease",
    "/ray.rpc.ObjectManagerService/Pull",
    "/ray.rpc.CoreWorkerService/PushTask",
)
AGENT = ("/get_or_create_runtime_env", "/get_runtime_envs_info", "/delete_runtime_env_if_possible")


@pytest.fixture(scope="module", autouse=True)
def _open_session():
    with EdgeSplit(small_net()) as split:
        yield split


@pytest.fixture
def ray_folder():
    return Path(worker.global_worker.node.get_temp_dir_path())


def listening():
    """(process name, host, port) of all of this process's and its children's."""
    found = []
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [(process.name(), at) for at in process.net_connections("tcp")]
    return [
        (name, at.laddr.ip, at.laddr.port) for name, at in found if at.status == psutil.CONN_LISTEN
    ]


def test_rays_folder_lies_in_one_that_lets_its_owner_in_only(ray_folder):
    assert stat.S_IMODE(ray_folder.stat().st_mode) == 0o777, "Ray's way; else there is no need"
    assert stat.S_IMODE(ray_folder.parent.stat().st_mode) == 0o700
    assert way_in(ray_folder, os.geteuid()) == ""
    owner = ray_folder.parent / "owner"
    assert stat.S_IMODE(owner.lstat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_user_gets_at_no_file_and_no_socket(ray_folder):
    inside = [ray_folder, *ray_folder.rglob("*")]
    sockets = [path for path in inside if path.is_socket()]
    assert any(path.name.startswith("runtime_env_agent_port_") for path in inside)
    assert {path.name for path in sockets} >= {"plasma_store", "raylet"}
    assert as_nobody(partial(attempts, ray_folder.parent, inside, sockets)) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_the_attempts_can_succeed():
    """Else the test above would prove nothing: in a folder as Ray leaves it they do."""
    with tempfile.TemporaryDirectory(prefix="o-", dir="/tmp") as name:
        folder, file = Path(name), Path(name, "port")
        folder.chmod(0o777)
        file.write_text("1")
        done = as_nobody(partial(attempts, folder, [file], []))
        assert way_in(folder, os.geteuid()).startswith("others may enter")
    assert {"list", f"read {file}", f"remove {file}"} <= set(done)


def test_every_port_of_rays_asks_for_the_token():
    asked = []
    for name, host, port in listening():
        if host == "127.0.0.1":
            continue  # the data plane's own, see tests/node/transport/test_security.py
        if "RuntimeEnv" in name:
            assert [http_status(host, port, path) for path in AGENT] == [401] * len(AGENT)
            continue
        answers = {grpc_status(port, method) for method in METHODS}
        assert answers <= {UNKNOWN_METHOD, UNAUTHENTICATED}, name
        assert UNAUTHENTICATED in answers, name
        asked.append(name)
    assert {"gcs_server", "raylet"} <= set(asked)


def test_the_token_is_on_no_command_line():
    token = os.environ["RAY_AUTH_TOKEN"]
    for process in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            assert token not in " ".join(process.cmdline())
