"""The files of a host: node.env, the token, and a systemd unit that starts Ray from them.

The words of `ray start` are here, in one place; the shipped cluster.yaml uses the same.
"""

import os
import pwd
import secrets
import shlex
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from edgesplit.deploy.node_env import NodeEnv
from edgesplit.deploy.ports import EVERY_NODE, GCS_PORT, PORTS
from edgesplit.deploy.private_folder import make_private
from edgesplit.errors import ConfigError

UNIT = "edgesplit-node.service"
SYSTEMD = Path("/etc/systemd/system")
_TOKEN_BYTES = 16  # 32 hex characters
_SHORTEST_TOKEN = 16


@dataclass(frozen=True)
class _User:
    """The user that will run Ray: the caller, or under sudo the user that called it."""

    name: str
    uid: int
    gid: int


def ray_start_options(is_head: bool) -> list[str]:
    """Words after `ray start`, quoted for a shell that has sourced the node file."""
    if is_head:
        role = ["--head", "--dashboard-host=127.0.0.1"]
    else:
        role = [f'--address="$ES_HEAD_IP:{GCS_PORT}"']
    return [
        *role,
        '--node-ip-address="$ES_NODE_IP"',
        '--labels="tier=$ES_TIER,node=${ES_NODE:-$ES_TIER}"',
        '--num-cpus="$ES_CPUS"',
        '--object-store-memory="$ES_OBJECT_STORE_BYTES"',
        *[word for p in PORTS if is_head or p.where == EVERY_NODE for word in p.options],
        "--include-log-monitor=false",  # 80 MB, and it outlives its node when the head goes
        "--disable-usage-stats",
        # Of a node file without it nothing is started: Ray would open /ray to everybody.
        '--temp-dir="${RAY_TMPDIR:?}/ray"',
    ]


def start_script(node_file: Path, is_head: bool) -> str:
    """A line for `sh -c`: source the node file, become `ray start --block`."""
    options = " ".join(ray_start_options(is_head))
    source = f"set -a; . {shlex.quote(str(node_file))}; set +a"
    return f'{source}; exec "$ES_BIN/ray" start {options} --block'


def unit_text(env: NodeEnv, node_file: Path, user: str) -> str:
    """A systemd unit that starts Ray on this host, and again whenever it ends."""
    script = start_script(node_file, env.is_head)
    # systemd takes the quotes and expands $ and % itself before the shell does.
    for special, escaped in (("\\", "\\\\"), ('"', '\\"'), ("$", "$$"), ("%", "%%")):
        script = script.replace(special, escaped)
    return f"""\
# Written by `edgesplit node init`. For a host that must join by itself, also after a power cut or
# when the head was away, however often that takes. Not together with `ray up` for this host: each
# would stop what the other started.
[Unit]
Description=Ray for EdgeSplit, {env.title}
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
User={user}
ExecStart=/bin/sh -c "{script}"
Restart=always
RestartSec=3
KillMode=mixed
TimeoutStopSec=20

[Install]
WantedBy=multi-user.target
"""


def write_node_files(env: NodeEnv, folder: Path, token: str | None) -> list[Path]:
    """Write node.env, token and the unit into `folder`; their paths.

    token: None keeps the one there is, or makes one of 32 hex characters. Under sudo the token
    belongs to the user that called sudo. Each file is replaced at once. Raises ConfigError.
    """
    user = _ray_user()
    node_file, token_file, unit = folder / "node.env", folder / "token", folder / UNIT
    with _told(folder):
        folder.mkdir(parents=True, exist_ok=True)
        is_kept = token is None and token_file.exists()
    token = read_token(token_file) if is_kept else token or secrets.token_hex(_TOKEN_BYTES)
    _write(token_file, checked_token(token, "token"), 0o600, user)
    _write(node_file, env.text(), 0o644)
    _write(unit, unit_text(env, node_file.absolute(), user.name), 0o644)
    return [node_file, token_file, unit]


def make_ray_folder(env: NodeEnv) -> Path:
    """Make the folder above Ray's own, which keeps others out; its path. Raises ConfigError."""
    user = _ray_user()
    make_private(Path(env.ray_folder), user.uid, user.gid)
    return Path(env.ray_folder)


def install_unit(folder: Path, systemd: Path) -> Path:
    """Copy the unit from `folder` to where systemd looks. Raises ConfigError."""
    if not systemd.is_dir():
        raise ConfigError(f"there is no {systemd}: this host does not run systemd; omit --systemd")
    _write(systemd / UNIT, (folder / UNIT).read_text("utf-8"), 0o644)
    return systemd / UNIT


def read_token(file: Path) -> str:
    """The token in a file. Raises ConfigError where there is none."""
    try:
        return checked_token(file.read_text("ascii").strip(), str(file))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"cannot read the token file {file} ({error}); copy it from another host's "
            "/etc/edgesplit/token, as the user it belongs to"
        ) from error


def checked_token(token: str, where: str) -> str:
    """The token, if it can be one. Raises ConfigError, which does not repeat it."""
    if len(token) < _SHORTEST_TOKEN or not all("!" <= letter <= "~" for letter in token):
        raise ConfigError(
            f"{where} holds no token: given {len(token)} characters, expected {_SHORTEST_TOKEN} "
            "or more without blanks; copy another host's, or remove the file for a new one"
        )
    return token


def _ray_user() -> _User:
    uid, gid = os.geteuid(), os.getegid()
    if uid == 0 and os.environ.get("SUDO_UID", "").isdigit():
        uid, gid = int(os.environ["SUDO_UID"]), int(os.environ.get("SUDO_GID", "0"))
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # a container without that user
        name = str(uid)
    return _User(name, uid, gid)


def _write(path: Path, text: str, mode: int, user: _User | None = None) -> None:
    """Replace a file at once: a reader sees the old text or the new one."""
    with _told(path):
        handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(handle, "w", encoding="utf-8") as file:
                file.write(text)
            os.chmod(name, mode)
            if user is not None and user.uid != os.geteuid():
                os.chown(name, user.uid, user.gid)
            os.replace(name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(name)
            raise


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """An error of the file system as one that says what to do."""
    try:
        yield
    except PermissionError as error:
        command = Path(sys.executable).with_name("edgesplit")
        raise ConfigError(
            f"no permission to write {path}: run it with sudo, `sudo {command} node init ...`, or "
            "name another --folder"
        ) from error
    except OSError as error:
        raise ConfigError(f"cannot write {path}: {error.strerror or error}") from error
