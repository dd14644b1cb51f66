"""Videos and cameras as streams of frames, read by OpenCV. Nothing waits here: playing is apart."""

import contextlib
import itertools
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from edgesplit.caller.data.example import Example
from edgesplit.core.given import whole_from_1
from edgesplit.core.printable import printable
from edgesplit.errors import InputError

_MOST = 1 << 40
_FFMPEG_LEVEL, _FFMPEG_QUIET = "OPENCV_FFMPEG_LOGLEVEL", "-8"  # AV_LOG_QUIET
_USUAL_FRAMES_PER_S = 30.0  # of a camera that does not say


@dataclass(frozen=True)
class VideoStream:
    """Frames of a video file, or of a camera as it takes them.

    name: as it was opened. source: the file's path, or the camera's number. frames_per_s: as it
    says itself. most: frames that are read; None: all, of a camera without end.
    """

    name: str
    source: str | int
    frames_per_s: float
    most: int | None = None
    classes: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """Whether frames come when they come, as a camera's do, and not when they are read."""
        return isinstance(self.source, int)

    @property
    def deadline_s(self) -> float:
        """Until the next frame: what is answered within it keeps up."""
        return 1 / self.frames_per_s

    def first(self, n: int) -> "VideoStream":
        """Its first n frames. Raises InputError for no number from 1."""
        return replace(self, most=whole_from_1("the number of frames", n, InputError, _MOST))

    def __iter__(self) -> Iterator[Example]:
        """From the beginning, each decoded when it is asked for. Raises InputError."""
        with _opened(self.source, self.name) as capture:
            for count in itertools.islice(itertools.count(), self.most):
                is_there, frame = capture.read()
                if not is_there:
                    return
                yield Example(_pixels(frame), None, f"{self.name} frame {count}")


def video_file(path: Path, name: str) -> VideoStream:
    """A video by its path. Raises InputError for what OpenCV cannot read as one."""
    return _stream(str(path.absolute()), name)  # one that no protocol of FFmpeg's begins


def camera(number: str, name: str) -> VideoStream:
    """A camera by its number on this host. Raises InputError where there is none."""
    if not (number.isascii() and number.isdigit()):
        raise InputError(f"{name!r}: a camera is named by its number, as in camera:0")
    return _stream(int(number), name)


def _stream(source: str | int, name: str) -> VideoStream:
    import cv2

    with _opened(source, name) as capture:
        frames_per_s = float(capture.get(cv2.CAP_PROP_FPS))
        width, height = (
            int(capture.get(side)) for side in (cv2.CAP_PROP_FRAME_WIDTH, cv2.CAP_PROP_FRAME_HEIGHT)
        )
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise InputError(
            f"'{printable(name)}' has frames of {width} x {height} pixels, over the limit of "
            f"{limit:,}; make them smaller, or raise PIL.Image.MAX_IMAGE_PIXELS (--max-pixels)"
        )
    if not (math.isfinite(frames_per_s) and frames_per_s > 0):
        if isinstance(source, str):
            raise InputError(f"'{printable(name)}' says no frame rate; save it with one")
        frames_per_s = _USUAL_FRAMES_PER_S
    return VideoStream(name, source, frames_per_s)


@contextlib.contextmanager
def _opened(source: str | int, name: str) -> Iterator[Any]:
    """OpenCV's capture. Raises InputError."""
    import cv2

    # Of a file no other reader: some of them take its path for a pattern of many.
    reader = cv2.CAP_FFMPEG if isinstance(source, str) else cv2.CAP_ANY
    with _silent():
        capture = cv2.VideoCapture(source, reader)
    try:
        if not capture.isOpened():
            raise InputError(_problem(source, name))
        yield capture
    finally:
        capture.release()


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """OpenCV's and FFmpeg's own lines on stderr are kept away: what fails is said by an error.

    FFmpeg's level is that of its first use in the process.
    """
    from cv2.utils import logging

    level, own = logging.getLogLevel(), os.environ.get(_FFMPEG_LEVEL)
    logging.setLogLevel(logging.LOG_LEVEL_SILENT)
    os.environ.setdefault(_FFMPEG_LEVEL, _FFMPEG_QUIET)
    try:
        yield
    finally:
        logging.setLogLevel(level)
        if own is None:
            del os.environ[_FFMPEG_LEVEL]


def _problem(source: str | int, name: str) -> str:
    if isinstance(source, int):
        return (
            f"camera {source} cannot be opened: there is none of that number (/dev/video{source}), "
            "another program has it, or this user may not read it"
        )
    return (
        f"'{printable(name)}' cannot be read as a video: it is broken, or OpenCV's FFmpeg does not "
        "know its format; MP4 with H.264, or AVI with Motion JPEG can be read"
    )


def _pixels(frame: Any) -> torch.Tensor:
    """uint8 of shape 1x3xHxW of OpenCV's HxWx3 in blue, green, red."""
    import cv2

    coloured = cv2.cvtColor(frame, cv2.COLOR_BGR2RGB)
    return torch.from_numpy(coloured).permute(2, 0, 1).unsqueeze(0).contiguous()
