"""The folder of an embedded cluster: private, claimed by its process, removed with it or later.

Ray opens its folder and all below to everybody, so Ray's is one below this one, which lets its
owner in only. A process holds a lock on its folder for as long as it lives. Where it is killed, a
shell that waits for that ends what Ray itself does not and removes the folder; and the next
start of a cluster removes the folders of this user that no process holds any more.
"""

import contextlib
import fcntl
import json
import os
import shutil
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from edgesplit.deploy.node_env import longest_path
from edgesplit.deploy.private_folder import can_hold_private
from edgesplit.errors import ClusterError

# Agents and workers of Ray's that are just starting do not notice that their node is gone. They are
# looked for more than once, for a process that has not begun its program cannot be told yet.
_WATCH = """
read -r folder
read -r word && exit
misses=0; round=0
while [ $misses -lt 3 ] && [ $round -lt 60 ]; do
    found=$(printf '%s/' "$folder" | grep -lsaF -f - /proc/[0-9]*/cmdline)
    for file in $found; do pid=${file#/proc/}; kill -9 "${pid%/cmdline}"; done
    if [ -n "$found" ]; then misses=0; else misses=$((misses + 1)); fi
    round=$((round + 1)); sleep 0.3
done
rm -rf "$folder"
"""
_PREFIX = "es-"
_RAY = "r"  # short, for the sake of the sockets' paths
_OWNER = "owner"
LONGEST_PARENT = longest_path(f"{_PREFIX}12345678/{_RAY}")  # bytes
_END_S = 10.0  # of the process that watches
_GRACE_S = 60.0  # between making a folder and claiming it, generously


class OwnFolder:
    """One such folder, made and claimed. ray: what Ray is given below it."""

    def __init__(self) -> None:
        """Raises ClusterError where there is no place for one."""
        self._path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=_parent()))
        try:
            self._claim = _claimed(self._path)
            self._watch = _watched(self._path)
        except BaseException:
            shutil.rmtree(self._path, ignore_errors=True)
            raise
        self.ray = self._path / _RAY

    def remove(self) -> None:
        """Remove it with everything in it."""
        shutil.rmtree(self._path, ignore_errors=True)
        os.close(self._claim)
        if self._watch is not None:
            with contextlib.suppress(OSError):
                self._watch.communicate(b"done\n", timeout=_END_S)


def remove_stale() -> None:
    """Remove this user's folders whose process is gone; of several that do so at once, one does."""
    for parent in {Path(tempfile.gettempdir()), Path("/tmp")}:
        for path in parent.glob(f"{_PREFIX}????????"):
            with contextlib.suppress(OSError), _abandoned(path) as is_abandoned:
                if is_abandoned:
                    shutil.rmtree(path, ignore_errors=True)


def _claimed(folder: Path) -> int:
    """The descriptor of the folder's owner file, locked. Follows no link, replaces nothing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    handle = os.open(folder / _OWNER, flags, 0o600)
    try:
        with contextlib.suppress(OSError):  # a file system without locks: nobody removes it later
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.write(handle, json.dumps(_identity()).encode())
    except BaseException:
        os.close(handle)
        raise
    return handle


def _watched(folder: Path) -> subprocess.Popen[bytes] | None:
    """A process that does what is left to do when this one is gone; None where there is no shell.

    It learns of that by the end of its input. The folder is no word of its command line, by which
    it knows those that are to end.
    """
    try:
        watch = subprocess.Popen(
            ["/bin/sh", "-c", _WATCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            cwd="/",
            start_new_session=True,  # so that Ctrl-C does not reach it
        )
        assert watch.stdin is not None
        watch.stdin.write(f"{folder}\n".encode())
    except OSError:
        return None
    return watch


@contextlib.contextmanager
def _abandoned(folder: Path) -> Iterator[bool]:
    """Whether that is a folder of this user's whose process is gone; nobody else removes it now."""
    found = os.lstat(folder)
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
        yield False  # another user's, or one that others can have changed
        return
    try:
        handle = os.open(folder / _OWNER, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:  # its process died before it had claimed it, or is about to
        yield _age_s(found) > _GRACE_S
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)  # OSError: its process lives
        is_same = os.path.samestat(os.fstat(handle), os.lstat(folder / _OWNER))
        yield is_same and not _lives(handle)
    finally:
        os.close(handle)


def _identity() -> dict[str, float]:
    return {"pid": os.getpid(), "started_s": psutil.Process().create_time()}


def _lives(handle: int) -> bool:
    """Whether the process that wrote it is there: a pid alone may be another one's by now."""
    try:
        owner = json.loads(os.read(handle, 1000))
        return bool(psutil.Process(owner["pid"]).create_time() == owner["started_s"])
    except psutil.Error:
        return False
    except (ValueError, KeyError):  # torn by a process that died while writing it, or does so now
        return _age_s(os.fstat(handle)) <= _GRACE_S


def _age_s(found: os.stat_result) -> float:
    return time.time() - found.st_mtime


def _parent() -> Path:
    """The temp folder, or /tmp where that is too long for Ray's sockets or others can change it."""
    usual = Path(tempfile.gettempdir())
    for parent in (usual, Path("/tmp")):
        if len(os.fsencode(parent)) <= LONGEST_PARENT and can_hold_private(parent):
            return parent
    raise ClusterError(
        f"neither {usual} nor /tmp can hold Ray's files: the path must have at most "
        f"{LONGEST_PARENT} bytes, and other users must not be able to rename what is in it. "
        "Point TMPDIR to a folder of your own"
    )
