"""A picture's file, opened and decoded within limits, as people see it.

A picture is judged by its size before it is decoded, and cut before it is used, so that what a
small file can take is bounded. One message for whatever is wrong with a file.
"""

import os
import stat
from collections.abc import Callable
from os import PathLike
from typing import IO, TypeVar

from PIL import Image, UnidentifiedImageError

from edgesplit.caller.inputs.as_seen import as_seen
from edgesplit.core.printable import printable
from edgesplit.errors import InputError

_Made = TypeVar("_Made")
# Pillow's readers without those that run another program (EPS) or take any bytes for a picture.
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Of the longer side to the shorter one. Only the middle is used: the rest is cut before scaling.
LONGEST_RATIO = 16
MOST_FILE_BYTES_PER_PIXEL = 8  # of the limit: four channels of 16 bits, not compressed


def decoded(
    source: str | PathLike[str] | Image.Image, make: Callable[[Image.Image], _Made]
) -> _Made:
    """What `make` makes of the picture in mode RGB, upright, while its file is open.

    source: a path or a PIL.Image.Image. Raises InputError for whatever is wrong with it.
    """
    if isinstance(source, Image.Image):
        return _read(source, "the picture", make)
    if not isinstance(source, (str, PathLike)):
        raise InputError(f"a picture is a path or a PIL.Image.Image, given {source!r}")
    name = f"'{printable(os.fsdecode(source))}'"
    with _opened(source, name) as file:
        _check_file(os.fstat(file.fileno()), name)
        return _read(file, name, make)


def _opened(path: str | PathLike[str], name: str) -> IO[bytes]:
    """Raises InputError."""
    try:
        return open(path, "rb", opener=_without_waiting)
    except FileNotFoundError as error:
        raise InputError(f"no picture {name}: there is no such file") from error
    except OSError as error:
        raise InputError(f"{name} cannot be read as a picture: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{name} cannot be read as a picture: {error}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Without this, opening a pipe waits until something is written into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_file(found: os.stat_result, name: str) -> None:
    """Before it is read. Raises InputError."""
    if not stat.S_ISREG(found.st_mode):
        raise InputError(f"{name} cannot be read as a picture: it is no regular file")
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and found.st_size > MOST_FILE_BYTES_PER_PIXEL * limit:
        raise InputError(
            f"{name} has {found.st_size:,} bytes, over the limit of "
            f"{MOST_FILE_BYTES_PER_PIXEL} bytes for each of {limit:,} pixels; {_how_to_raise()}"
        )


def _read(
    source: IO[bytes] | Image.Image, name: str, make: Callable[[Image.Image], _Made]
) -> _Made:
    """Raises InputError: a decoder may fail in any way on a broken file."""
    try:
        if isinstance(source, Image.Image):
            return make(_upright(source, name))
        with Image.open(source, formats=_formats()) as image:
            return make(_upright(image, name))
    except InputError:
        raise
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} cannot be read as a picture: it is broken or none of {', '.join(FORMATS)}; "
            "save it as one of those"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = Image.MAX_IMAGE_PIXELS
        raise InputError(
            f"{name} has more pixels than the limit of {limit:,}; {_how_to_raise()}"
        ) from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise InputError(f"{name} cannot be read as a picture: {printable(reason)}") from error


def _formats() -> list[str]:
    Image.init()
    return [name for name in FORMATS if name in Image.OPEN]


def _upright(image: Image.Image, name: str) -> Image.Image:
    _check_pixels(image, name)
    image.load()
    return _without_ends(as_seen(image))


def _check_pixels(image: Image.Image, name: str) -> None:
    """Before it is decoded. Raises InputError."""
    width, height = image.size
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise InputError(
            f"{name} has {width} x {height} = {width * height:,} pixels, over the limit of "
            f"{limit:,}; {_how_to_raise()}"
        )
    if not width * height:
        raise InputError(f"{name} has {width} x {height} pixels; a picture needs one at least")


def _without_ends(image: Image.Image) -> Image.Image:
    """The same middle, of a picture that is far longer than wide; any other one as it is."""
    width, height = image.size
    longest = LONGEST_RATIO * min(width, height)
    across, down = max(0, width - longest) // 2, max(0, height - longest) // 2
    if not (across or down):
        return image
    return image.crop((across, down, width - across, height - down))


def _how_to_raise() -> str:
    return "make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS (--max-pixels)"
