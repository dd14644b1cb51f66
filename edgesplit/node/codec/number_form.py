"""Number forms: what float32 is rounded to, and back, in numpy's loops over blocks that fit caches.

Integer forms are affine with zero kept: x = (code - zero) * scale, off by half a scale at most. In
memory: the scales (float32), the zeros (uint8), the codes. One path for hosts with and without
torch, so that both make the same bits; only float16 and bfloat16 are torch's in a process that has
it, which is 5 to 30 times as quick and rounds alike.
"""

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.errors import WireError
from edgesplit.node.transport.coded_size import (
    SCALE_BYTES,
    CodedBytes,
    ScaleGrid,
    form_bytes,
    top_code,
)

Floats32 = NDArray[np.float32]
_BLOCK = 1 << 16  # elements: 256 KiB of float32, which fit a second cache
_SHORT = 1 << 9  # elements of a row
_TINY = float(np.finfo(np.float32).tiny)  # the least scale: its reciprocal is finite
_LARGEST = {"float16": 65504.0}  # what would become infinite is not encoded
_LARGEST_OTHERS = 1e38
# 1.5 * 2**23: a float32 added to it is rounded to a whole number, which its lowest byte then holds.
_ROUNDING = np.float32(12582912.0)


def write(form: str, flat: Floats32, grid: ScaleGrid) -> CodedBytes | None:
    """The elements in that form; None where some are not finite, or too large for it."""
    low, high = _ranges(flat, grid)
    largest = _LARGEST.get(form, _LARGEST_OTHERS)
    if not (np.all(low >= -largest) and np.all(high <= largest)):  # nor where they are NaN
        return None
    if form == "float16":
        return _as_float16(flat)
    if form == "bfloat16":
        return _as_bfloat16(flat)
    return _as_codes(form, flat, grid, (low, high))


def read(form: str, coded: CodedBytes, grid: ScaleGrid, flat: Floats32) -> None:
    """Write into `flat` what write() was given, rounded. Raises WireError for a wrong scale."""
    if form == "float16":
        _from_float16(coded, flat)
    elif form == "bfloat16":
        _from_bfloat16(coded, flat)
    else:
        _from_codes(form, coded, grid, flat)


# Integer forms


@dataclass(frozen=True)
class _Table:
    """Elements as rows and columns. is_rows: a row has one scale, else each column has.

    The channels' scales are repeated so many times. Of few channels that lie innermost, several
    rows count as one: numpy is slow on short rows. A single channel is one long row in pieces.
    """

    grid: ScaleGrid
    rows: int
    columns: int
    is_rows: bool
    repeats: int

    @cached_property
    def blocks(self) -> tuple[tuple[slice, slice], ...]:
        """Of some _BLOCK elements each: the elements, and the scales of them."""
        return tuple(self._blocks())

    def _blocks(self) -> Iterator[tuple[slice, slice]]:
        if self.grid.channels == 1:
            for start in range(0, self.grid.count, _BLOCK):
                yield slice(start, min(start + _BLOCK, self.grid.count)), slice(0, 1)
            return
        step = max(1, _BLOCK // self.columns)
        for start in range(0, self.rows, step):
            stop = min(start + step, self.rows)
            scales = slice(start, stop) if self.is_rows else slice(0, self.columns)
            yield slice(start * self.columns, stop * self.columns), scales

    def part(self, flat: NDArray[Any], elements: slice) -> NDArray[Any]:
        """Those elements, as rows and columns."""
        shape = (1, -1) if self.grid.channels == 1 else (-1, self.columns)
        return flat[elements].reshape(shape)

    def repeated(self, values: Floats32) -> Floats32:
        """The channels' values, to be multiplied with a part."""
        spread = np.tile(values, self.repeats)
        return spread[:, None] if self.is_rows else spread

    def reduced(self, extreme: np.ufunc, found: list[Any]) -> Floats32:
        """Extremes of the parts, per channel."""
        whole = np.concatenate(found) if self.is_rows else extreme.reduce(found)
        made: Floats32 = extreme.reduce(whole.reshape(-1, self.grid.channels))
        return made


@functools.lru_cache(maxsize=256)  # steady requests bring the same tensors again and again
def _table(grid: ScaleGrid) -> _Table:
    if grid.channels == 1:
        return _Table(grid, 1, grid.count, True, 1)
    if grid.inner > 1:
        return _Table(grid, grid.outer * grid.channels, grid.inner, True, grid.outer)
    most = max(1, min(grid.outer, _SHORT // grid.channels))
    folded = next(rows for rows in range(most, 0, -1) if grid.outer % rows == 0)
    return _Table(grid, grid.outer // folded, folded * grid.channels, False, folded)


def _ranges(flat: Floats32, grid: ScaleGrid) -> tuple[Floats32, Floats32]:
    """Least and largest element of each channel; NaN where there is one."""
    table, low, high = _table(grid), [], []
    for elements, _ in table.blocks:
        part = table.part(flat, elements)
        axis = 1 if table.is_rows else 0
        low.append(part.min(axis=axis))
        high.append(part.max(axis=axis))
    return table.reduced(np.minimum, low), table.reduced(np.maximum, high)


def _steps(
    form: str, low: Floats32, high: Floats32
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(scale, zero) of each channel; both float32, the zeros whole numbers.

    A channel of both signs uses one code less than there are: then no element is rounded to a code
    beyond the last, whatever the zero, and nothing has to be clamped.
    """
    top = top_code(form)
    below, above = np.minimum(low, 0).astype(np.float64), np.maximum(high, 0).astype(np.float64)
    is_one_sided = (below == 0) | (above == 0)
    scale = np.maximum((above - below) / np.where(is_one_sided, top, top - 1), _TINY)
    scale = scale.astype(np.float32)
    zero = np.where(above == 0, top, np.ceil(-below * _inverse(scale)))
    return scale, np.where(below == 0, 0, np.minimum(zero, top)).astype(np.float32)


def _inverse(scale: Floats32) -> Floats32:
    return (1.0 / scale.astype(np.float64)).astype(np.float32)


def _as_codes(
    form: str, flat: Floats32, grid: ScaleGrid, ranges: tuple[Floats32, Floats32]
) -> CodedBytes:
    scale, zero = _steps(form, *ranges)
    made = np.empty(form_bytes(form, "float32", grid), np.uint8)
    params = grid.channels * SCALE_BYTES
    made[:params].view(np.float32)[:] = scale
    made[params : params + grid.channels] = zero
    codes = made[params + grid.channels :]
    nibbles = codes.nbytes < grid.count
    whole = np.empty(grid.count, np.uint8) if nibbles else codes
    _round(flat, grid, (_inverse(scale), zero + _ROUNDING), whole)
    if nibbles:
        _join_nibbles(whole, codes)
    return made


def _round(
    flat: Floats32, grid: ScaleGrid, factors: tuple[Floats32, Floats32], codes: CodedBytes
) -> None:
    """Codes of all elements: x times its factor, rounded by what is then added."""
    table = _table(grid)
    times, plus = (table.repeated(one) for one in factors)
    scratch = np.empty(max(_BLOCK, 0 if grid.channels == 1 else table.columns), np.float32)
    for elements, scales in table.blocks:
        part = table.part(scratch, slice(0, elements.stop - elements.start))
        np.multiply(table.part(flat, elements), times[scales], out=part)
        np.add(part, plus[scales], out=part)
        np.copyto(table.part(codes, elements), part.view(np.int32), casting="unsafe")


def _from_codes(form: str, coded: CodedBytes, grid: ScaleGrid, flat: Floats32) -> None:
    scale, zero, codes = _parts(form, coded, grid)
    if codes.nbytes < grid.count:
        codes = _split_nibbles(codes, grid.count)
    table, has_zeros = _table(grid), bool(zero.any())
    scales, zeros = table.repeated(scale), table.repeated(zero)
    for elements, those in table.blocks:
        part = table.part(flat, elements)
        np.copyto(part, table.part(codes, elements))
        if has_zeros:
            np.subtract(part, zeros[those], out=part)
        np.multiply(part, scales[those], out=part)


def _parts(form: str, coded: CodedBytes, grid: ScaleGrid) -> tuple[Floats32, Floats32, CodedBytes]:
    params = grid.channels * SCALE_BYTES
    scale = np.frombuffer(coded[:params].tobytes(), np.float32)
    zero = coded[params : params + grid.channels].astype(np.float32)
    is_scale = (scale >= _TINY) & (scale <= _LARGEST_OTHERS / 100)
    if not (is_scale.all() and (zero <= top_code(form)).all()):
        raise WireError(f"a tensor in {form} has a scale or a zero that no encoder gives")
    return scale, zero, coded[params + grid.channels :]


def _join_nibbles(codes: CodedBytes, joined: CodedBytes) -> None:
    """Two codes per byte: the first half's low, the second half's high."""
    half = joined.nbytes
    joined[:] = codes[:half]
    second = codes[half:] << 4
    joined[: second.nbytes] |= second


def _split_nibbles(joined: CodedBytes, count: int) -> CodedBytes:
    codes, half = np.empty(count, np.uint8), joined.nbytes
    np.bitwise_and(joined, 15, out=codes[:half])
    np.right_shift(joined[: count - half], 4, out=codes[half:])
    return codes


# Half precision


def _as_float16(flat: Floats32) -> CodedBytes:
    if sys.modules.get("torch") is not None:
        return _by_torch(flat, "float16")
    return flat.astype(np.float16).view(np.uint8)


def _from_float16(coded: CodedBytes, flat: Floats32) -> None:
    if sys.modules.get("torch") is not None:
        _back_by_torch(coded, "float16", flat)
    else:
        np.copyto(flat, coded.view(np.float16))


def _as_bfloat16(flat: Floats32) -> CodedBytes:
    """The upper halves, rounded to the nearest, ties to even."""
    if sys.modules.get("torch") is not None:
        return _by_torch(flat, "bfloat16")
    bits = flat.view(np.uint32)
    rounded = bits >> np.uint32(16)
    rounded &= np.uint32(1)
    rounded += np.uint32(0x7FFF)
    rounded += bits
    rounded >>= np.uint32(16)
    return rounded.astype(np.uint16).view(np.uint8)


def _from_bfloat16(coded: CodedBytes, flat: Floats32) -> None:
    if sys.modules.get("torch") is not None:
        _back_by_torch(coded, "bfloat16", flat)
        return
    bits = flat.view(np.uint32)
    np.copyto(bits, coded.view(np.uint16))
    bits <<= np.uint32(16)


def _by_torch(flat: Floats32, form: str) -> CodedBytes:
    import torch

    made = np.empty(2 * flat.size, np.uint8)
    torch.frombuffer(made, dtype=getattr(torch, form)).copy_(torch.from_numpy(flat))
    return made


def _back_by_torch(coded: CodedBytes, form: str, flat: Floats32) -> None:
    import torch

    own = coded if coded.flags.writeable else coded.copy()  # torch reads from nothing else
    torch.from_numpy(flat).copy_(torch.frombuffer(own, dtype=getattr(torch, form)))
