"""A decoded picture as people see it: upright, on white, in eight bits per colour.

Colour profiles are not applied: torchvision's weights were trained without. Of 16 bits the upper
eight are taken, as Pillow does for colours.
"""

from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, TiffImagePlugin

from edgesplit.errors import InputError

_ORIENTATION = ExifTags.Base.Orientation
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = [turn for tag, turn in _TURNS.items() if tag >= 5]
_BITS_PER_SAMPLE, _PHOTOMETRIC = 258, 262  # tags of TIFF
_WHITE_IS_ZERO = 0
_DEEP = ("I", "I;16", "I;16L", "I;16B", "I;16N")  # Pillow's modes of 16 bits


def as_seen(image: Image.Image) -> Image.Image:
    """The same picture in mode RGB. Raises InputError where its values have no agreed meaning."""
    turn = _turn(image.getexif)  # before what is made of it, which has no tags
    if image.mode in _DEEP:
        image = _shallow(image)
    elif image.mode == "F":
        image = _from_shares(image)
    if image.has_transparency_data:
        image = _on_white(image.convert("RGBA"))
    if image.mode != "RGB":
        image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def upright_size(image: Image.Image) -> tuple[int, int]:
    """(width, height) as people see it, by the tags that were read when it was opened."""
    width, height = image.size
    turn = _turn(partial(Image.Image.getexif, image))  # a PNG's own would decode it first
    return (height, width) if turn in _LYING else (width, height)


def _turn(tags: Callable[[], Image.Exif]) -> Image.Transpose | None:
    """What sets it upright. Broken metadata turn nothing, as in viewers."""
    try:
        return _TURNS.get(tags().get(_ORIENTATION, 1))
    except Exception:  # a reader of untrusted bytes fails in any way
        return None


def _shallow(image: Image.Image) -> Image.Image:
    """Grey of 16 bits, also where Pillow has them in 32, in eight."""
    deep = np.asarray(image)
    bits, is_negative = _deep_kind(image)
    if deep.min() < 0 or deep.max() >= 1 << bits:
        raise InputError(
            f"its pixels are whole numbers from {deep.min()} to {deep.max()}, and which of them is "
            "white is not known; save it with 8 or 16 bits"
        )
    values: NDArray[np.uint8] = (deep >> (bits - 8)).astype(np.uint8)
    grey = Image.fromarray(~values if is_negative else values)
    clear = image.info.get("transparency")
    if isinstance(clear, int):  # one grey that stands for nothing
        grey.putalpha(Image.fromarray((deep != clear).astype(np.uint8) * np.uint8(255)))
    return grey


def _deep_kind(image: Image.Image) -> tuple[int, bool]:
    """(bits that are used, whether 0 is white). A TIFF says so in its tags."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return 16, False
    bits = image.tag_v2.get(_BITS_PER_SAMPLE, (16,))[0]
    return min(16, bits), image.tag_v2.get(_PHOTOMETRIC) == _WHITE_IS_ZERO


def _from_shares(image: Image.Image) -> Image.Image:
    """Grey of floating point from 0, black, to 1, white."""
    shares = np.asarray(image)
    if not (shares.min() >= 0 and shares.max() <= 1):
        raise InputError(
            f"its pixels are floating point from {shares.min():g} to {shares.max():g}, and which "
            "of them is white is not known; scale them to 0..1, or save it with 8 or 16 bits"
        )
    return Image.fromarray((shares * 255).round().astype(np.uint8))


def _on_white(image: Image.Image) -> Image.Image:
    """What is transparent, white: the page that pictures with holes are drawn for."""
    page = Image.new("RGBA", image.size, "white")
    page.alpha_composite(image)
    return page
