"""Convolutions and poolings in a row, and which of their inputs a tile of outputs needs. Exact.

Rows and columns are half-open spans from 0. A tile is a span of rows and a span of columns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from edgesplit.core.given import is_finite, is_whole
from edgesplit.errors import PlanError

VALUE_BYTES = 4
Interval = tuple[int, int]


@dataclass(frozen=True)
class WindowLayer:
    """A convolution or a pooling. channels: of its output. macs: multiply-adds of all of it.

    Raises PlanError for a window that cannot be.
    """

    name: str
    channels: int
    kernel: int
    stride: int
    padding: int
    macs: int

    def __post_init__(self) -> None:
        sizes = (self.channels, self.kernel, self.stride, self.padding)
        are_whole = all(map(is_whole, sizes)) and min(sizes[:3]) > 0
        if not (are_whole and 0 <= self.padding < self.kernel and is_finite(self.macs)):
            raise PlanError(
                f"layer {self.name!r}: channels, kernel and stride are whole numbers from 1 and "
                f"padding is less than the kernel, given {sizes}"
            )

    def size_after(self, size: int) -> int:
        """How many rows come out of so many, or columns."""
        return (size + 2 * self.padding - self.kernel) // self.stride + 1

    def needs(self, span: Interval, size: int) -> Interval:
        """The rows, of `size`, that those rows of the output are made from; what is padded is left
        out.
        """
        first = span[0] * self.stride - self.padding
        last = (span[1] - 1) * self.stride - self.padding + self.kernel
        return max(0, first), min(size, last)


@dataclass(frozen=True)
class FeatureMap:
    """What a layer reads or writes."""

    height: int
    width: int
    channels: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one row."""
        return VALUE_BYTES * self.width * self.channels

    def part_bytes(self, rows: Interval, columns: Interval) -> int:
        """Bytes of a tile."""
        return VALUE_BYTES * self.channels * (rows[1] - rows[0]) * (columns[1] - columns[0])


@dataclass(frozen=True)
class ConvStack:
    """Layers that tiles are taken through, and the input's height, width and channels.

    rest_macs: multiply-adds behind the stack, such as those of linear layers, which one machine
    runs. Raises PlanError where no layers are given, or nothing is left of the input.

    Example:
        >>> conv = WindowLayer("conv", channels=8, kernel=3, stride=1, padding=1, macs=13824)
        >>> ConvStack("one", 8, 8, 3, (conv,)).maps[-1]
        FeatureMap(height=8, width=8, channels=8)
    """

    name: str
    height: int
    width: int
    channels: int
    layers: tuple[WindowLayer, ...]
    rest_macs: int = 0

    def __post_init__(self) -> None:
        if not self.layers or min(min(m.height, m.width) for m in self.maps) < 1:
            raise PlanError(
                f"stack {self.name!r}: expected layers that leave something of "
                f"{self.height} x {self.width}, given {self.layers}"
            )

    def __len__(self) -> int:
        return len(self.layers)

    @cached_property
    def maps(self) -> tuple[FeatureMap, ...]:
        """The input, and what each layer makes: n + 1 of them."""
        maps = [FeatureMap(self.height, self.width, self.channels)]
        for layer in self.layers:
            height, width = (layer.size_after(n) for n in (maps[-1].height, maps[-1].width))
            maps.append(FeatureMap(height, width, layer.channels))
        return tuple(maps)

    def rows_back(self, rows: Interval, start: int, stop: int) -> list[Interval]:
        """Rows of each map, from that before layer `start` on, that `rows` behind stop - 1 need."""
        return self._back(rows, [m.height for m in self.maps[start : stop + 1]], start)

    def columns_back(self, columns: Interval, start: int, stop: int) -> list[Interval]:
        """The same of columns."""
        return self._back(columns, [m.width for m in self.maps[start : stop + 1]], start)

    def tile_macs(self, rows: Sequence[Interval], columns: Sequence[Interval], start: int) -> float:
        """Multiply-adds of a tile; its rows and columns as from rows_back and columns_back."""
        total = 0.0
        for at, ((top, bottom), (left, right)) in enumerate(
            zip(rows[1:], columns[1:], strict=True), start
        ):
            made = self.maps[at + 1]
            share = (bottom - top) * (right - left) / (made.height * made.width)
            total += self.layers[at].macs * share
        return total

    def _back(self, span: Interval, sizes: Sequence[int], start: int) -> list[Interval]:
        spans = [span]
        for at in range(len(sizes) - 2, -1, -1):
            spans.append(self.layers[start + at].needs(spans[-1], sizes[at]))
        return spans[::-1]


def even_spans(size: int, parts: int) -> list[Interval]:
    """`size` rows in so many spans, each as long as the first, the last one what is left.

    Fewer where they are used up before. As DeepThings cuts a map.
    """
    step = -(-size // parts)
    return [(start, min(start + step, size)) for start in range(0, size, step)]
