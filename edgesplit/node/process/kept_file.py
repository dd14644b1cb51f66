"""Small typed files that keep figures for a later process: whole and valid, or not there."""

import contextlib
import logging
import uuid
from pathlib import Path
from typing import TypeVar

import msgspec

_T = TypeVar("_T", bound=msgspec.Struct)
_log = logging.getLogger(__name__)


def read_kept(path: Path, kind: type[_T]) -> _T | None:
    """What write_kept() has left there; None for no file, a damaged one, or one of another kind."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        _log.info("%s is not used: %s", path, error)
        return None


def write_kept(path: Path, kept: msgspec.Struct, most: int) -> None:
    """Keep it in place of what is there; as replace_file()."""
    replace_file(path, msgspec.json.encode(kept), most)


def replace_file(path: Path, data: bytes, most: int) -> None:
    """Replace the file, if that can be; nobody sees half of it.

    Its folder is made, but not the one above, and keeps the `most` files that were written last.
    """
    part = path.with_name(f"{uuid.uuid4().hex}.part")
    try:
        path.parent.mkdir(exist_ok=True)
        _make_room(path.parent, most - 1)
        part.write_bytes(data)
        part.replace(path)
    except OSError as error:
        _log.info("%s is not kept: %s", path, error)
        with contextlib.suppress(OSError):
            part.unlink()


def _make_room(folder: Path, most: int) -> None:
    """Give up what was written longest ago, and what a killed process has left."""
    files = list(folder.iterdir())
    if len(files) > most:
        files.sort(key=lambda file: file.stat().st_mtime)
        for file in files[: len(files) - most]:
            file.unlink(missing_ok=True)
