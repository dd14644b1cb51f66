"""The host checks of `edgesplit doctor`, on made-up hosts; no head is asked here."""

import json
import os
import platform
import socket
import tempfile
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.cli.doctor import examine
from edgesplit.deploy.host_checks import HeadFacts, head_looks, host_looks, running_looks
from edgesplit.deploy.node_env import NodeEnv
from edgesplit.deploy.node_files import make_ray_folder, write_node_files
from edgesplit.errors import ClusterError

SAME = HeadFacts(version("ray"), platform.python_version(), 0.01, 0.002)
HOST_CHECKS = [
    "node file",
    "token file",
    "Ray's folder",
    "pinned ports",
    "tier's joules",
    "head",
    "versions",
    "clock",
]


@pytest.fixture
def ray_folder():
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder, "edgesplit")


@pytest.fixture
def host(tmp_path, ray_folder, monkeypatch):
    """A host of tier end whose files are in a folder of the test, and a `ray` to start."""
    env = NodeEnv(
        *("end", "127.0.0.1", "127.0.0.2", 2, 78643200, str(tmp_path), f"{tmp_path}/token"),
        ray_folder=str(ray_folder),
    )
    (tmp_path / "ray").write_text("")
    write_node_files(env, tmp_path, None)
    make_ray_folder(env)
    monkeypatch.setenv("EDGESPLIT_NODE_ENV", str(tmp_path / "node.env"))
    monkeypatch.setattr("edgesplit.cluster.ray.head_probe.head_facts", lambda *_: SAME)
    return env


@pytest.fixture
def listeners(monkeypatch):
    """Set who listens where: {port: process id}; nobody does at first."""

    def listen(ports):
        found = [
            SimpleNamespace(status="LISTEN", laddr=SimpleNamespace(port=port), pid=pid)
            for port, pid in ports.items()
        ]
        monkeypatch.setattr(psutil, "net_connections", lambda _: found)

    listen({})
    return listen


def look(looks, name):
    """(is well, what was found) of one look."""
    return next(one for one in looks if one.name == name).find()


def checks_of_host():
    names = [check.name for check in examine()]
    return [name for name in names[names.index("power file") + 1 :] if not _is_meter(name)]


def _is_meter(name):
    """One of the meters that this machine has or could have."""
    return name.split()[0] in ("meter", "meters")


# The command


def test_a_host_without_a_node_file_has_no_host_checks(monkeypatch, tmp_path):
    monkeypatch.setenv("EDGESPLIT_NODE_ENV", str(tmp_path / "none"))
    assert checks_of_host() == []


@pytest.mark.usefixtures("host", "listeners")
def test_doctor_looks_at_the_host():
    assert checks_of_host() == HOST_CHECKS
    found = CliRunner().invoke(main, ["doctor", "--json"])
    checks = {check["name"]: check for check in json.loads(found.stdout)["checks"]}
    assert {name: checks[name]["mark"] for name in HOST_CHECKS} == dict.fromkeys(HOST_CHECKS, "ok")
    found = checks["tier's joules"]["found"]
    assert "planned with 12 W (power.toml)" in found


@pytest.mark.usefixtures("host", "listeners")
def test_a_head_that_does_not_answer_is_a_finding(monkeypatch):
    def gone(address, *_):
        raise ClusterError(f"no head answers at {address} (refused)")

    monkeypatch.setattr("edgesplit.cluster.ray.head_probe.head_facts", gone)
    assert checks_of_host() == HOST_CHECKS[:6]
    found = CliRunner().invoke(main, ["doctor"])
    assert found.exit_code == 1
    assert "missing  head: no head answers at 127.0.0.2:6379 (refused)\n" in found.stdout
    assert "systemctl start edgesplit-node" in found.stdout


@pytest.mark.usefixtures("listeners")
def test_the_head_is_asked_with_this_hosts_token(host, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "edgesplit.cluster.ray.head_probe.head_facts", lambda *a: asked.append(a) or SAME
    )
    assert checks_of_host() == HOST_CHECKS
    [(address, timeout_s, token_file)] = asked
    assert (address, token_file) == ("127.0.0.2:6379", host.token_file)
    assert timeout_s <= 60


def test_a_malformed_node_file_is_a_finding(host, tmp_path):
    (tmp_path / "node.env").write_text(host.text().replace("ES_CPUS=2", "ES_CPUS=two"))
    check = list(examine())[-1]
    assert (check.name, check.mark) == ("node file", "missing")
    assert "line 9: ES_CPUS: given 'two'" in check.found


@pytest.mark.usefixtures("listeners")
def test_a_tier_without_watts_is_a_finding(host, tmp_path):
    env = replace(host, tier="fog")
    (tmp_path / "node.env").write_text(env.text())
    check = next(check for check in examine() if check.name == "tier's joules")
    assert not check.is_ok
    assert "no watts for tier 'fog'" in check.found


# Node file and token


def test_the_node_files_values_are_told(host):
    is_well, found = look(host_looks(host), "node file")
    assert is_well
    assert "tier end at 127.0.0.1, head 127.0.0.2, 2 CPUs, 75 MiB of objects" in found
    named = look(host_looks(replace(host, name="end-2")), "node file")[1]
    assert "node end-2 of tier end at 127.0.0.1" in named


def test_a_folder_of_rays_that_others_may_enter_is_told(host, ray_folder):
    ray_folder.parent.chmod(0o755)
    assert look(host_looks(host), "Ray's folder") == (True, f"{ray_folder} lets its user in only")
    ray_folder.chmod(0o755)
    is_well, found = look(host_looks(host), "Ray's folder")
    assert (is_well, found) == (False, f"others may enter {ray_folder} (mode 755)")
    ray_folder.chmod(0o700)
    ray_folder.parent.chmod(0o777)
    is_well, found = look(host_looks(host), "Ray's folder")
    assert (is_well, "put another folder in the place of" in found) == (False, True)


@pytest.mark.parametrize(("mode", "is_shut"), [(0o700, True), (0o755, False), (0o770, False)])
def test_a_running_rays_folder_is_looked_at(monkeypatch, ray_folder, mode, is_shut):
    """As `ray start` leaves it: open to all itself, so that the one above it counts."""
    ray_folder.mkdir()
    (ray_folder / "ray").mkdir()
    (ray_folder / "ray").chmod(0o777)
    ray_folder.chmod(mode)
    ray_folder.parent.chmod(0o755)
    info = {"name": "raylet", "cmdline": ["raylet", f"--temp_dir={ray_folder}/ray"]}
    info["uids"] = SimpleNamespace(real=os.geteuid())
    other = {"name": "raylet", "cmdline": None, "uids": None}
    found = [SimpleNamespace(info=info), SimpleNamespace(info=other)]
    monkeypatch.setattr(psutil, "process_iter", lambda _: found)
    [(name, (is_well, _))] = [(one.name, one.find()) for one in running_looks()]
    assert (name, is_well) == (f"Ray's files in {ray_folder}/ray", is_shut)


@pytest.mark.parametrize(
    ("field", "value", "reason"),
    [
        ("node_ip", "198.51.100.7", "198.51.100.7, which is no address of this host"),
        ("bin_dir", "/nowhere", "there is no /nowhere/ray"),
    ],
)
def test_a_node_file_that_is_not_of_this_host(host, field, value, reason):
    is_well, found = look(host_looks(replace(host, **{field: value})), "node file")
    assert not is_well
    assert reason in found


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_token_that_others_can_read(host, mode):
    os.chmod(host.token_file, mode)
    is_well, found = look(host_looks(host), "token file")
    assert not is_well
    assert f"can be read by others (mode {mode:o})" in found


@pytest.mark.usefixtures("listeners")
def test_a_token_that_is_not_there(host):
    os.remove(host.token_file)
    check = next(check for check in examine() if check.name == "token file")
    assert check.mark == "missing"
    assert "cannot read the token file" in check.found


# Ports


def test_free_ports_are_well(host, listeners):
    listeners({22: 1, 6386: 1, 10001: 1, 8265: 1, 6379: 1})
    assert look(host_looks(host), "pinned ports") == (True, "held by Ray: none; the rest is free")


@pytest.mark.parametrize("port", [6380, 6385, 6400, 6431, 10002, 10100])
def test_a_port_held_by_another_program(host, listeners, port):
    listeners({port: os.getpid()})
    is_well, found = look(host_looks(host), "pinned ports")
    assert not is_well
    assert f"{port} (" in found
    assert "python" in found


@pytest.mark.parametrize("port", [6379, 8265, 10001])
def test_the_heads_ports_matter_on_the_head_only(host, listeners, port):
    listeners({port: os.getpid()})
    assert look(host_looks(host), "pinned ports")[0]
    head = replace(host, head_ip=host.node_ip)
    assert not look(host_looks(head), "pinned ports")[0]


@pytest.mark.parametrize(
    ("command", "is_well"),
    [
        (["ray::SegmentActor", ""], True),
        (["/opt/v/lib/python3.11/site-packages/ray/core/src/ray/raylet/raylet", "-x"], True),
        (["python", "-u", "/opt/v/lib/python3.11/site-packages/ray/dashboard/agent.py"], True),
        (["python", "/home/ray/server.py"], False),
        (["nginx", "ray::"], False),
        ([], False),
    ],
)
def test_rays_own_processes_may_hold_them(host, listeners, monkeypatch, command, is_well):
    listeners({6380: 77})
    monkeypatch.setattr(psutil, "Process", lambda _: SimpleNamespace(cmdline=lambda: command))
    assert look(host_looks(host), "pinned ports")[0] == is_well


@pytest.mark.parametrize("runs_ray", [False, True])
def test_who_holds_a_port_may_be_hidden(host, listeners, monkeypatch, runs_ray):
    """A user is not told which process of another user listens, only that it runs."""
    listeners({6380: None})
    command = ["/opt/ray/core/src/ray/raylet/raylet" if runs_ray else "nginx", "-x"]
    others = [SimpleNamespace(info={"cmdline": words}) for words in (None, [], command)]
    monkeypatch.setattr(psutil, "process_iter", lambda _: others)
    is_well, found = look(host_looks(host), "pinned ports")
    assert is_well == runs_ray
    assert runs_ray or "a process of another user (run doctor with sudo" in found


def test_a_listening_socket_is_seen(host):
    """With the system's own answer, not a made-up one."""
    for port in range(6400, 6432):
        try:
            server = socket.create_server(("127.0.0.1", port))
        except OSError:  # something of this machine is there already, and must be seen too
            continue
        with server:
            is_well, found = look(host_looks(host), "pinned ports")
            assert not is_well
            assert f"{port} (EdgeSplit data plane) is held by" in found
            return


# Against the head


@pytest.mark.parametrize(
    ("change", "level", "is_well"),
    [
        ({}, None, True),
        ({"ray_version": "2.59.0"}, None, False),
        ({"python_version": "3.11.99"}, None, False),
        ({"python_version": "3.11.99"}, "minor", "3.11"),
        ({"python_version": "3.9.1"}, "minor", False),
        ({"ray_version": "2.59.0"}, "minor", False),
    ],
)
def test_versions(monkeypatch, change, level, is_well):
    monkeypatch.delenv("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", raising=False)
    if level is not None:
        monkeypatch.setenv("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", level)
    head = replace(SAME, **change)
    found_well, found = look(head_looks(head), "versions")
    expected = platform.python_version().startswith("3.11.") if is_well == "3.11" else is_well
    assert found_well == expected
    assert f"Ray {version('ray')}, Python {platform.python_version()} here" in found
    assert f"{head.ray_version}, {head.python_version} on the head" in found


@pytest.mark.parametrize(
    ("offset_s", "is_well", "text"),
    [
        (0.25, True, "0.250 s behind the head's, +-0.002 s; 2 s are tolerated"),
        (-1.9, True, "1.900 s ahead of the head's"),
        (-2.1, False, "2.100 s ahead of the head's"),
        (86400.0, False, "86400.000 s behind the head's"),
        (None, False, "not compared with the head's: this host has not joined"),
    ],
)
def test_clock(offset_s, is_well, text):
    head = replace(SAME, clock_offset_s=offset_s, clock_note="this host has not joined")
    found_well, found = look(head_looks(head), "clock")
    assert found_well == is_well
    assert text in found
    assert [one.is_needed for one in head_looks(head)] == [True, False]
