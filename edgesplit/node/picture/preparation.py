"""What is done with a decoded picture before a model's first layer, in Pillow and numpy.

The same bits on every host: Pillow resizes in whole numbers, and what is normalised is divided and
subtracted element by element.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesplit.core.given import is_finite, is_name, is_whole
from edgesplit.errors import InputError

LARGEST_SIZE = 1 << 14  # pixels of a side
# Per channel, of ImageNet's training set; what torchvision's weights were trained with.
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
LEVELS = 255
COLOURS = 3
INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
Pixels = NDArray[Any]


@dataclass(frozen=True)
class Preparation:
    """How a picture's file becomes a model's input: decoded, then what is named here.

    size: side of the square in the middle; None: as decoded, neither resized nor cropped.
    resize: what the shorter side is resized to before; None: 8/7 of `size`, as ImageNet's 256 for
        224.
    mean, std: per colour, of values from 0 to 1: the input is then float32. None: it stays uint8.
    interpolation: `bilinear` or `bicubic`.

    Raises InputError for other settings.

    Example:
        >>> Preparation(224, 256).resize
        256
    """

    size: int | None = None
    resize: int | None = None
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    interpolation: str = "bilinear"

    def __post_init__(self) -> None:
        size, resize = sides(self.size, self.resize)
        object.__setattr__(self, "size", size)
        object.__setattr__(self, "resize", resize)
        if not (is_name(self.interpolation) and self.interpolation in INTERPOLATIONS):
            raise InputError(
                f"interpolation must be one of {', '.join(INTERPOLATIONS)}, given "
                f"{self.interpolation!r}"
            )
        if (self.mean is None) != (self.std is None):
            raise InputError("mean and std belong together; give both or neither")
        if self.mean is not None:
            mean, std = levels(self.mean, self.std)
            object.__setattr__(self, "mean", mean)
            object.__setattr__(self, "std", std)

    @property
    def dtype(self) -> str:
        """Of what it makes."""
        return "uint8" if self.mean is None else "float32"

    def shape(self, picture: tuple[int, int]) -> tuple[int, int, int, int]:
        """Of what it makes of a picture of that (width, height), upright."""
        width, height = picture if self.size is None else (self.size, self.size)
        return 1, COLOURS, height, width

    def prepared(self, image: Image.Image) -> Pixels:
        """What the model gets of a picture in mode RGB, upright; contiguous."""
        pixels = np.asarray(image) if self.size is None else self._square(image)
        pixels = pixels.transpose(2, 0, 1)[None].copy()  # Pillow's own memory is not to be written
        if self.mean is None:
            return pixels
        mean, std = (np.array(row, np.float32)[:, None, None] for row in (self.mean, self.std))
        made: Pixels = (pixels.astype(np.float32) / np.float32(LEVELS) - mean) / std
        return made

    def _square(self, image: Image.Image) -> Pixels:
        """To the bit what torchvision's transforms make."""
        assert self.size is not None, "it is asked for"
        assert self.resize is not None, "it comes with the size"
        width, height = image.size
        shorter = min(width, height)
        sides = (self.resize * width // shorter, self.resize * height // shorter)
        left, top = (round((side - self.size) / 2) for side in sides)
        resized = np.asarray(image.resize(sides, INTERPOLATIONS[self.interpolation]))
        square: Pixels = resized[top : top + self.size, left : left + self.size]
        return square


def sides(size: Any, resize: Any) -> tuple[int | None, int | None]:
    """Size and resize, both checked; resize where it is not given. Raises InputError."""
    if size is None:
        if resize is not None:
            raise InputError(f"resize={resize!r} needs a size; give both or neither")
        return None, None
    for name, side in (("size", size), ("resize", size if resize is None else resize)):
        if not (is_whole(side) and 1 <= side <= LARGEST_SIZE):
            raise InputError(
                f"{name} must be a whole number of pixels from 1 to {LARGEST_SIZE}, given {side!r}"
            )
    resize = round(size * 8 / 7) if resize is None else resize
    if resize < size:
        raise InputError(f"resize must be {size} pixels, as size is, or more, given {resize}")
    return int(size), int(resize)


def levels(mean: Any, std: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation of each colour, checked. Raises InputError."""
    rows = _per_colour("mean", mean), _per_colour("std", std)
    if min(rows[1]) <= 0:
        raise InputError(f"std must be above 0 for each colour, given {std!r}")
    return rows


def _per_colour(name: str, values: Any) -> tuple[float, ...]:
    if isinstance(values, Sequence) and len(values) == COLOURS and all(map(is_finite, values)):
        return tuple(float(value) for value in values)
    raise InputError(f"{name} must be {COLOURS} numbers, of red, green and blue, given {values!r}")


# What most of torchvision's classifiers were trained with; load_image() makes it.
IMAGENET_PREPARATION = Preparation(224, 256, MEAN, STD)
