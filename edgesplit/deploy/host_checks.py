"""What to look at on a host with a node file, for `edgesplit doctor`.

Each look returns whether all is well and what was found. The head is asked elsewhere; what it
said comes in as a value.
"""

import platform
import re
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from os import environ
from pathlib import Path

from edgesplit.deploy.address import is_own
from edgesplit.deploy.node_env import NodeEnv, node_file
from edgesplit.deploy.node_files import read_token
from edgesplit.deploy.ports import EVERY_NODE, PORTS, Port
from edgesplit.deploy.private_folder import way_in

# Clocks matter for logs, TLS and tokens only: no latency is measured across two of them.
CLOCK_TOLERANCE_S = 2.0
_RAY_PROCESS = re.compile(r"^ray::|/ray/(?:core|_private|autoscaler|dashboard|util)/")

Finding = tuple[bool, str]


@dataclass(frozen=True)
class Look:
    """One thing to look at. remedy: what to do where it is not well.

    is_needed: without it the host cannot be a node.
    """

    name: str
    find: Callable[[], Finding]
    remedy: str
    is_needed: bool = True


@dataclass(frozen=True)
class HeadFacts:
    """What a cluster's head says of itself.

    clock_offset_s: the head's clock minus this host's, true to +-clock_resolution_s; None where
    it could not be measured, for the reason in clock_note.
    """

    ray_version: str
    python_version: str
    clock_offset_s: float | None = None
    clock_resolution_s: float = 0.0
    clock_note: str = ""


def host_looks(env: NodeEnv) -> Iterator[Look]:
    """What can be told without asking anyone."""
    yield Look(
        "node file",
        lambda: _node_file(env),
        "write it anew with `edgesplit node init --force` on this host",
    )
    yield Look(
        "token file",
        lambda: _token_file(Path(env.token_file)),
        "copy the head's as the user that runs Ray, `scp HEAD:/etc/edgesplit/token .`, then "
        "`edgesplit node init ... --token-file token`; or `chmod 600` where others can read it",
    )
    yield Look(
        "Ray's folder",
        lambda: _ray_folder(Path(env.ray_folder)),
        f"`sudo chown $USER {env.ray_folder}; chmod 700 {env.ray_folder}`, or `edgesplit node init "
        "--force`, which makes it",
    )
    yield Look(
        "pinned ports",
        lambda: _ports(env.is_head),
        "end the program that holds the port, or move it to another one",
    )


def running_looks() -> Iterator[Look]:
    """A look at each folder in which a Ray of this host keeps its files."""
    for folder, uid in sorted(_running_folders()):
        yield Look(
            f"Ray's files in {folder}",
            partial(_is_shut, folder, uid),
            "accounts that can write there can run code as that Ray's user: start it again with "
            "--temp-dir in a folder of yours of mode 700 (`edgesplit node init` makes one), "
            "docs/security.md",
            is_needed=False,
        )


def head_looks(head: HeadFacts) -> Iterator[Look]:
    """How this host compares with its head."""
    yield Look(
        "versions",
        lambda: _versions(head),
        "install the head's versions here. Where only the last number of Python's differs, "
        "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL=minor in node.env and in the environment of your "
        "programs lets Ray accept it",
    )
    yield Look(
        "clock",
        lambda: _clock(head),
        "run doctor again once it can be compared"
        if head.clock_offset_s is None
        else "set the clocks by NTP on both hosts: `timedatectl set-ntp true`",
        is_needed=False,
    )


def _node_file(env: NodeEnv) -> Finding:
    told = f"{node_file()}: {env.title} at {env.node_ip}"
    if not is_own(env.node_ip):
        return False, f"{told}, which is no address of this host"
    ray = Path(env.bin_dir) / "ray"
    if not ray.exists():
        return False, f"{told}, but there is no {ray}"
    head = "the head" if env.is_head else f"head {env.head_ip}"
    return True, f"{told}, {head}, {env.cpus} CPUs, {env.object_store_bytes >> 20} MiB of objects"


def _token_file(file: Path) -> Finding:
    read_token(file)
    mode = stat.S_IMODE(file.stat().st_mode)
    if mode & 0o077:
        return False, f"{file} can be read by others (mode {mode:o})"
    return True, f"{file}, for its owner only"


def _ray_folder(folder: Path) -> Finding:
    return _is_shut(folder, folder.stat().st_uid)


def _is_shut(folder: Path, uid: int) -> Finding:
    reason = way_in(folder, uid)
    return not reason, reason or f"{folder} lets its user in only"


def _running_folders() -> set[tuple[Path, int]]:
    """(temporary folder, user) of every raylet that runs here and lets itself be seen."""
    import psutil

    found = set()
    for process in psutil.process_iter(["name", "cmdline", "uids"]):
        if process.info["name"] == "raylet" and process.info["uids"] is not None:
            words = re.findall(r"--temp[-_]dir=(\S+)", " ".join(process.info["cmdline"] or ()))
            found |= {(Path(word), process.info["uids"].real) for word in words}
    return found


def _ports(is_head: bool) -> Finding:
    """A port is well where it is free or Ray's own."""
    holders = _holders()
    pinned = [port for port in PORTS if _is_ours(port, is_head)]
    held = [(port, n) for port in pinned for n in port.numbers if n in holders]
    taken = [
        f"{n} ({port.name}) is held by {holders[n]}" for port, n in held if not _is_ray(holders[n])
    ]
    if taken:
        return False, "; ".join(taken)
    by_ray = ", ".join(str(n) for _, n in held) or "none"
    return True, f"held by Ray: {by_ray}; the rest is free"


def _is_ours(port: Port, is_head: bool) -> bool:
    return port.name != "SSH" and (is_head or port.where == EVERY_NODE)


def _holders() -> dict[int, str]:
    """The command line that listens on each TCP port of this host."""
    import psutil

    listening = [c for c in psutil.net_connections("tcp") if c.status == psutil.CONN_LISTEN]
    return {c.laddr.port: _command(c.pid) for c in listening}


def _command(pid: int | None) -> str:
    """What a process runs. Which one holds a port is told to its owner and to root only."""
    import psutil

    try:
        return " ".join(psutil.Process(pid).cmdline())[:80] if pid else _of_another_user()
    except psutil.Error:
        return "a process that has just ended"


def _of_another_user() -> str:
    import psutil

    commands = (" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"]))
    if any(command.split(" ")[0].endswith("/raylet") for command in commands):
        return "ray::(of another user; a raylet runs here)"
    return "a process of another user (run doctor with sudo to see whose)"


def _is_ray(command: str) -> bool:
    return _RAY_PROCESS.search(command) is not None


def _versions(head: HeadFacts) -> Finding:
    ray, python = version("ray"), platform.python_version()
    level = environ.get("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", "patch")
    count = 2 if level == "minor" else 3
    is_same = ray == head.ray_version and (
        python.split(".")[:count] == head.python_version.split(".")[:count]
    )
    here, there = (f"Ray {ray}, Python {python}", f"{head.ray_version}, {head.python_version}")
    return is_same, f"{here} here; {there} on the head"


def _clock(head: HeadFacts) -> Finding:
    if head.clock_offset_s is None:
        return False, f"not compared with the head's: {head.clock_note}"
    side = "ahead of" if head.clock_offset_s < 0 else "behind"
    return (
        abs(head.clock_offset_s) <= CLOCK_TOLERANCE_S,
        f"{abs(head.clock_offset_s):.3f} s {side} the head's, +-{head.clock_resolution_s:.3f} s; "
        f"{CLOCK_TOLERANCE_S:g} s are tolerated",
    )
