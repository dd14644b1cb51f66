"""Asking a head: a real one with a token on this machine, and things that are none."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import pytest
import ray

from edgesplit.cluster.ray.head_probe import head_facts
from edgesplit.errors import ClusterError, ConfigError

RAY = Path(sys.executable).with_name("ray")
TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Head:
    """A running head: where it listens and which token it wants."""

    address: str
    token_file: Path


def without_tokens(environment):
    """What another test has told Ray must not reach a process that is told otherwise."""
    return {k: v for k, v in environment.items() if not k.startswith("RAY_AUTH")}


def free_ports(count):
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


@pytest.fixture(scope="module")
def head():
    """`ray start --head --block` with a token, in a folder of its own."""
    with tempfile.TemporaryDirectory(prefix="h-", dir="/tmp") as folder:
        token_file = Path(folder) / "token"
        token_file.write_text("0123456789abcdef" * 2)
        gcs, node_manager, object_manager, agent = free_ports(4)
        command = [
            *[str(RAY), "start", "--head", "--block", "--disable-usage-stats"],
            *[f"--port={gcs}", f"--node-manager-port={node_manager}"],
            *[f"--object-manager-port={object_manager}", f"--runtime-env-agent-port={agent}"],
            *["--node-ip-address=127.0.0.1", f"--temp-dir={folder}", "--include-dashboard=false"],
            *["--num-cpus=1", "--object-store-memory=78643200", "--include-log-monitor=false"],
        ]
        settings = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token_file)}
        process = subprocess.Popen(
            command,
            env={**without_tokens(os.environ), **settings},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        with process:
            try:
                has_started = any("Ray runtime started" in line for line in process.stdout)
                assert has_started, "ray start ended early"
                yield Head(f"127.0.0.1:{gcs}", token_file)
            finally:
                process.send_signal(signal.SIGTERM)
                process.communicate(timeout=60)


@pytest.fixture(autouse=True)
def _no_token_outside(monkeypatch):
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"):
        monkeypatch.delenv(name, raising=False)


def test_the_head_tells_versions_and_clock(head):
    facts = head_facts(head.address, TIMEOUT_S, head.token_file)
    assert facts.ray_version == ray.__version__
    assert facts.python_version == ".".join(map(str, sys.version_info[:3]))
    assert facts.clock_note == ""
    # One machine, one clock: what is measured is the method's own error.
    assert abs(facts.clock_offset_s) <= facts.clock_resolution_s + 1e-3 < 1.0
    assert not ray.is_initialized(), "this process stays out of it"


def test_the_files_token_counts_not_the_environments(head, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 32)
    assert head_facts(head.address, TIMEOUT_S, head.token_file).ray_version == ray.__version__


def test_another_token_is_refused(head, tmp_path):
    (tmp_path / "token").write_text("f" * 32)
    with pytest.raises(ClusterError, match="refuses this host's token"):
        head_facts(head.address, TIMEOUT_S, tmp_path / "token")
    with pytest.raises(ClusterError, match="refuses this host's token"):
        head_facts(head.address, TIMEOUT_S)


def test_no_token_is_told_before_anyone_is_asked(tmp_path):
    with pytest.raises(ConfigError, match="cannot read the token file"):
        head_facts("127.0.0.1:1", TIMEOUT_S, tmp_path / "none")


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.0.0.1", "127.0.0.1:x"])
def test_where_nothing_listens_is_told_at_once(address):
    with pytest.raises(ClusterError, match="no Ray head answers at"):
        head_facts(address, TIMEOUT_S)


def test_a_listener_that_says_nothing_is_given_up_on():
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        pytest.raises(ClusterError, match=r"did not answer within 2 s"),
    ):
        head_facts(f"127.0.0.1:{server.getsockname()[1]}", 2.0)
