"""`ray up` with the shipped cluster.yaml over real SSH: three nodes, a split model, `ray down`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from bed_layout import LAYOUT, nodes_on

from edgesplit.deploy.ports import DATA_PORTS, PORTS
from edgesplit.errors import TestbedError
from edgesplit.testbed.layout import HEAD, HOSTS
from edgesplit.testbed.ray_cluster import ray_processes
from edgesplit.testbed.system import wait_until

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(600)]
SHIPPED = Path(__file__).parents[2] / "cluster.yaml"
BIN = Path(sys.executable).parent


def test_only_addresses_and_key_differ_from_what_ships(cluster):
    shipped = yaml.safe_load(SHIPPED.read_text())
    used = yaml.safe_load(LAYOUT.cluster_file.read_text())
    for settings in (shipped, used):
        settings["provider"].pop("head_ip")
        assert len(settings["provider"].pop("worker_ips")) == 2
        settings.pop("auth")
    assert used == shipped


def test_three_labelled_nodes(cluster):
    assert nodes_on(cluster, "cloud") == {
        host: [host, host, LAYOUT.address(host)] for host in HOSTS
    }


def test_split_output_is_the_whole_models_and_actors_are_on_their_tiers(cluster):
    script = str(Path(__file__).with_name("on_end.py"))
    printed = cluster.run("end", [sys.executable, script], 180.0)
    found = json.loads(printed.splitlines()[-1])
    assert len(found["equal"]) > 8
    assert all(found["equal"].values()), found["equal"]
    for host, address in found["hosts"].items():
        ip, port = address.split(":")
        assert ip == LAYOUT.address(host)
        assert int(port) in DATA_PORTS


def test_the_command_line_on_a_host(cluster):
    plan = cluster.run("end", [str(BIN / "edgesplit"), "plan", "squeezenet1_1", "--json"], 180.0)
    found = json.loads(plan)
    assert not found["emulated"]
    assert {tier for tier in HOSTS if tier in found["chosen"]["plan"]} >= {"end"}
    seen = cluster.run("edge", [str(BIN / "edgesplit"), "doctor"], 120.0)
    assert "ok       node file" in seen


def test_ray_exec_reaches_the_head(cluster):
    command = [str(BIN / "ray"), "exec", "--no-config-cache", str(LAYOUT.cluster_file), "hostname"]
    environment = {**os.environ, "RAY_TMPDIR": str(LAYOUT.folder)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert "cloud" in done.stdout, done.stderr


def test_strangers_without_the_token_are_refused(cluster):
    code = (
        "import os; os.environ['RAY_AUTH_MODE'] = 'disabled'\n"
        "from ray._raylet import GcsClient\n"
        f"GcsClient(address='{LAYOUT.address('cloud')}:6379').internal_kv_keys(b'', None)\n"
    )
    with pytest.raises(TestbedError, match=r"Unauthenticated|AuthenticationError|timed out"):
        cluster.run("edge", [sys.executable, "-c", code], 60.0)


def test_ray_listens_on_pinned_ports_only(cluster):
    """Every listening socket of a worker host is one of the list, or inside the machine."""
    allowed = {n for port in PORTS for n in range(port.first, port.last + 1)}
    lines = cluster.run("edge", ["ss", "-Hltn"]).splitlines()
    listening = [line.split()[3].rpartition(":") for line in lines]
    strange = [
        f"{host}:{port}"
        for host, _, port in listening
        if int(port) not in allowed and host not in ("127.0.0.1", "[::1]")
    ]
    assert strange == []


def test_ray_down_ends_the_head(cluster, ending):
    """The last of this file; test_taken_down.py sees to the rest."""
    wait_until(lambda: not ray_processes(cluster, HEAD), "Ray on the head to end", 120.0)
    assert not ending.done() or ending.exception() is None
