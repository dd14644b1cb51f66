"""`edgesplit node init`: what it writes and says, and a user's mistakes."""

import os
import re
import shlex
import stat
import sys
import tempfile
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgesplit.cli import main
from edgesplit.deploy.node_env import read_node_env
from edgesplit.deploy.node_files import UNIT
from edgesplit.deploy.private_folder import way_in

OTHER = ("--head-ip", "192.168.1.30", "--node-ip", "192.168.1.31")
NOBODY = 65534
HEAD = ("--head", "--node-ip", "192.168.1.30")


@pytest.fixture
def ray_folder():
    """One whose path leaves room for Ray's sockets; not there yet."""
    with tempfile.TemporaryDirectory(prefix="t-", dir="/tmp") as folder:
        yield Path(folder, "edgesplit")


@pytest.fixture
def init(tmp_path, ray_folder):
    """Run `node init` for a tier in a folder of the test."""
    folder = tmp_path / "etc"

    def run(*arguments, tier="end"):
        words = ["node", "init", "--tier", tier, "--folder", str(folder)]
        return CliRunner().invoke(main, [*words, "--ray-folder", str(ray_folder), *arguments])

    run.folder, run.ray_folder = folder, ray_folder
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


def test_a_worker_with_a_name(init):
    found = init(*OTHER, "--name", "edge-2", tier="edge")
    assert found.exit_code == 0, found.output
    env = read_node_env(init.folder / "node.env")
    assert (env.tier, env.name) == ("edge", "edge-2")
    assert "node edge-2 of tier edge at 192.168.1.31, head 192.168.1.30" in found.output
    assert "--token-file edgesplit-token --tier edge --name edge-2\n" in found.output


def test_another_name_is_refused_without_force(init):
    init(*OTHER)
    found = init(*OTHER, "--name", "end-2")
    assert found.exit_code == 1
    assert "it has nothing, the new one ES_NODE=end-2; --force replaces it" in found.stderr


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
    folder += ["--ray-folder", str(init.ray_folder)]
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
    assert "it has ES_CPUS=4, the new one ES_CPUS=2; --force replaces it" in found.stderr
    assert read_node_env(init.folder / "node.env").cpus == 4
    assert init(*OTHER, "--cpus", "2", "--force").exit_code == 0
    assert read_node_env(init.folder / "node.env").cpus == 2


def test_a_users_own_setting_is_kept_without_force(init):
    init(*OTHER)
    with (init.folder / "node.env").open("a") as file:
        file.write("RAY_memory_usage_threshold=0.9\n")
    found = init(*OTHER)
    assert found.exit_code == 1
    assert "it has RAY_memory_usage_threshold=0.9, the new one nothing" in found.stderr


def test_rays_folder_is_for_its_user_only(init):
    found = init(*OTHER)
    assert f"made {init.ray_folder} for Ray's user only" in found.output
    assert read_node_env(init.folder / "node.env").ray_folder == str(init.ray_folder)
    assert way_in(init.ray_folder, os.geteuid()) == ""
    init.ray_folder.chmod(0o777)
    assert init(*OTHER).exit_code == 0
    assert way_in(init.ray_folder, os.geteuid()) == ""


@pytest.mark.parametrize("kind", ["link", "file"])
def test_rays_folder_is_not_taken_from_others(init, kind, tmp_path):
    if kind == "link":
        init.ray_folder.symlink_to(tmp_path)
    else:
        init.ray_folder.write_text("")
    found = init(*OTHER)
    assert found.exit_code == 1
    assert f"cannot make the folder {init.ray_folder}" in found.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_rays_folder_of_another_user_is_refused(init):
    init.ray_folder.mkdir()
    os.chown(init.ray_folder, NOBODY, NOBODY)
    found = init(*OTHER)
    assert found.exit_code == 1
    assert f"{init.ray_folder} belongs to user {NOBODY}" in found.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give folders away")
def test_under_sudo_rays_folder_is_the_callers(init, monkeypatch):
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    monkeypatch.setenv("SUDO_GID", str(NOBODY))
    for _ in range(2):
        assert init(*OTHER).exit_code == 0
        found = init.ray_folder.stat()
        assert (found.st_uid, stat.S_IMODE(found.st_mode)) == (NOBODY, 0o700)


def test_where_rays_folder_is_by_default(init, tmp_path):
    (init.ray_folder.parent / "etc").mkdir()
    words = ["node", "init", "--tier", "end", *OTHER]
    short = init.ray_folder.parent / "etc"
    assert CliRunner().invoke(main, [*words, "--folder", str(short)]).exit_code == 0
    assert read_node_env(short / "node.env").ray_folder == f"{short}/ray"
    long = tmp_path / ("x" * 40)
    found = CliRunner().invoke(main, [*words, "--folder", str(long)])
    assert found.exit_code == 1
    assert "expected an absolute path of at most" in found.stderr


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
        ([*OTHER, "--name", "edge 2"], "ES_NODE: given 'edge 2', expected 1 to 63 letters"),
        ([*OTHER, "--name", ""], "ES_NODE: given ''"),
        (["--head-ip", "pi.local"], "ES_HEAD_IP: given 'pi.local', expected a numeric IPv4"),
        (["--head-ip", "fd00::1"], "no IPv6"),
        (["--head-ip", "127.0.0.1"], "loopback address, which no other host reaches"),
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
