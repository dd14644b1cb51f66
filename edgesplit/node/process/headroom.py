"""Memory that this process may still take before the kernel or Ray kills a process for it.

What counts is the tightest of the machine and the cgroups that this process is in, as a container
or a systemd unit sets them; version 1 and 2.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgesplit.errors import HeadroomError

KEPT_SHARE = 0.07  # of all memory, stays free: Ray kills workers where under 5 % is free
KEPT_BYTES = 64 * 2**20
IN_TORCH = ", or use torch there, which shares the model's weights"
_CGROUPS, _MINE = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


@dataclass(frozen=True)
class Memory:
    """Bytes that there are, and that may still be taken, caches given up."""

    total: int
    available: int

    @property
    def headroom(self) -> int:
        """Bytes that may be taken with enough left free; negative where too little is free."""
        return self.available - max(KEPT_BYTES, round(KEPT_SHARE * self.total))


def require_headroom(n_bytes: int, what: str, instead: str = "") -> None:
    """Raise HeadroomError where so many bytes more would leave too little free.

    instead: what else the user may do, such as IN_TORCH.
    """
    if n_bytes <= 0:
        return
    tightest = tightest_memory()
    if n_bytes > tightest.headroom:
        raise HeadroomError(
            f"{what} would take {_mb(n_bytes)} more memory; of {_mb(tightest.total)} here "
            f"{_mb(tightest.available)} can be had, and "
            f"{_mb(tightest.available - tightest.headroom)} have to stay free. Free memory on "
            f"this host{instead}"
        )


def headroom_bytes() -> int:
    """What this process may still take with enough left free; negative where too little is."""
    return tightest_memory().headroom


def tightest_memory() -> Memory:
    """Of the machine and this process's cgroups, the one with the least headroom."""
    return min([machine_memory(), *cgroup_memory()], key=lambda memory: memory.headroom)


def machine_memory() -> Memory:
    """Of the whole machine, swap left out."""
    seen = psutil.virtual_memory()
    return Memory(seen.total, seen.available)


def cgroup_memory(root: Path = _CGROUPS, mine: Path = _MINE) -> Iterator[Memory]:
    """Of each cgroup above this process that has a limit; none where there are no cgroups."""
    try:
        lines = mine.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            files = ("memory.max", "memory.current", ("inactive_file", "active_file"))
            yield from _limits(root, path, files)
        elif "memory" in controllers.split(","):
            stat = ("total_inactive_file", "total_active_file")
            files = ("memory.limit_in_bytes", "memory.usage_in_bytes", stat)
            yield from _limits(root / "memory", path, files)


_Files = tuple[str, str, tuple[str, str]]


def _limits(root: Path, path: str, files: _Files) -> Iterator[Memory]:
    """Of the cgroup and those above it; inside a container `path` may name what is not to be seen.

    files: of the limit and the usage, and entries of memory.stat that the kernel can take back:
    file pages, also those that weights are mapped from.
    """
    folder = root if ".." in path else root / path.lstrip("/")
    for group in (folder, *folder.parents):
        if group.is_relative_to(root):
            memory = _limit(group, files)
            if memory is not None:
                yield memory


def _limit(group: Path, files: _Files) -> Memory | None:
    try:
        limit = int((group / files[0]).read_text())  # ValueError for `max`
        used = int((group / files[1]).read_text())
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        return Memory(limit, limit - used + sum(int(stat.get(name, 0)) for name in files[2]))
    except (OSError, ValueError, KeyError):
        return None


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f} MB"
