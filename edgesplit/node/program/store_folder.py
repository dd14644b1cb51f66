"""The folder in which a host keeps programs: what lies where, whose it is, and its locks.

programs/NAME/program   a ProgramFile; NAME is its SHA-256
programs/NAME/lock      held, shared, by the processes that use the program
programs/NAME/boot      since when it has not been compared with its name
programs/NAME/profiles/ layer times; see node/tier/kept_profiles.py
weights/NAME            a weight file; NAME is the SHA-256 of the names of its storages
parts/                  what is being written or fetched
exports/                without weights; see export/kept_exports.py
links/                  as measured a short time ago; see node/tier/kept_links.py
"""

import contextlib
import fcntl
import os
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

from edgesplit.errors import ConfigError, WireError
from edgesplit.node.program.program_file import ProgramFile, decode_program, program_name

_LOCK_TIMEOUT_S, _LOOK_S = 30.0, 0.02  # another process may be frozen while it changes something
_STALE_S = 24 * 3600.0  # a part that nobody has touched for so long belongs to nobody
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class StoreFolder:
    """A store's folder; nothing is made by looking."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts = path / "parts"
        self.exports, self.links = path / "exports", path / "links"

    def program(self, name: str) -> Path:
        """The program's description."""
        return self.path / "programs" / name / "program"

    def boot_note(self, name: str) -> Path:
        """Holds the boot in which the program was written, until it was read in a later one."""
        return self.path / "programs" / name / "boot"

    def lock_file(self, name: str) -> Path:
        """Held by the processes that use the program."""
        return self.path / "programs" / name / "lock"

    def weights(self, name: str) -> Path:
        """A weight file."""
        return self.path / "weights" / name

    @property
    def is_own(self) -> bool:
        """Whether what lies there was put there by this user."""
        return is_own(self.path)

    def programs(self) -> list[Path]:
        """The folders of all programs."""
        return [path for path in (self.path / "programs").glob("*") if path.is_dir()]

    def files(self) -> Iterator[Path]:
        """All that is kept."""
        rooms = (self.path / "programs", self.path / "weights", self.exports)
        return (path for room in rooms for path in room.rglob("*") if path.is_file())

    def described(self, name: str) -> ProgramFile | None:
        """What is known of a program; None where it is not there. Raises WireError."""
        try:
            data = self.program(name).read_bytes()
        except FileNotFoundError:
            return None
        if program_name(data) != name:
            raise WireError("its description has other bytes than its name says")
        return decode_program(data)

    @property
    def place(self) -> str:
        """The same text for all processes that see this folder, on one host."""
        there = next(path for path in (self.path, *self.path.parents) if path.exists())
        found, below = there.stat(), self.path.relative_to(there)
        return f"{boot()}/{found.st_dev}/{found.st_ino}/{below}"

    def make_parts(self) -> None:
        """Make the folder, and parts/ without what nobody goes on with. Raises as require_own()."""
        require_own(self.path)
        self.parts.mkdir(exist_ok=True)
        self.drop_parts(_STALE_S)

    @property
    def parts_bytes(self) -> int:
        """Of what is being written or fetched."""
        n_bytes = 0
        for path in self.parts.rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # another process moves and drops them too
                n_bytes += path.stat().st_size
        return n_bytes

    def drop_parts(self, idle_s: float) -> None:
        """Give up what has begun to come and was not touched for so long."""
        for part in self.parts.glob("*"):
            with contextlib.suppress(FileNotFoundError):
                if time.time() - part.stat().st_mtime < idle_s:
                    continue
                if part.is_dir():
                    shutil.rmtree(part, ignore_errors=True)
                else:
                    part.unlink()

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """Nobody else gives something a name, or gives it up, meanwhile. Raises OSError."""
        with locked(self.path / "lock", _LOCK_TIMEOUT_S):
            yield


def is_own(folder: Path) -> bool:
    """Whether it is a folder of this user into which nobody else may write."""
    try:
        found = folder.lstat()
    except OSError:
        return False
    is_users = stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid()
    return is_users and not found.st_mode & 0o022


def require_own(folder: Path) -> None:
    """Make the folder for this user only; refuse one into which others may write.

    What lies there is run: programs of others would be code of others. Raises ConfigError, OSError.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not is_own(folder):
        raise ConfigError(
            f"others may write into {folder}, from which programs are run; name a folder of your "
            "own by EDGESPLIT_CACHE, or `chmod go-w` this one"
        )


def boot() -> str:
    """Another text each time the machine starts."""
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return f"unknown {uuid.uuid4().hex}"


@contextlib.contextmanager
def locked(path: Path, timeout_s: float = 0.0) -> Iterator[int]:
    """The file's lock, for this process alone, and its descriptor.

    Raises OSError where others have it for so long.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    until_s = time.monotonic() + timeout_s
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until_s:
                    raise
                time.sleep(_LOOK_S)
        yield handle
    finally:
        os.close(handle)
