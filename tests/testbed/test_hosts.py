"""Three hosts for real: namespaces, links, quotas, power cuts, and what `down` leaves."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bed_layout import LAYOUT
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.errors import TestbedError
from edgesplit.testbed import cpu
from edgesplit.testbed.blueprint import read_blueprint
from edgesplit.testbed.layout import HOSTS, THREE_HOSTS, Layout
from edgesplit.testbed.state import write_state
from edgesplit.testbed.system import run, wait_until
from edgesplit.testbed.testbed import Testbed

pytestmark = pytest.mark.testbed
TRAFFIC = str(Path(__file__).with_name("traffic.py"))
BUSY = "import time; t = time.process_time(); w = time.perf_counter()\nwhile time.process_time() - t < 0.2: pass\nprint(0.2 / (time.perf_counter() - w))"  # fmt: skip # noqa: E501


@pytest.fixture
def servers(nominal):
    """edge and cloud take bytes in."""
    running = [
        subprocess.Popen(nominal.exec(host, [sys.executable, TRAFFIC, "serve", address]))
        for host, address in ((h, LAYOUT.address(h)) for h in ("edge", "cloud"))
    ]
    for host in ("edge", "cloud"):
        wait_until(lambda host=host: reaches(nominal, host), f"{host} to listen")
    yield nominal
    for process in running:
        process.kill()
        process.wait()


def seconds(bed, target, *sizes):
    """Seconds for the end host to get so many bytes over to `target`."""
    words = [sys.executable, TRAFFIC, "time", LAYOUT.address(target), *map(str, sizes)]
    return [float(line) for line in bed.run("end", words).splitlines()]


def quickest_s(bed, target):
    """For 1 MB, of several tries: others that keep this machine busy make some of them slow."""
    return min(seconds(bed, target, *[1_000_000] * 3))


def reaches(bed, target):
    """Whether the end host gets a byte over."""
    try:
        return len(seconds(bed, target, 1)) == 1
    except TestbedError:
        return False


def test_each_host_is_alone(nominal):
    for host in HOSTS:
        assert nominal.run(host, ["hostname"]).strip() == host
        processes = nominal.run(host, ["ps", "-e", "-o", "pid=,comm="]).splitlines()
        assert processes[0].split() == ["1", "sshd"]
        assert len(processes) == 2
        assert LAYOUT.address(host) in nominal.run(host, ["ip", "-brief", "address"])
        assert nominal.run(host, ["sh", "-c", "echo $HOME; ls /dev/shm"]).split() == ["/run/root"]
    nominal.run("end", ["touch", "/dev/shm/mine", "/tmp/ray/mine"])
    assert "mine" not in nominal.run("edge", ["ls", "/dev/shm", "/tmp/ray"])
    assert not Path("/dev/shm/mine").exists()
    cache = "from edgesplit.node.program.host_programs import cache_folder; print(cache_folder())"
    where = nominal.run("end", [sys.executable, "-c", cache]).strip()
    nominal.run("end", ["mkdir", where])
    assert "No such file" in nominal.run("edge", ["sh", "-c", f"ls {where} 2>&1 || true"])
    assert not Path(where).exists(), "a host keeps programs apart from this machine's"
    names = nominal.run("end", ["getent", "ahosts", "cloud"])
    assert LAYOUT.address("cloud") in names


def test_a_command_on_a_host_does_not_see_this_machines_environment(nominal, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_TOKEN", "of-another-cluster")
    assert "of-another-cluster" not in nominal.run("end", ["env"])


def test_ssh_between_hosts_and_from_the_machine(nominal):
    ssh = ["ssh", "-i", str(LAYOUT.key), "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes"]
    ssh += ["-o", "UserKnownHostsFile=/dev/null", f"root@{LAYOUT.address('cloud')}", "hostname"]
    assert run(ssh).strip() == "cloud"


def test_shaping_holds_one_direction_of_one_link(servers):
    servers.shape([("end", "edge")], 1e6)
    assert quickest_s(servers, "edge") > 0.7  # 1 s by the rate
    assert quickest_s(servers, "cloud") < 0.7
    servers.shape([("end", "edge")], None)
    assert quickest_s(servers, "edge") < 0.7


def test_a_small_payload_does_not_slip_through_a_slow_link(servers):
    servers.shape([("end", "edge")], 625e3)
    (took_s,) = seconds(servers, "edge", 98_000)
    assert took_s > 0.12  # 0.157 s by the rate


def test_a_cut_link_is_silent_and_the_others_are_not(servers):
    servers.cut([("end", "edge"), ("edge", "end")])
    assert reaches(servers, "cloud")
    with pytest.raises(TestbedError, match="TimeoutError"):
        seconds(servers, "edge", 1)
    servers.cut([("end", "edge"), ("edge", "end")], is_cut=False)
    assert reaches(servers, "edge")


def test_a_slow_host_gets_its_share(nominal):
    nominal.slow("end", 0.25)
    share = float(nominal.run("end", [sys.executable, "-c", BUSY]))
    assert share < 0.35  # less where this machine is busy
    assert int(cpu.procs_file(LAYOUT, "end").read_text().split()[0]) > 1


def test_a_killed_host_says_nothing_and_comes_back_with_its_conditions(servers):
    servers.slow("edge", 0.5)
    servers.shape([("edge", "end")], 5e6)
    servers.kill("edge")
    assert [host.is_running for host in servers.status()] == [True, False, True]
    with pytest.raises(TestbedError, match=r"testbed start edge"):
        servers.run("edge", ["true"])
    assert not reaches(servers, "edge")
    servers.start("edge")
    servers.start("edge")
    assert servers.run("edge", ["hostname"]).strip() == "edge"
    assert "htb" in servers.run("edge", ["tc", "qdisc", "show", "dev", "eth0"])
    assert servers.status()[1].cores == 0.5


def test_a_second_up_leaves_running_hosts_alone(nominal):
    before = nominal.state().first
    nominal.up()
    assert nominal.state().first == before


def test_a_host_that_died_by_itself_is_made_again(nominal):
    before = nominal.state().first
    os.kill(before["cloud"].pid, 9)
    wait_until(lambda: not before["cloud"].is_alive, "cloud to die")
    nominal.up()
    after = nominal.state().first
    assert after["cloud"] != before["cloud"]
    assert after["end"] == before["end"]
    assert nominal.run("cloud", ["hostname"]).strip() == "cloud"


@pytest.mark.parametrize("step", ["host.Host.wait_ready", "testbed.write_state"])
@pytest.mark.parametrize("hosts", [THREE_HOSTS, read_blueprint("x=2").hosts], ids=["three", "x=2"])
def test_down_leaves_nothing_even_of_a_half_made_one(monkeypatch, step, hosts):
    layout = Layout("eshalf", "10.83.49")  # which hosts there are is in the testbed's state
    half = Testbed(layout)
    half.down()
    there_before = {path: Path(path).exists() for path in ("/etc/edgesplit", "/tmp/ray")}

    written = []

    def crash(*given):
        """write_state crashes when it would note the first host's process, which runs by then."""
        written.append(given)
        if step.startswith("host") or len(written) > 1:
            raise KeyboardInterrupt
        write_state(*given)

    monkeypatch.setattr(f"edgesplit.testbed.{step}", crash)
    with pytest.raises(KeyboardInterrupt):
        half.up(hosts)
    assert half.layout.hosts == hosts
    assert layout.bridge in run(["ip", "link"])
    monkeypatch.undo()
    half.down()
    half.down()
    assert "eshalf" not in run(["ip", "link"]) + run(["ip", "netns"])
    assert not layout.folder.exists()
    assert not cpu.group(layout, "end").parent.exists()
    assert there_before == {path: Path(path).exists() for path in there_before}


def test_what_others_made_is_refused_and_left():
    layout = Layout("esother", "10.83.50")
    run(["ip", "link", "add", layout.bridge, "type", "bridge"])
    try:
        with pytest.raises(TestbedError, match="in its way: esother-br"):
            Testbed(layout).up()
        Testbed(layout).down()
        assert layout.bridge in run(["ip", "link"])
    finally:
        run(["ip", "link", "delete", layout.bridge])
    assert not layout.folder.exists()


def test_a_network_in_use_is_refused(nominal):
    with pytest.raises(TestbedError, match=r"in its way: 10\.83\.48\.1 on estest-br"):
        Testbed(Layout("esother", LAYOUT.network)).up()


def test_the_command_line(nominal):
    def call(*words):
        options = ["--name", LAYOUT.name, "--network", LAYOUT.network]
        return CliRunner().invoke(main, ["testbed", *options, *words])

    assert call("shape", "edge-cloud", "5Mbit/s", "--one-way").exit_code == 0
    assert call("slow", "end", "0.5").exit_code == 0
    assert call("cut", "end-edge").exit_code == 0
    shown = call("status").output
    assert "edge-cloud    5Mbit/s" in shown
    assert "cloud-edge    unshaped" in shown
    assert "edge-end      cut" in shown
    assert "0.5 cores" in shown
    assert call("cut", "end-edge", "--mend").exit_code == 0
    assert call("slow", "end", "off").exit_code == 0
    assert call("shape", "edge-cloud", "off").exit_code == 0
    assert call("exec", "end", "--", "sh", "-c", "exit 3").exit_code == 3
    assert "no host 'moon'" in call("kill", "moon").output
    assert "cannot read no.yaml" in call("up", "--cluster", "no.yaml").output
