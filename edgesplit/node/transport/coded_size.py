"""How many bytes a codec makes of a tensor, from dtype, shape and strides alone.

So that a frame can be judged before memory is taken for it. The bytes are made in node/codec/: of
the elements that travel, in the order of the tensor's memory.
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.payload_codec import ALL_CODECS, PICTURE, parts_of
from edgesplit.errors import WireError
from edgesplit.node.transport.strides import outermost_first, places

CodedBytes = NDArray[np.uint8]
ENCODED_DTYPES = {"float32": 4, "float64": 8}  # bytes of an element
LEAST_ELEMENTS = 256  # of a tensor that is encoded: of fewer, the header is what travels
# A channel with fewer elements is not worth a scale of its own: 5 bytes for 32 are 16 % of int8.
LEAST_PER_CHANNEL = 32
SCALE_BYTES, ZERO_BYTES = 4, 1
# What a picture becomes: as decoded, or normalised.
PICTURE_DTYPES = {"uint8": 1, "float32": 4}
_LEVELS = {"int8": 256, "int8-channel": 256, "int4-channel": 16}


@dataclass(frozen=True)
class ScaleGrid:
    """Elements in the order of memory as (outer, channels, inner), with a scale per channel."""

    outer: int
    channels: int
    inner: int

    @property
    def count(self) -> int:
        """All elements."""
        return self.outer * self.channels * self.inner


@functools.lru_cache(maxsize=256)  # steady requests bring the same tensors again and again
def scale_grid(form: str, shape: tuple[int, ...], strides: tuple[int, ...]) -> ScaleGrid:
    """Which elements have a scale together in that number form.

    A channel is dimension 1 of four or five (what convolutions give), else the last one (features).
    One for all where a channel would have less than LEAST_PER_CHANNEL elements, and where elements
    overlap in memory, so that they have no channel.
    """
    found = places(shape, strides)
    one = ScaleGrid(1, 1, found.count)
    if not form.endswith("-channel") or not shape or math.prod(found.shape) != found.count:
        return one
    dim = 1 if len(shape) in (4, 5) else len(shape) - 1
    channels = found.shape[dim]
    if found.count < max(1, channels) * LEAST_PER_CHANNEL:  # an empty one may have no channels
        return one
    order = outermost_first(found.shape, strides)
    inner = math.prod(found.shape[d] for d in order[order.index(dim) + 1 :])
    return ScaleGrid(found.count // (channels * inner), channels, inner)


def form_bytes(form: str | None, dtype: str, grid: ScaleGrid) -> int:
    """Bytes of the number form, before any entropy coder; of the tensor itself for None."""
    if form is None:
        return grid.count * ENCODED_DTYPES[dtype]
    if form not in _LEVELS:
        return 2 * grid.count
    codes = grid.count if _LEVELS[form] == 256 else (grid.count + 1) // 2
    return grid.channels * (SCALE_BYTES + ZERO_BYTES) + codes


def top_code(form: str) -> int:
    """The largest code of an integer form; the least is 0."""
    return _LEVELS[form] - 1


def most_entropy_bytes(coder: str, n_bytes: int) -> int:
    """What the coder makes of so many bytes at worst: ZSTD_compressBound, LZ4_compressBound."""
    if coder == "lz4":
        return n_bytes + n_bytes // 255 + 16
    small = ((128 << 10) - n_bytes) >> 11 if n_bytes < (128 << 10) else 0
    return n_bytes + (n_bytes >> 8) + small


@dataclass(frozen=True)
class CodedForm:
    """What a header says of one coded tensor. Raises WireError where no encoder makes such."""

    codec: str
    dtype: str
    shape: Sequence[int]
    strides: Sequence[int]
    coded_bytes: int

    def __post_init__(self) -> None:
        if self.codec == PICTURE:
            self._check_picture()
            return
        if self.codec not in ALL_CODECS:
            raise WireError(f"no codec {self.codec!r}; known: {', '.join(ALL_CODECS)}")
        if self.dtype not in ENCODED_DTYPES:
            raise WireError(
                f"a tensor of {self.dtype!r} is not encoded; expected one of "
                f"{', '.join(ENCODED_DTYPES)}"
            )
        form, coder = parts_of(self.codec)
        grid = scale_grid(form or "", tuple(self.shape), tuple(self.strides))
        if grid.count < LEAST_ELEMENTS:
            raise WireError(f"{grid.count} elements are not encoded; it takes {LEAST_ELEMENTS}")
        made = form_bytes(form, self.dtype, grid)
        fits = (
            self.coded_bytes == made
            if coder is None
            else 0 < self.coded_bytes <= most_entropy_bytes(coder, made)
        )
        if not fits:
            raise WireError(
                f"{self.codec} of shape {list(self.shape)} makes {made} bytes"
                f"{' before ' + coder if coder else ''}, given {self.coded_bytes}"
            )

    def _check_picture(self) -> None:
        """One picture of three colours, its elements in order, in fewer bytes than it has."""
        shape, count = self.shape, math.prod(self.shape)
        dense = [math.prod(shape[dim + 1 :]) for dim in range(len(shape))]
        is_one = len(shape) == 4 and tuple(shape[:2]) == (1, 3) and count > 0
        if self.dtype not in PICTURE_DTYPES or not is_one or list(self.strides) != dense:
            raise WireError(
                f"a picture becomes one of {', '.join(PICTURE_DTYPES)}, dense, of shape 1x3xHxW, "
                f"not {self.dtype} of shape {list(shape)}, strides {list(self.strides)}"
            )
        if not 0 < self.coded_bytes < count * PICTURE_DTYPES[self.dtype]:
            raise WireError(
                f"{self.coded_bytes} bytes for a picture of shape {list(shape)} in {self.dtype}: "
                "expected fewer than it has itself"
            )
