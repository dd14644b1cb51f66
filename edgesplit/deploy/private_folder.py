"""Private folders, which only their owner may enter: whether one is, and making one.

Ray makes its folder, and all below, writable for every user. What keeps others out is the folder
above it: without the right to enter that one, no path below leads anywhere.
"""

import os
import stat
from pathlib import Path

from edgesplit.errors import ConfigError

_OTHERS = 0o077
_OTHERS_WRITE = 0o022
_ROOT = 0


def way_in(path: Path, uid: int) -> str:
    """Why others than user `uid` and root may get at `path`, as it is now; empty: they cannot.

    They cannot where it, or a folder above it, lets its owner in only, and nobody can put another
    one in that one's place.
    """
    real = path.resolve()
    closed: Path | None = None
    for folder in (real, *real.parents):
        found = _stat(folder)
        if found is None:
            return f"{folder} cannot be looked at"
        if found.st_uid not in (_ROOT, uid):
            return f"{folder} belongs to user {found.st_uid}"
        if closed is None and not found.st_mode & _OTHERS:
            closed = folder
        elif closed is not None and _is_open_to_change(found):
            return f"others may put another folder in the place of {closed}"
    return "" if closed else f"others may enter {real} (mode {real.stat().st_mode & 0o7777:o})"


def can_hold_private(parent: Path) -> bool:
    """Whether nobody else may replace a folder that this user makes in `parent`."""
    real = parent.resolve()
    looked = [_stat(folder) for folder in (real, *real.parents)]
    return all(
        found is not None
        and found.st_uid in (_ROOT, os.geteuid())
        and not _is_open_to_change(found)
        for found in looked
    )


def _is_open_to_change(found: os.stat_result) -> bool:
    """Whether others may rename what is in that folder."""
    return bool(found.st_mode & _OTHERS_WRITE) and not found.st_mode & stat.S_ISVTX


def make_private(folder: Path, uid: int, gid: int) -> None:
    """Make `folder`, or take the one there is, for that user only. Raises ConfigError.

    A folder of another user is refused: that user may have it open.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        # By descriptor: whatever the path leads to later, this is what was looked at.
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise ConfigError(
            f"cannot make the folder {folder} ({error.strerror or error}); run it with sudo, or "
            "name another --ray-folder"
        ) from error
    try:
        owner = os.fstat(handle).st_uid
        if owner not in (uid, os.geteuid()):
            raise ConfigError(
                f"{folder} belongs to user {owner}, which could change what Ray keeps there; "
                "remove it, or name another --ray-folder"
            )
        os.fchmod(handle, 0o700)
        if owner != uid:
            os.fchown(handle, uid, gid)
    finally:
        os.close(handle)


def _stat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except OSError:
        return None
