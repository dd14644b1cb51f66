"""The node file: what may stand in it, and that a real shell reads the same from it."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesplit.deploy.node_env import NodeEnv, node_file, read_node_env
from edgesplit.errors import ConfigError

GOOD = NodeEnv(
    tier="end",
    node_ip="192.168.1.31",
    head_ip="192.168.1.30",
    cpus=4,
    object_store_bytes=78643200,
    bin_dir="/home/pi/edgesplit/.venv/bin",
    token_file="/etc/edgesplit/token",
)
ODD_PATHS = [
    "/opt/my tools/bin",
    "/opt/it's/bin",
    '/opt/"quoted"/$HOME/`id`',
    "/opt/a\\b;c&d|e",
    "/opt/ünï/*?~#!",
]


def sourced(text, folder):
    """The variables that a program started by `sh` gets from the file."""
    (folder / "node.env").write_text(text)
    ran = subprocess.run(
        ["sh", "-euc", 'set -a; . "$0"; set +a; exec env -0', str(folder / "node.env")],
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        check=True,
        timeout=30,
    )
    pairs = (entry.partition(b"=") for entry in ran.stdout.split(b"\0"))
    return {key.decode(): value.decode() for key, _, value in pairs}


@pytest.mark.parametrize("path", [GOOD.bin_dir, *ODD_PATHS])
def test_a_shell_gets_the_same_values(tmp_path, path):
    env = replace(GOOD, bin_dir=path, token_file=f"{path}/token")
    found = sourced(env.text(), tmp_path)
    assert found.items() >= env.values.items()
    assert read_node_env(tmp_path / "node.env") == env


def test_rays_settings_are_in_the_file(tmp_path):
    found = sourced(GOOD.text(), tmp_path)
    assert found["RAY_AUTH_MODE"] == "token"
    assert found["RAY_AUTH_TOKEN_PATH"] == "/etc/edgesplit/token"
    assert found["RAY_worker_niceness"] == "0"
    assert found["RAY_prestart_worker_first_driver"] == "0"
    assert 0 < int(found["RAY_gcs_rpc_server_reconnect_timeout_s"]) <= 60
    assert found["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == "0"


@pytest.mark.parametrize("env", [GOOD, replace(GOOD, name="end-2")], ids=["plain", "named"])
def test_every_variable_has_a_comment(env):
    lines = env.text().splitlines()
    settings = [i for i, line in enumerate(lines) if not line.startswith("#")]
    assert [lines[i].split("=")[0] for i in settings] == list(env.values)
    assert all(lines[i - 1].startswith("# ") for i in settings)


PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" '\"$\\"))


@given(path=PRINTABLE)
def test_what_is_written_is_read_back(tmp_path_factory, path):
    file = tmp_path_factory.getbasetemp() / "any.env"
    env = replace(GOOD, bin_dir=f"/{path}")
    file.write_text(env.text())
    assert read_node_env(file) == env


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("tier", "", "ES_TIER"),
        ("tier", "-end", "ES_TIER: given '-end', expected 1 to 63 letters"),
        ("tier", "end,edge", "ES_TIER"),
        ("tier", "the end", "ES_TIER"),
        ("tier", "e" * 64, "ES_TIER"),
        ("tier", "end\n", "ES_TIER"),
        ("name", "-2", "ES_NODE: given '-2', expected 1 to 63 letters, digits and . _ - between"),
        ("name", "end 2", "ES_NODE"),
        ("name", "end,tier=edge", "ES_NODE"),
        ("name", "e" * 64, "ES_NODE"),
        ("node_ip", "pi.local", "ES_NODE_IP: given 'pi.local', expected a numeric IPv4 address"),
        ("node_ip", "192.168.1.031", "ES_NODE_IP"),
        ("node_ip", "0.0.0.0", "ES_NODE_IP"),
        ("node_ip", "224.0.0.1", "ES_NODE_IP"),
        ("node_ip", "fd00::1", "no IPv6"),
        ("head_ip", "192.168.1.30:6379", "ES_HEAD_IP"),
        ("head_ip", "", "ES_HEAD_IP"),
        ("cpus", 0, "ES_CPUS: given '0', expected a whole number"),
        ("cpus", -1, "ES_CPUS"),
        ("cpus", 1.5, "ES_CPUS"),
        ("object_store_bytes", 78643199, "78643200 (75 MiB) or more"),
        ("object_store_bytes", "1e9", "ES_OBJECT_STORE_BYTES"),
        ("bin_dir", "bin", "ES_BIN: given 'bin', expected an absolute path"),
        ("bin_dir", "/a\nES_CPUS=9", "ES_BIN"),
        ("token_file", "~/token", "RAY_AUTH_TOKEN_PATH"),
    ],
)
def test_bad_values_are_refused(field, value, message):
    with pytest.raises(ConfigError) as told:
        replace(GOOD, **{field: value})
    assert message in str(told.value)


@pytest.mark.parametrize(
    ("tier", "is_head"), [("end", False), ("cloud-1.a_B", False), ("e", False), ("x" * 63, True)]
)
def test_good_values(tier, is_head):
    env = replace(GOOD, tier=tier, node_ip=GOOD.head_ip if is_head else GOOD.node_ip)
    assert env.is_head == is_head


def test_a_node_is_called_as_its_tier_where_it_has_no_name(tmp_path):
    """Nothing of a name stands in such a file: files of older versions are the same."""
    assert (GOOD.name, GOOD.title) == ("end", "tier end")
    assert "NODE=" not in GOOD.text()
    (tmp_path / "node.env").write_text(GOOD.text() + "ES_NODE=end\n")
    assert read_node_env(tmp_path / "node.env") == GOOD


def test_a_node_has_a_name_of_its_own(tmp_path):
    env = replace(GOOD, tier="edge", name="edge-2")
    assert env.title == "node edge-2 of tier edge"
    assert sourced(env.text(), tmp_path)["ES_NODE"] == "edge-2"
    assert read_node_env(tmp_path / "node.env") == env


def changed(before, after):
    text = GOOD.text()
    assert before in text
    return text.replace(before, after)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (changed("ES_TIER=end", "ES_TIER=the end"), "line 3: ES_TIER: given the end"),
        (changed("ES_TIER=end", "ES_TIER=-end"), "line 3: ES_TIER: given '-end', expected"),
        (changed("ES_TIER=end", "ES_TIER = end"), "line 3: given 'ES_TIER = end', expected KEY="),
        (changed("ES_TIER=end", "export ES_TIER=end"), "line 3: given 'export ES_TIER"),
        (changed("ES_TIER=end", "ES_TIER"), "line 3: given 'ES_TIER', expected KEY=VALUE"),
        (changed("ES_TIER=end", "ES_TIER=end # mine"), "line 3: ES_TIER"),
        (changed("ES_TIER=end", "ES_TIER=$(hostname)"), "line 3: ES_TIER: given $(hostname)"),
        (changed("ES_TIER=end", 'ES_TIER="$T"'), "line 3: ES_TIER"),
        (changed("ES_TIER=end", "ES_TIER='end"), "line 3: ES_TIER"),
        (changed("ES_TIER=end", "ES_TIER=end\nES_TIER=edge"), "line 4: ES_TIER is set twice"),
        (changed("ES_TIER=end", "ES_TEIR=end"), "line 3: unknown ES_TEIR; the keys are ES_TIER"),
        (changed("ES_TIER=end\n", ""), "lacks ES_TIER; write it anew"),
        (changed("ES_TIER=end", "ES_TIER=end\nES_NODE="), "line 4: ES_NODE: given '', expected 1"),
        (changed("ES_CPUS=4", "ES_CPUS=four"), "line 9: ES_CPUS: given 'four'"),
        (changed("RAY_AUTH_MODE=token", "RAY_AUTH_MODE=disabled"), "RAY_AUTH_MODE: given 'disab"),
        (changed("RAY_AUTH_MODE=token\n", ""), "lacks RAY_AUTH_MODE"),
        ("", "lacks ES_TIER, ES_NODE_IP"),
    ],
)
def test_a_malformed_file_names_the_line(tmp_path, text, message):
    file = tmp_path / "node.env"
    file.write_text(text)
    with pytest.raises(ConfigError) as told:
        read_node_env(file)
    assert message in str(told.value)
    assert str(file) in str(told.value)


def test_what_a_user_may_change(tmp_path):
    """Comments, blanks, quotes, other settings of Ray."""
    text = changed("ES_TIER=end", "\n  # mine\n\nES_TIER=\"end\"\nRAY_spill='/mnt/big disk'")
    text = text.replace("niceness=0", "niceness=5")
    (tmp_path / "node.env").write_text(text)
    assert read_node_env(tmp_path / "node.env") == GOOD
    assert sourced(text, tmp_path)["RAY_spill"] == "/mnt/big disk"


def test_files_that_cannot_be_read(tmp_path):
    assert read_node_env(tmp_path / "none") is None
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for file in (tmp_path, tmp_path / "binary"):
        with pytest.raises(ConfigError, match="cannot read the node file"):
            read_node_env(file)


def test_where_the_file_is(monkeypatch, tmp_path):
    monkeypatch.delenv("EDGESPLIT_NODE_ENV", raising=False)
    assert node_file() == Path("/etc/edgesplit/node.env")
    monkeypatch.setenv("EDGESPLIT_NODE_ENV", str(tmp_path / "my.env"))
    assert read_node_env() is None
    (tmp_path / "my.env").write_text(GOOD.text())
    assert read_node_env() == GOOD
