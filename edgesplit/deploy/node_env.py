"""The node file, /etc/edgesplit/node.env: what a host declares of itself, checked, as shell text.

A POSIX shell can source it; the commands that start Ray take their values, and Ray its own
settings, from there. Reading it runs nothing: text that a shell would expand is refused.
"""

import ipaddress
import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgesplit.errors import ConfigError

NODE_FILE = Path("/etc/edgesplit/node.env")
NODE_FILE_VARIABLE = "EDGESPLIT_NODE_ENV"
RAY_FOLDER = Path("/var/lib/edgesplit")
# Ray makes sockets this deep below its own folder.
RAY_SOCKET = "/session_2026-01-01_00-00-00_123456_1234567/sockets/plasma_store"


def longest_path(rays: str) -> int:
    """Bytes that the path of the folder above Ray's may have; a Unix socket's may have 107."""
    return 107 - len(f"/{rays}{RAY_SOCKET}")


LONGEST_RAY_FOLDER = longest_path("ray")
MIN_OBJECT_STORE_BYTES = 75 << 20  # ray_constants.OBJECT_STORE_MINIMUM_MEMORY_BYTES

# Of Ray's own processes. The time limit is how long a node waits for a lost head before it ends,
# to join anew: the head's autoscaler restarts Ray on a node that it has not heard of for 30 s, so
# that longer (Ray's default is 60 s) gains nothing. `ray down` stops the head only; the other
# nodes end by this limit. Shorter, and a break in the Wi-Fi would cost the loaded segments.
# The self check is how often a node asks the head whether it still knows it. One that was started
# anew without its storage does not, and the node ends, to join anew (Ray's default is 60 s).
# A node that is told to stop would wait 30 s for its actors, of which a tier's stays for others.
RAY_SETTINGS = {
    "RAY_AUTH_MODE": "token",
    "RAY_worker_niceness": "0",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "30",
    "RAY_raylet_liveness_self_check_interval_ms": "5000",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
}
_COMMENTS = {
    "ES_TIER": "the tier this host plays: its Ray node gets the label tier=NAME",
    "ES_NODE": "the node's name; without it the tier's: its Ray node gets the label node=NAME",
    "ES_NODE_IP": "this host's own IPv4 address, as the others reach it",
    "ES_HEAD_IP": "the head's IPv4 address",
    "ES_CPUS": "cores for EdgeSplit and Ray",
    "ES_OBJECT_STORE_BYTES": "memory of Ray's object store; larger objects go through the disk",
    "ES_BIN": "folder of this installation's ray and edgesplit",
    "RAY_AUTH_TOKEN_PATH": "the token that every node of the cluster shares",
    "RAY_TMPDIR": "Ray's files, in `ray` below it; for its user only, as Ray opens its own",
    "RAY_AUTH_MODE": "Ray answers only calls with the token",
    "RAY_worker_niceness": "actors at nice 0, not Ray's 15, for latency",
    "RAY_prestart_worker_first_driver": "no worker processes ahead that no actor will use",
    "RAY_gcs_rpc_server_reconnect_timeout_s": "seconds without the head until Ray ends here",
    "RAY_raylet_liveness_self_check_interval_ms": "how often it asks if the head still knows it",
    "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "seconds that a stop waits for actors, which stay",
}
_OPTIONAL = "ES_NODE"
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")  # ray._private.label_utils
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What a shell takes as it stands: plain characters, 'anything', "anything without $ ` \".
_LITERAL = re.compile(r"""(?:[\w@%+=:,./-]|'[^']*'|"[^"$`\\]*")*""", re.ASCII)


@dataclass(frozen=True)
class NodeEnv:
    """What one host is in the cluster; the head is the host whose node_ip is head_ip.

    name: the node's; empty stands for the tier's name, and becomes it. Raises ConfigError with
    what was given, what is expected and what to do.

    Example:
        >>> own = ("192.168.1.21", "192.168.1.30", 4, 1 << 30, "/opt/bin", "/etc/edgesplit/token")
        >>> NodeEnv("edge", *own).name, NodeEnv("edge", *own, name="edge-2").title
        ('edge', 'node edge-2 of tier edge')
    """

    tier: str
    node_ip: str
    head_ip: str
    cpus: int
    object_store_bytes: int
    bin_dir: str
    token_file: str
    ray_folder: str = str(RAY_FOLDER)
    name: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", self.name or self.tier)
        for key, value in self.values.items():
            check_value(key, value)

    @property
    def is_head(self) -> bool:
        """Whether this host runs Ray's head."""
        return self.node_ip == self.head_ip

    @property
    def title(self) -> str:
        """What this host is, for people: `tier edge`, or `node edge-2 of tier edge`."""
        named = f"node {self.name} of " if self.name != self.tier else ""
        return f"{named}tier {self.tier}"

    @property
    def values(self) -> dict[str, str]:
        """Every variable of the file, Ray's settings included; ES_NODE where it says more."""
        own = {
            "ES_TIER": self.tier,
            **({"ES_NODE": self.name} if self.name != self.tier else {}),
            "ES_NODE_IP": self.node_ip,
            "ES_HEAD_IP": self.head_ip,
            "ES_CPUS": str(self.cpus),
            "ES_OBJECT_STORE_BYTES": str(self.object_store_bytes),
            "ES_BIN": str(self.bin_dir),
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            "RAY_TMPDIR": str(self.ray_folder),
        }
        return own | RAY_SETTINGS

    def text(self) -> str:
        """The file: one comment and one line KEY=VALUE per variable."""
        lines = ["# Written by `edgesplit node init`; read by a shell and by EdgeSplit."]
        for key, value in self.values.items():
            lines += [f"# {_COMMENTS[key]}", f"{key}={shlex.quote(value)}"]
        return "\n".join(lines) + "\n"


def node_file() -> Path:
    """Where this host's node file is: $EDGESPLIT_NODE_ENV or /etc/edgesplit/node.env."""
    return Path(os.environ.get(NODE_FILE_VARIABLE) or NODE_FILE)


def read_node_env(path: Path | str | None = None) -> NodeEnv | None:
    """This host's node file; None where there is none.

    Raises ConfigError naming the file, the line and the reason where it is malformed.
    """
    file = Path(path) if path is not None else node_file()
    try:
        lines = file.read_text("utf-8").split("\n")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the node file {file}: {error}") from error
    values: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        try:
            values |= _assignment(line.strip(), values)
        except ConfigError as error:
            raise ConfigError(f"{file}, line {number}: {error}") from error
    return _node_env(file, values)


def check_value(key: str, value: str) -> None:
    """Raise ConfigError unless `value` can stand for `key` in a node file."""
    is_ok, expected = _CHECKS.get(key, (_is_text, "printable characters"))
    if not is_ok(value):
        raise ConfigError(f"{key}: given {value!r}, expected {expected}")


def _node_env(file: Path, values: dict[str, str]) -> NodeEnv:
    missing = [key for key in _CHECKS if key not in values and key != _OPTIONAL]
    if missing:
        raise ConfigError(
            f"{file} lacks {', '.join(missing)}; write it anew with `edgesplit node init --force`"
        )
    return NodeEnv(
        tier=values["ES_TIER"],
        node_ip=values["ES_NODE_IP"],
        head_ip=values["ES_HEAD_IP"],
        cpus=int(values["ES_CPUS"]),
        object_store_bytes=int(values["ES_OBJECT_STORE_BYTES"]),
        bin_dir=values["ES_BIN"],
        token_file=values["RAY_AUTH_TOKEN_PATH"],
        ray_folder=values["RAY_TMPDIR"],
        name=values.get("ES_NODE", ""),
    )


def _assignment(line: str, before: dict[str, str]) -> dict[str, str]:
    """The variable that a line sets; none for a comment. Raises ConfigError."""
    if not line or line.startswith("#"):
        return {}
    key, equals, text = line.partition("=")
    if not equals or not _NAME.fullmatch(key):
        raise ConfigError(f"given {line!r}, expected KEY=VALUE or a comment")
    if not _LITERAL.fullmatch(text):
        raise ConfigError(
            f"{key}: given {text}, expected one value that a shell takes as it stands; "
            "put it in single quotes"
        )
    if key in before:
        raise ConfigError(f"{key} is set twice; keep one of the lines")
    if key.startswith("ES_") and key not in _CHECKS:
        raise ConfigError(f"unknown {key}; the keys are {', '.join(_CHECKS)}")
    value = "".join(shlex.split(text))
    check_value(key, value)
    return {key: value}


def _is_text(value: str) -> bool:
    return value.isprintable()


def _is_label(value: str) -> bool:
    return bool(_LABEL.fullmatch(value))


def _is_address(value: str) -> bool:
    try:
        address = ipaddress.IPv4Address(value)
    except ValueError:
        return False
    return not (address.is_unspecified or address.is_multicast or address.packed[0] == 255)


def _is_path(value: str) -> bool:
    return value.startswith("/") and value.isprintable()


def _at_least(smallest: int) -> Callable[[str], bool]:
    return lambda value: value.isascii() and value.isdigit() and int(value) >= smallest


# Names would not do for addresses: Ray's autoscaler compares them as text with what the nodes say.
_ADDRESS = (
    _is_address,
    "a numeric IPv4 address such as 192.168.1.30 (no name, no IPv6); `ip -4 address` lists them",
)
_CHECKS: dict[str, tuple[Callable[[str], bool], str]] = {
    "ES_TIER": (
        _is_label,
        "1 to 63 letters, digits and . _ - between them, such as end",
    ),
    "ES_NODE": (
        _is_label,
        "1 to 63 letters, digits and . _ - between them, such as edge-2",
    ),
    "ES_NODE_IP": _ADDRESS,
    "ES_HEAD_IP": _ADDRESS,
    "ES_CPUS": (_at_least(1), "a whole number of cores, 1 or more"),
    "ES_OBJECT_STORE_BYTES": (
        _at_least(MIN_OBJECT_STORE_BYTES),
        f"bytes, {MIN_OBJECT_STORE_BYTES} (75 MiB) or more, which is Ray's minimum",
    ),
    "ES_BIN": (_is_path, "an absolute path of printable characters"),
    "RAY_AUTH_TOKEN_PATH": (_is_path, "an absolute path of printable characters"),
    "RAY_TMPDIR": (
        lambda value: _is_path(value) and len(os.fsencode(value)) <= LONGEST_RAY_FOLDER,
        f"an absolute path of at most {LONGEST_RAY_FOLDER} bytes, for Ray's sockets lie below it",
    ),
    "RAY_AUTH_MODE": (
        lambda value: value == "token",
        "token: without it anyone who reaches Ray's ports can run code on this host",
    ),
}
