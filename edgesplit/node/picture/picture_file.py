"""A picture's file, opened and decoded within limits, as people see it.

A picture is judged by its size before it is decoded, and cut before it is used, so that what a
small file can take is bounded. One message for whatever is wrong with a file.
"""

import contextlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from typing import IO, TypeVar

from PIL import Image, UnidentifiedImageError

from edgesplit.core.printable import printable
from edgesplit.errors import InputError, PictureError
from edgesplit.node.picture.as_seen import as_seen

_Made = TypeVar("_Made")
# Pillow's readers without those that run another program (EPS) or take any bytes for a picture.
FORMATS = ("AVIF", "BMP", "GIF", "ICO", "JPEG", "JPEG2000", "PNG", "PPM", "TIFF", "WEBP")
# Of the longer side to the shorter one. Only the middle is used: the rest is cut before scaling.
LONGEST_RATIO = 16
MOST_FILE_BYTES_PER_PIXEL = 8  # of the limit: four channels of 16 bits, not compressed


@dataclass(frozen=True)
class PictureLimits:
    """Formats that are read, by Pillow's names, and pixels at most; None: of any number.

    advice: what to do about a picture that has more.
    """

    formats: tuple[str, ...]
    pixels: int | None
    advice: str


def usual_limits() -> PictureLimits:
    """Those of this process: Pillow's limit of pixels."""
    advice = "make it smaller, or raise PIL.Image.MAX_IMAGE_PIXELS (--max-pixels)"
    return PictureLimits(FORMATS, Image.MAX_IMAGE_PIXELS, advice)


def allow_pixels(most: int) -> None:
    """Let pictures have so many pixels from now on, in this whole process: the limit is Pillow's.

    Decoding takes up to 12 bytes for each.
    """
    Image.MAX_IMAGE_PIXELS = most


def decoded(
    source: str | PathLike[str] | Image.Image, make: Callable[[Image.Image], _Made]
) -> _Made:
    """What `make` makes of the picture in mode RGB, upright, while its file is open.

    source: a path or a PIL.Image.Image. Raises PictureError for whatever is wrong with it,
    InputError for what is neither.
    """
    limits = usual_limits()
    if isinstance(source, Image.Image):
        return _made(source, "the picture", make, limits)
    with _checked(source, limits) as (file, name):
        return _made(file, name, make, limits)


def decoded_bytes(
    data: bytes, name: str, make: Callable[[Image.Image], _Made], limits: PictureLimits
) -> _Made:
    """The same of a file's bytes, within those limits. name: as messages call it."""
    return _made(io.BytesIO(data), name, make, limits)


def looked_at(
    data: bytes, name: str, look: Callable[[Image.Image], _Made], limits: PictureLimits
) -> _Made:
    """What `look` sees of a file's bytes that are opened and not decoded. Raises PictureError."""

    def checked(image: Image.Image) -> _Made:
        _check_pixels(image, name, limits)
        return look(image)

    return _read(io.BytesIO(data), name, checked, limits)


def file_bytes(path: str | PathLike[str]) -> tuple[bytes, str]:
    """A file that may be a picture's, whole, and how messages call it.

    Raises PictureError where it cannot be read, or has too many bytes for the limit of pixels,
    InputError for what is no path.
    """
    with _checked(path, usual_limits()) as (file, name):
        try:
            return file.read(), name
        except OSError as error:
            raise PictureError(f"{name} cannot be read as a picture: {error.strerror}") from error


@contextlib.contextmanager
def _checked(path: str | PathLike[str], limits: PictureLimits) -> Iterator[tuple[IO[bytes], str]]:
    """The file, open, of a size that may be read, and its name for messages."""
    if not isinstance(path, (str, PathLike)):
        raise InputError(f"a picture is a path or a PIL.Image.Image, given {path!r}")
    name = f"'{printable(os.fsdecode(path))}'"
    with _opened(path, name) as file:
        _check_file(os.fstat(file.fileno()), name, limits)
        yield file, name


def _opened(path: str | PathLike[str], name: str) -> IO[bytes]:
    """Raises PictureError."""
    try:
        return open(path, "rb", opener=_without_waiting)
    except FileNotFoundError as error:
        raise PictureError(f"no picture {name}: there is no such file") from error
    except OSError as error:
        raise PictureError(f"{name} cannot be read as a picture: {error.strerror}") from error
    except ValueError as error:
        raise PictureError(f"{name} cannot be read as a picture: {error}") from error


def _without_waiting(path: str, flags: int) -> int:
    """Without this, opening a pipe waits until something is written into it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _check_file(found: os.stat_result, name: str, limits: PictureLimits) -> None:
    """Before it is read. Raises PictureError."""
    if not stat.S_ISREG(found.st_mode):
        raise PictureError(f"{name} cannot be read as a picture: it is no regular file")
    if limits.pixels is not None and found.st_size > MOST_FILE_BYTES_PER_PIXEL * limits.pixels:
        raise PictureError(
            f"{name} has {found.st_size:,} bytes, over the limit of "
            f"{MOST_FILE_BYTES_PER_PIXEL} bytes for each of {limits.pixels:,} pixels; "
            f"{limits.advice}"
        )


def _made(
    source: IO[bytes] | Image.Image,
    name: str,
    make: Callable[[Image.Image], _Made],
    limits: PictureLimits,
) -> _Made:
    def upright(image: Image.Image) -> _Made:
        _check_pixels(image, name, limits)
        image.load()
        return make(_without_ends(as_seen(image)))

    return _read(source, name, upright, limits)


def _read(
    source: IO[bytes] | Image.Image,
    name: str,
    make: Callable[[Image.Image], _Made],
    limits: PictureLimits,
) -> _Made:
    """Raises PictureError: a decoder may fail in any way on a broken file."""
    try:
        if isinstance(source, Image.Image):
            return make(source)
        with Image.open(source, formats=_there(limits.formats)) as image:
            return make(image)
    except PictureError:
        raise
    except InputError as error:
        raise PictureError(f"{name}: {error}") from error
    except UnidentifiedImageError as error:
        raise PictureError(
            f"{name} cannot be read as a picture: it is broken or none of "
            f"{', '.join(limits.formats)}; save it as one of those"
        ) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        limit = f"{Image.MAX_IMAGE_PIXELS:,}"
        raise PictureError(
            f"{name} has more pixels than the limit of {limit}; {limits.advice}"
        ) from error
    except Exception as error:
        reason = str(error) or type(error).__name__
        raise PictureError(f"{name} cannot be read as a picture: {printable(reason)}") from error


def _there(formats: tuple[str, ...]) -> list[str]:
    Image.init()
    return [name for name in formats if name in Image.OPEN]


def _check_pixels(image: Image.Image, name: str, limits: PictureLimits) -> None:
    """Before it is decoded. Raises PictureError."""
    width, height = image.size
    if limits.pixels is not None and width * height > limits.pixels:
        raise PictureError(
            f"{name} has {width} x {height} = {width * height:,} pixels, over the limit of "
            f"{limits.pixels:,}; {limits.advice}"
        )
    if not width * height:
        raise PictureError(f"{name} has {width} x {height} pixels; a picture needs one at least")


def _without_ends(image: Image.Image) -> Image.Image:
    """The same middle, of a picture that is far longer than wide; any other one as it is."""
    width, height = seen = image.size
    kept = kept_size(seen)
    across, down = (width - kept[0]) // 2, (height - kept[1]) // 2
    if not (across or down):
        return image
    return image.crop((across, down, width - across, height - down))


def kept_size(size: tuple[int, int]) -> tuple[int, int]:
    """(width, height) of what is kept of a picture of that size."""
    longest = LONGEST_RATIO * min(size)
    width, height = (side - 2 * (max(0, side - longest) // 2) for side in size)
    return width, height
