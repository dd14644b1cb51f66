"""`edgesplit node init`: what it writes and says, and a user's mistakes."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.deploy.node_env import read_node_env
from edgesplit.deploy.node_files import UNIT

OTHER = ("--head-ip", "192.168.1.30", "--node-ip", "192.168.1.31")
HEAD = ("--head", "--node-ip", "192.168.1.30")


@pytest.fixture
def init(tmp_path):
    """Run `node init` for a tier in a folder of the test."""
    folder = tmp_path / "etc"

    def run(*arguments, tier="end"):
        words = ["node", "init", "--tier", tier, "--folder", str(folder), *arguments]
        return CliRunner().invoke(main, words)

    run.folder = folder
    return run


@pytest.mark.parametrize("command", [["node"], ["node", "init"]])
def test_help(command):
    found = CliRunner().invoke(main, [*command, "--help"])
    assert found.exit_code == 0
    assert ("Example: edgesplit node init --tier end --head-ip 192.168.1.30" in found.output) == (
        command[-1] == "init"
    )


def test_a_worker(init):
    found = init(*OTHER, "--cpus", "3")
    assert found.exit_code == 0, found.output
    env = read_node_env(init.folder / "node.env")
    assert (env.tier, env.node_ip, env.head_ip) == ("end", "192.168.1.31", "192.168.1.30")
    assert (env.cpus, env.object_store_bytes) == (3, 75 << 20)
    assert env.bin_dir == str(Path(sys.executable).parent)
    assert env.token_file == str(init.folder / "token")
    for name in ("node.env", "token", UNIT):
        assert f"wrote {init.folder / name}\n" in found.output
    assert f"scp 192.168.1.30:{init.folder}/token edgesplit-token" in found.output
    assert found.output.endswith("ray up cluster.yaml\n")


def test_the_head(init):
    found = init(*HEAD, tier="cloud")
    env = read_node_env(init.folder / "node.env")
    assert env.is_head
    assert env.object_store_bytes == 1 << 30
    assert env.cpus >= 1
    assert f"scp {init.folder}/token USER@HOST:edgesplit-token\n" in found.output
    assert "init --head-ip 192.168.1.30 --token-file edgesplit-token --tier TIER" in found.output


def test_the_commands_it_prints_work(init, tmp_path):
    """The other host's line, as the head says it, gives that host the head's token."""
    told = init(*HEAD, tier="cloud").output
    line = re.search(r"edgesplit\) node init (.*) --tier TIER", told)[1]
    (tmp_path / "edgesplit-token").write_text((init.folder / "token").read_text() + "\n")
    words = shlex.split(line.replace("edgesplit-token", str(tmp_path / "edgesplit-token")))
    folder = ["--folder", str(tmp_path / "end"), "--node-ip", "192.168.1.31"]
    found = CliRunner().invoke(main, ["node", "init", "--tier", "end", *words, *folder])
    assert found.exit_code == 0, found.output
    assert (tmp_path / "end" / "token").read_text() == (init.folder / "token").read_text()
    assert "scp" not in found.output


def test_again_changes_nothing(init):
    init(*OTHER)
    before = {path.name: path.read_text() for path in init.folder.iterdir()}
    assert init(*OTHER).exit_code == 0
    assert {path.name: path.read_text() for path in init.folder.iterdir()} == before


def test_another_node_file_is_kept_without_force(init):
    init(*OTHER, "--cpus", "4")
    found = init(*OTHER, "--cpus", "2")
    assert found.exit_code == 1
    assert "differs: now ES_CPUS=4, then ES_CPUS=2; --force replaces it" in found.stderr
    assert read_node_env(init.folder / "node.env").cpus == 4
    assert init(*OTHER, "--cpus", "2", "--force").exit_code == 0
    assert read_node_env(init.folder / "node.env").cpus == 2


def test_a_users_own_setting_is_kept_without_force(init):
    init(*OTHER)
    with (init.folder / "node.env").open("a") as file:
        file.write("RAY_TMPDIR=/mnt/ssd\n")
    found = init(*OTHER)
    assert found.exit_code == 1
    assert "now RAY_TMPDIR=/mnt/ssd, then nothing" in found.stderr


def test_force_replaces_a_malformed_file(init):
    init.folder.mkdir()
    (init.folder / "node.env").write_bytes(b"\xff")
    found = init(*OTHER)
    assert (found.exit_code, "--force replaces it" in found.stderr) == (1, True)
    assert init(*OTHER, "--force").exit_code == 0


def test_systemd(init, tmp_path, monkeypatch):
    monkeypatch.setattr("edgesplit.deploy.node_files.SYSTEMD", tmp_path)
    found = init(*OTHER, "--systemd")
    assert (tmp_path / UNIT).read_text() == (init.folder / UNIT).read_text()
    assert found.output.endswith(
        "  sudo systemctl daemon-reload\n  sudo systemctl enable --now edgesplit-node\n"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--head-ip", "pi.local"], "ES_HEAD_IP: given 'pi.local', expected a numeric IPv4"),
        (["--head-ip", "fd00::1"], "no IPv6"),
        (["--head-ip", "127.0.0.1"], "loopback, which no other host reaches"),
        (["--head", "--node-ip", "127.0.1.1"], "127.0.1.1 is this host's loopback"),
        ([*OTHER, "--node-ip", "pi"], "ES_NODE_IP: given 'pi'"),
        ([*OTHER, "--token-file", "missing"], "cannot read the token file missing"),
        ([*OTHER, "--token-file", __file__], "holds no token"),
        ([*OTHER, "--folder", f"{__file__}/etc"], "cannot"),
    ],
)
def test_a_mistake_is_one_message(init, arguments, message):
    found = init(*arguments)
    assert found.exit_code == 1, found.output
    assert message in found.stderr
    assert found.stderr.startswith("edgesplit: ")
    assert not init.folder.exists()


def test_a_bad_tier(init):
    found = init(*OTHER, tier="the end")
    assert found.exit_code == 1
    assert "ES_TIER: given 'the end'" in found.stderr


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--node-ip", "192.168.1.31"],
        ["--head", *OTHER],
        [*OTHER, "--cpus", "0"],
        [*OTHER, "--object-store-mb", "74"],
    ],
)
def test_wrong_usage(init, arguments):
    found = init(*arguments)
    assert found.exit_code == 2
    assert "Usage: " in found.stderr
    assert not init.folder.exists()


def test_the_address_is_the_one_towards_the_head(init, monkeypatch):
    asked = []

    def source(target):
        asked.append(target)
        return "192.168.1.77"

    monkeypatch.setattr("edgesplit.deploy.address.source_address", source)
    assert init("--head-ip", "192.168.1.30").exit_code == 0
    assert read_node_env(init.folder / "node.env").node_ip == "192.168.1.77"
    assert init("--head", "--force").exit_code == 0
    assert asked == ["192.168.1.30", None]
    assert read_node_env(init.folder / "node.env").is_head
