"""CPU quota of a host: a cgroup of version 1 or 2, with a short period.

With the kernel's usual period of 100 ms a single inference is either let through or made to wait
for the rest of a period; with 5 ms the host looks evenly slow.
"""

import contextlib
import os
import signal
from pathlib import Path

from edgesplit.errors import TestbedError
from edgesplit.testbed.layout import Layout
from edgesplit.testbed.system import wait_until

PERIOD_US = 5_000
LEAST_QUOTA_US = 1_000  # the kernel takes no less
_ROOT = Path("/sys/fs/cgroup")


def quota(cores: float) -> tuple[int, int]:
    """(quota, period) in microseconds for a share of one or more cores. Raises TestbedError."""
    if not 0.01 <= cores <= 1024:
        raise TestbedError(f"a host has between 0.01 and 1024 cores, given {cores:g}")
    period_us = max(PERIOD_US, round(LEAST_QUOTA_US / cores))
    return round(cores * period_us), period_us


def make(layout: Layout) -> None:
    """A group per host, without a limit."""
    if _is_v2():
        _allow(_ROOT)
    for host in layout.names:
        group(layout, host).mkdir(parents=True, exist_ok=True)
    if _is_v2():
        _allow(group(layout, layout.names[0]).parent)


def limit(layout: Layout, host: str, cores: float | None) -> None:
    """Give the host that many cores from now on; None: all."""
    folder = group(layout, host)
    if _is_v2():
        quota_us, period_us = quota(cores) if cores is not None else ("max", PERIOD_US)
        (folder / "cpu.max").write_text(f"{quota_us} {period_us}")
        return
    quota_us, period_us = quota(cores) if cores is not None else (-1, PERIOD_US)
    (folder / "cpu.cfs_quota_us").write_text("-1")  # the two are checked against each other
    (folder / "cpu.cfs_period_us").write_text(str(period_us))
    (folder / "cpu.cfs_quota_us").write_text(str(quota_us))


def procs_file(layout: Layout, host: str) -> Path:
    """A process that writes its number here belongs to the host."""
    return group(layout, host) / "cgroup.procs"


def kill(layout: Layout) -> None:
    """End every process that is in one of the hosts' groups."""
    for host in layout.names:
        with contextlib.suppress(FileNotFoundError):
            for pid in procs_file(layout, host).read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def remove(layout: Layout) -> None:
    """Remove the groups once their processes have ended."""
    folders = [group(layout, host) for host in layout.names]
    for folder in [*folders, folders[0].parent]:
        wait_until(lambda folder=folder: _removed(folder), f"the processes in {folder} to end")  # type: ignore[misc]


def group(layout: Layout, host: str) -> Path:
    """The host's cgroup."""
    root = _ROOT if _is_v2() else _ROOT / "cpu"
    return root / f"edgesplit-testbed-{layout.name}" / host


def _is_v2() -> bool:
    return (_ROOT / "cgroup.controllers").exists()


def _allow(folder: Path) -> None:
    try:
        (folder / "cgroup.subtree_control").write_text("+cpu")
    except OSError as error:
        raise TestbedError(
            f"{folder} does not hand the cpu controller on ({error}); on a machine with systemd "
            "run the testbed outside of a user's session, as root"
        ) from error


def _removed(folder: Path) -> bool:
    with contextlib.suppress(OSError):
        folder.rmdir()
    return not folder.exists()
