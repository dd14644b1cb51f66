"""Small text files of the kernel as numbers and words.

A file that cannot be read or makes no sense is a MeterError that names it, never a 0.
"""

import errno
from pathlib import Path

from edgesplit.errors import MeterError

_SHOWN = 40  # characters of garbage that are quoted
GONE = "plug the device in again or load its driver, then open the meter again"


def read_text(path: Path, denied: str = "") -> str:
    """What the file holds, without white space around it.

    denied: what mends a refusal; left out, a chmod of this one file. Raises MeterError.
    """
    try:
        return path.read_bytes().decode("utf-8", errors="replace").strip()
    except FileNotFoundError as error:
        raise MeterError(f"{path} is not there", GONE) from error
    except PermissionError as error:
        fix = denied or f"sudo chmod a+r {path}"
        raise MeterError(f"{path} may not be read by this user", fix) from error
    except OSError as error:  # a device that has vanished answers ENODEV, ENXIO or EIO
        name = errno.errorcode.get(error.errno or 0, "unknown error")
        raise MeterError(f"{path} cannot be read: {error.strerror} ({name})", GONE) from error


def read_int(path: Path, denied: str = "") -> int:
    """The whole number that the file holds, in the file's own unit. Raises MeterError."""
    text = read_text(path, denied)
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit()):
        raise MeterError(
            f"{path} holds {text[:_SHOWN]!r}, not a whole number",
            f"read it again with `cat {path}`; if it stays so, its driver is at fault",
        )
    return int(text)
