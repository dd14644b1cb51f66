"""Commands of the system, run with a time limit; their failures become TestbedError."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from edgesplit.errors import TestbedError

COMMAND_TIMEOUT_S = 20.0
_POLL_S = 0.02
# Command -> Debian package that has it.
_NEEDED = {
    "ip": "iproute2",
    "tc": "iproute2",
    "nsenter": "util-linux",
    "setsid": "util-linux",
    "unshare": "util-linux",
    "mount": "mount",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "sshd": "openssh-server",
    "rsync": "rsync",
}
_UNSHARE = ["unshare", "--net", "--mount", "--uts", "--ipc", "--pid", "--fork", "--mount-proc"]
_TRIAL = """
set -e
ip link add trial type bridge
ip link add one type veth peer name other
tc qdisc add dev one root handle 1: htb default 1
tc class add dev one parent 1: classid 1:1 htb rate 1mbit
tc qdisc add dev one parent 1:1 bfifo limit 30000
mount -t tmpfs tmpfs /mnt
hostname trial
"""
_CGROUPS = ("/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cgroup.subtree_control")
_SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/sbin", "/usr/local/sbin"))


def missing() -> str | None:
    """Why a testbed cannot be made here and what to do; None where it can."""
    if not sys.platform.startswith("linux"):
        return f"the testbed is made of Linux namespaces, and this is {sys.platform}"
    if os.geteuid() != 0:
        return "the testbed makes namespaces and devices, which only root may: use sudo"
    packages = sorted({p for c, p in _NEEDED.items() if shutil.which(c, path=_SEARCH) is None})
    if packages:
        return f"the testbed needs more commands: apt-get install {' '.join(packages)}"
    return None


def forbidden() -> str | None:
    """Why the kernel or container does not let root make a testbed; None where it does.

    Tries each kind of thing once in namespaces that are gone right after.
    """
    try:
        run([*_UNSHARE, "/bin/sh", "-c", _TRIAL])
    except TestbedError as error:
        return (
            f"root may not make namespaces, devices or mounts here, as in some containers: {error}"
        )
    if not any(os.access(folder, os.W_OK) for folder in _CGROUPS):
        return "no cgroup with the cpu controller can be written here, as in some containers"
    return None


def require() -> None:
    """Raise TestbedError where a testbed cannot be made here."""
    reason = missing()
    if reason is not None:
        raise TestbedError(reason)


def find(command: str) -> str:
    """A command's path; sbin is searched too."""
    return shutil.which(command, path=_SEARCH) or command


def run(command: Sequence[str], timeout_s: float = COMMAND_TIMEOUT_S) -> str:
    """What the command prints. Raises TestbedError with its own words where it fails."""
    try:
        done = subprocess.run(
            [find(command[0]), *command[1:]],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
        )
    except subprocess.TimeoutExpired as error:
        raise TestbedError(f"`{' '.join(command)}` took over {timeout_s:g} s") from error
    if done.returncode:
        said = (done.stderr or done.stdout).strip()
        raise TestbedError(f"`{' '.join(command)}` failed ({done.returncode}): {said}")
    return done.stdout


def wait_until(
    is_so: Callable[[], bool],
    what: str,
    timeout_s: float = COMMAND_TIMEOUT_S,
    every_s: float = _POLL_S,
) -> None:
    """Look again and again. Raises TestbedError where it does not come true in time."""
    end_s = time.monotonic() + timeout_s
    while not is_so():
        if time.monotonic() > end_s:
            raise TestbedError(f"waited {timeout_s:g} s for {what}, in vain")
        time.sleep(every_s)


def started_at(pid: int) -> str | None:
    """When a process began, in the kernel's ticks; None where there is none.

    With the number it names a process for good: numbers are used again.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (FileNotFoundError, ProcessLookupError):
        return None
