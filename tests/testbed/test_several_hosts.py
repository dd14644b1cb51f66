"""A testbed of five hosts of three roles: made, shaped, with Ray on it, and gone.

It comes after test_ray_up.py, which has ended its cluster's head: two at once are much for a
machine.
"""

import pytest
from bed_layout import nodes_on
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.errors import TestbedError
from edgesplit.testbed import cpu
from edgesplit.testbed.layout import HostSpec, Layout
from edgesplit.testbed.system import run
from edgesplit.testbed.testbed import Testbed

pytestmark = [pytest.mark.testbed, pytest.mark.timeout(600)]
NAME, NETWORK = "esmany", "10.83.51"
NAMES = ["end-1", "end-2", "edge-1", "edge-2", "cloud"]
FILE = """
hosts:
  end-1: {role: end, cpus: 0.5}
  end-2: {role: end}
  edge-1: {role: edge}
  edge-2: {role: edge}
  cloud: {role: cloud}
links:
  end-2-edge-1: 5Mbit/s
"""


@pytest.fixture(scope="module")
def call():
    """Run a command of `edgesplit testbed` on the testbed, which is taken down at the end."""

    def call(*words):
        return CliRunner().invoke(main, ["testbed", "--name", NAME, "--network", NETWORK, *words])

    call("down")
    yield call
    call("down")


@pytest.fixture(scope="module")
def bed(call):
    """Knows the name only: hosts and network are in the testbed's state."""
    found = call("up", "--hosts", "end=2,edge=2,cloud=1", "--ray")
    assert "5 nodes have joined" in found.output, found.output
    return Testbed(Layout(NAME))


def test_a_mistake_is_told_before_anything_is_made(call):
    assert "hosts are roles with their number" in call("up", "--hosts", "end=2,edge").output
    assert not Layout(NAME).folder.exists()


def test_every_node_has_its_name_and_its_role(bed):
    layout = bed.layout
    assert list(layout.names) == NAMES
    assert nodes_on(bed, "end-2") == {
        name: [name, name.partition("-")[0], layout.address(name)] for name in NAMES
    }


def test_commands_know_the_hosts(bed, call):
    assert bed.run("end-2", ["hostname"]).strip() == "end-2"
    assert call("exec", "edge-1", "--", "sh", "-c", "exit 3").exit_code == 3
    assert call("shape", "end-2-edge-1", "5Mbit/s", "--one-way").exit_code == 0
    assert call("cut", "edge-1-edge-2").exit_code == 0
    shown = call("status").output
    assert "end-2-edge-1  5Mbit/s" in shown
    assert "edge-2-edge-1 cut" in shown
    assert "the other 17 links: unshaped" in shown
    assert call("cut", "edge-1-edge-2", "--mend").exit_code == 0
    assert "its hosts are end-1, end-2, edge-1, edge-2, cloud" in call("kill", "end").output
    with pytest.raises(TestbedError, match="a link is two hosts such as end-1-end-2"):
        bed.shape([("end", "edge")], 1e6)


def test_up_again_keeps_the_hosts_and_sets_what_a_file_says(bed, call, tmp_path):
    before = bed.state().first
    (tmp_path / "hosts.yaml").write_text(FILE)
    call("shape", "end-2-edge-1", "off")
    assert call("up", "--hosts", str(tmp_path / "hosts.yaml")).exit_code == 0
    assert bed.state().first == before
    assert bed.state().cores == {"end-1": 0.5}
    assert bed.state().rates == dict.fromkeys([("end-2", "edge-1"), ("edge-1", "end-2")], 625e3)
    assert call("up").exit_code == 0
    assert list(bed.layout.names) == NAMES
    refused = call("up", "--hosts", "end=3,cloud=1").output
    assert "is there with the hosts end-1 (end), end-2 (end)" in refused
    with pytest.raises(TestbedError, match=r"given 10\.83\.52: leave --network out"):
        Testbed(Layout(NAME, "10.83.52")).status()


def test_a_killed_host_comes_back_by_its_name(bed):
    bed.kill("edge-2")
    assert {host.host: host.is_running for host in bed.status()}["edge-2"] is False
    bed.start("edge-2")
    assert bed.run("edge-2", ["hostname"]).strip() == "edge-2"


def test_down_leaves_nothing(bed):
    """The last of this file."""
    bed.down()
    assert NAME not in run(["ip", "link"]) + run(["ip", "netns"])
    assert not bed.layout.folder.exists()
    assert not cpu.group(Layout(NAME, hosts=(HostSpec("x", "x"),)), "x").parent.exists()
