"""A picture's file as a payload: what is to be done with it, then its own bytes.

Whoever decodes it gets, to the bit, what the caller would have sent instead, as far as both hosts'
Pillow decodes alike; that is compared when a tier measures how quick it is.
"""

import struct
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgesplit.errors import InputError, WireError
from edgesplit.node.picture.as_seen import upright_size
from edgesplit.node.picture.picture_file import (
    PictureLimits,
    decoded_bytes,
    kept_size,
    looked_at,
    usual_limits,
)
from edgesplit.node.picture.preparation import INTERPOLATIONS, Pixels, Preparation
from edgesplit.node.process.headroom import require_headroom

# Of a file that travels. A tier takes no picture of more pixels, whatever its own process allows.
LIMITS = PictureLimits(("JPEG", "PNG"), 1 << 24, "decode it before the request")
_SENT_FORMATS = ("JPEG", "MPO", "PNG")  # as Pillow calls what it has opened
_BYTES_PER_PIXEL = 12  # that decoding takes, with its copies
_SMALL_BYTES = 32 << 20  # of which it is not asked whether they are there
# size, resize (0: as decoded), is it normalised, number of the interpolation, means, deviations
_HEAD = struct.Struct("<HHBB3d3d")
HEAD_BYTES = _HEAD.size
_JPEG_END, _PNG_END = b"\xff\xd9", b"IEND\xaeB`\x82"
_PNG_SIGNATURE, _PNG_PIXELS = b"\x89PNG\r\n\x1a\n", b"IDAT"
_PNG_TAGS = (b"eXIf", b"tEXt", b"zTXt", b"iTXt")
_MODES = tuple(INTERPOLATIONS)


@dataclass(frozen=True)
class PictureHeader:
    """What a picture's file says of itself before it is decoded.

    size: (width, height) of what is kept of it, upright; None: known once it is decoded.
    can_travel: whether tiers take it.
    """

    size: tuple[int, int] | None
    can_travel: bool


def header_of(data: bytes, name: str) -> PictureHeader:
    """Of a file's bytes. Raises PictureError for what is no picture."""
    return looked_at(data, name, partial(_header, data), usual_limits())


def _header(data: bytes, image: Image.Image) -> PictureHeader:
    is_small = image.size[0] * image.size[1] <= (LIMITS.pixels or 0)
    is_whole = data.endswith((_JPEG_END, _PNG_END))  # else decoders may differ in what they make
    can_travel = image.format in _SENT_FORMATS and is_whole and is_small
    if not can_travel or _has_late_tags(data):
        return PictureHeader(None, can_travel)
    return PictureHeader(kept_size(upright_size(image)), can_travel)


def _has_late_tags(data: bytes) -> bool:
    """Whether it is a PNG that may say behind its pixels how it is to be turned."""
    at, has_pixels = len(_PNG_SIGNATURE), False
    if not data.startswith(_PNG_SIGNATURE):
        return False
    while at + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, at)
        if has_pixels and kind in _PNG_TAGS:
            return True
        has_pixels |= kind == _PNG_PIXELS
        at += 12 + length
    return False


def write(data: bytes, preparation: Preparation) -> NDArray[np.uint8]:
    """The payload in place of what `preparation` makes of that file."""
    nothing = (0.0,) * 3
    rows = (preparation.mean or nothing), (preparation.std or nothing)
    head = _HEAD.pack(
        preparation.size or 0,
        preparation.resize or 0,
        preparation.mean is not None,
        _MODES.index(preparation.interpolation),
        *rows[0],
        *rows[1],
    )
    return np.frombuffer(head + data, np.uint8)


def read(coded: NDArray[np.uint8], shape: tuple[int, ...], dtype: str) -> Pixels:
    """The tensor of that shape and dtype that the payload stands for.

    Raises WireError for what write() does not make, or is no such tensor, HeadroomError where this
    host has no memory for it.
    """
    raw = coded.tobytes()
    preparation = _preparation(raw[:HEAD_BYTES])
    if preparation.dtype != dtype or (preparation.size and shape != preparation.shape((0, 0))):
        raise WireError(f"a picture that becomes {preparation} is not {dtype} of shape {shape}")
    data, name = raw[HEAD_BYTES:], "a picture of a payload"
    try:
        width, height = looked_at(data, name, lambda image: image.size, LIMITS)
        if (n_bytes := _BYTES_PER_PIXEL * width * height) > _SMALL_BYTES:
            require_headroom(n_bytes, "decoding a picture")
        made = decoded_bytes(data, name, preparation.prepared, LIMITS)
    except InputError as error:
        raise WireError(str(error)) from None
    if made.shape != shape:
        raise WireError(f"a picture has shape {made.shape}, its header says {shape}")
    return made


def _preparation(head: bytes) -> Preparation:
    """Raises WireError."""
    if len(head) < HEAD_BYTES:
        raise WireError(f"{len(head)} bytes are no picture")
    size, resize, is_normalised, mode, *rows = _HEAD.unpack(head)
    if is_normalised > 1 or mode >= len(_MODES):
        raise WireError(f"no preparation of a picture: {is_normalised}, {mode}")
    mean, std = (tuple(rows[:3]), tuple(rows[3:])) if is_normalised else (None, None)
    try:
        return Preparation(size or None, resize or None, mean, std, _MODES[mode])
    except InputError as error:
        raise WireError(f"no preparation of a picture: {error}") from None
