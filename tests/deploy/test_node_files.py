"""The files of a host: unit, token, modes, and that they are replaced at once."""

import configparser
import os
import shlex
import stat
import subprocess

import pytest

from edgesplit.deploy.node_env import NodeEnv, read_node_env
from edgesplit.deploy.node_files import (
    UNIT,
    install_unit,
    ray_start_options,
    read_token,
    start_script,
    unit_text,
    write_node_files,
)
from edgesplit.deploy.ports import PORTS
from edgesplit.errors import ConfigError

HEAD_IP = "192.168.1.30"
NOBODY = 65534


def env_of(folder, node_ip="192.168.1.31", tier="end", name=""):
    return NodeEnv(
        tier=tier,
        name=name,
        node_ip=node_ip,
        head_ip=HEAD_IP,
        cpus=4,
        object_store_bytes=78643200,
        bin_dir=str(folder / "bin"),
        token_file=str(folder / "token"),
    )


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


def script_of(unit):
    """What systemd hands to `sh -c`: its own quotes and escapes taken away."""
    parser = configparser.ConfigParser(interpolation=None)
    parser.optionxform = str
    parser.read_string(unit)
    shell, flag, script = shlex.split(parser["Service"]["ExecStart"])
    assert (shell, flag) == ("/bin/sh", "-c")
    return parser, script.replace("$$", "$").replace("%%", "%")


def started(script, bin_dir):
    """The words that a stand-in for `ray` is started with, and its settings."""
    bin_dir.mkdir(parents=True)
    (bin_dir / "ray").write_text('#!/bin/sh\nprintf "%s\\n" "$RAY_AUTH_TOKEN_PATH" "$@"\n')
    (bin_dir / "ray").chmod(0o755)
    ran = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, timeout=30)
    assert ran.returncode == 0, ran.stderr
    token_file, *words = ran.stdout.splitlines()
    return token_file, words


@pytest.mark.parametrize("name", ["edgesplit", "my files", 'it\'s 100% "$HOME" \\ `id`;#'])
def test_the_unit_starts_a_node(tmp_path, name):
    folder = tmp_path / name
    env = env_of(folder)
    write_node_files(env, folder, None)
    parser, script = script_of((folder / UNIT).read_text())
    assert parser["Service"]["Restart"] == "always"
    assert parser["Service"]["RestartSec"] == "3"
    assert parser["Unit"]["StartLimitIntervalSec"] == "0"
    assert parser["Install"]["WantedBy"] == "multi-user.target"
    subprocess.run(["sh", "-n", "-c", script], check=True, timeout=30)
    token_file, words = started(script, folder / "bin")
    assert token_file == env.token_file
    assert words[0] == "start"
    assert set(words[1:]) >= {
        f"--address={HEAD_IP}:6379",
        "--node-ip-address=192.168.1.31",
        "--labels=tier=end,node=end",
        "--num-cpus=4",
        "--object-store-memory=78643200",
        "--disable-usage-stats",
        "--block",
    }
    assert not {"--head", "--port=6379"} & set(words)


def test_the_unit_starts_a_node_under_its_name(tmp_path):
    env = env_of(tmp_path / "etc", tier="edge", name="edge-2")
    write_node_files(env, tmp_path / "etc", None)
    parser, script = script_of((tmp_path / "etc" / UNIT).read_text())
    assert parser["Unit"]["Description"] == "Ray for EdgeSplit, node edge-2 of tier edge"
    assert "--labels=tier=edge,node=edge-2" in started(script, tmp_path / "etc" / "bin")[1]


def test_the_heads_unit_starts_the_head(tmp_path):
    env = env_of(tmp_path / "etc", node_ip=HEAD_IP, tier="cloud")
    write_node_files(env, tmp_path / "etc", None)
    _, script = script_of((tmp_path / "etc" / UNIT).read_text())
    _, words = started(script, tmp_path / "etc" / "bin")
    assert set(words) >= {"--head", "--port=6379", "--dashboard-host=127.0.0.1"}
    assert not [word for word in words if word.startswith("--address")]


@pytest.mark.parametrize("is_head", [False, True])
def test_every_pinned_port_is_asked_for(tmp_path, is_head):
    words = ray_start_options(is_head)
    assert len(words) == len(set(words))
    pinned = {word for p in PORTS if is_head or p.where == "every node" for word in p.options}
    assert pinned <= set(words)
    assert all(word in start_script(tmp_path / "node.env", is_head) for word in words)


def test_a_unit_says_who_runs_ray(tmp_path):
    parser, _ = script_of(unit_text(env_of(tmp_path), tmp_path / "node.env", "pi"))
    assert parser["Service"]["User"] == "pi"


# Token and modes


def test_modes_do_not_follow_the_umask(tmp_path):
    before = os.umask(0o777)
    try:
        tmp_path.chmod(0o755)
        written = write_node_files(env_of(tmp_path), tmp_path, None)
    finally:
        os.umask(before)
    assert [path.name for path in written] == ["node.env", "token", UNIT]
    assert [mode(path) for path in written] == [0o644, 0o600, 0o644]


def test_a_new_token_is_32_hex_characters(tmp_path):
    tokens = set()
    for name in ("a", "b"):
        write_node_files(env_of(tmp_path / name), tmp_path / name, None)
        tokens.add((tmp_path / name / "token").read_text())
    assert [len(bytes.fromhex(token)) for token in tokens] == [16, 16]


def test_a_token_is_kept_unless_another_is_given(tmp_path):
    first, second = "a" * 32, "b" * 64
    token = tmp_path / "token"
    write_node_files(env_of(tmp_path), tmp_path, first)
    assert read_token(token) == first
    token.chmod(0o644)
    write_node_files(env_of(tmp_path), tmp_path, None)
    assert (token.read_text(), mode(token)) == (first, 0o600)
    write_node_files(env_of(tmp_path), tmp_path, second)
    assert read_token(token) == second


@pytest.mark.parametrize("text", ["", "short", "with blank" * 4, "ü" * 32, "\0" * 32])
def test_what_is_no_token_is_refused_and_not_repeated(tmp_path, text):
    (tmp_path / "token").write_text(text)
    with pytest.raises(ConfigError, match="token") as told:
        write_node_files(env_of(tmp_path), tmp_path, None)
    assert len(text) < 6 or text not in str(told.value)
    assert not (tmp_path / "node.env").exists()


def test_under_sudo_the_token_is_the_callers(tmp_path, monkeypatch):
    if os.geteuid():
        pytest.skip("only root can give a file away")
    monkeypatch.setenv("SUDO_UID", str(NOBODY))
    monkeypatch.setenv("SUDO_GID", str(NOBODY))
    node_file, token, unit = write_node_files(env_of(tmp_path), tmp_path, None)
    assert (token.stat().st_uid, mode(token)) == (NOBODY, 0o600)
    assert node_file.stat().st_uid == 0
    assert "User=nobody\n" in unit.read_text()


# Written at once, or not at all


def test_a_written_file_is_a_new_one(tmp_path):
    """Whoever has the old one open goes on reading the old text."""
    node_file, *_ = write_node_files(env_of(tmp_path), tmp_path, None)
    with node_file.open() as old:
        write_node_files(env_of(tmp_path, tier="edge"), tmp_path, None)
        assert "ES_TIER=end" in old.read()
    assert read_node_env(node_file).tier == "edge"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(["node.env", "token", UNIT])


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    node_file, *_ = write_node_files(env_of(tmp_path), tmp_path, None)
    before = node_file.read_text()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(ConfigError, match=r"cannot write .*: No space left on device"):
        write_node_files(env_of(tmp_path, tier="edge"), tmp_path, None)
    assert node_file.read_text() == before
    assert len(list(tmp_path.iterdir())) == 3


def test_without_permission_the_message_says_sudo(tmp_path):
    folder = tmp_path / "etc"
    folder.mkdir(mode=0o555)
    is_root = os.geteuid() == 0
    try:
        if is_root:
            os.seteuid(NOBODY)
        with pytest.raises(ConfigError, match=r"no permission to write .*etc.*sudo .*node init"):
            write_node_files(env_of(folder), folder, None)
    finally:
        if is_root:
            os.seteuid(0)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "etc").write_text("")
    with pytest.raises(ConfigError, match=r"cannot write .*etc"):
        write_node_files(env_of(tmp_path / "etc"), tmp_path / "etc", None)


def test_the_unit_is_installed_where_systemd_looks(tmp_path):
    folder, systemd = tmp_path / "etc", tmp_path / "system"
    write_node_files(env_of(folder), folder, None)
    with pytest.raises(ConfigError, match="does not run systemd"):
        install_unit(folder, systemd)
    systemd.mkdir()
    assert install_unit(folder, systemd).read_text() == (folder / UNIT).read_text()
