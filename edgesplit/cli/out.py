"""Where results are to go, tried before the work that makes them: it may take minutes."""

import os
import tempfile
from pathlib import Path

from edgesplit.errors import ConfigError


def made_folder(path: Path) -> Path:
    """The folder, made where it is missing. Raises ConfigError where no file can be written in it.

    Tried by writing one: permissions do not tell of a full or read-only disk.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot make the folder {str(path)!r}: {_reason(error)}") from error
    try:
        with tempfile.TemporaryFile(dir=path) as file:
            file.write(b"x")
    except OSError as error:
        raise ConfigError(
            f"cannot write in the folder {str(path)!r}: {_reason(error)}; name another one"
        ) from error
    return path


def writable_file(path: Path) -> Path:
    """The file's path. Raises ConfigError where it cannot be written; what it holds is kept."""
    is_new = not os.path.lexists(path)
    try:
        # A pipe that nobody reads is an error, too, instead of a wait.
        os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o666))
        if is_new:
            path.unlink()
    except (OSError, ValueError) as error:
        raise ConfigError(
            f"cannot write {str(path)!r}: {_reason(error)}; name another file"
        ) from error
    return path


def _reason(error: OSError | ValueError) -> str:
    return getattr(error, "strerror", None) or str(error)
