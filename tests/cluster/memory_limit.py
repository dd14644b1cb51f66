"""A process held to little more memory than it has, by a cgroup of its own."""

import contextlib
import os
from pathlib import Path

import pytest

_ROOT = Path("/sys/fs/cgroup")
_NAME = "edgesplit-test-memory"


@contextlib.contextmanager
def held_to(pid, more_bytes):
    """The process may take so much more while it lasts. Skips where no cgroup can be made."""
    is_v2 = (_ROOT / "cgroup.controllers").exists()
    root = _ROOT if is_v2 else _ROOT / "memory"
    group, home = root / _NAME, root / _home(pid, is_v2)
    try:
        if is_v2:
            (root / "cgroup.subtree_control").write_text("+memory")
        group.mkdir()
        (group / ("memory.max" if is_v2 else "memory.limit_in_bytes")).write_text(str(more_bytes))
    except OSError as error:
        pytest.skip(f"no cgroup with the memory controller can be made here: {error}")
    try:
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            (home / "cgroup.procs").write_text(str(pid))
        os.rmdir(group)


def _home(pid, is_v2):
    for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines():
        number, controllers, path = line.split(":", 2)
        if (number == "0") if is_v2 else ("memory" in controllers.split(",")):
            return path.lstrip("/")
    return ""
