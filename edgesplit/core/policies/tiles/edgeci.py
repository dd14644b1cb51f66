"""EdgeCI: blocks of fused layers by dynamic programming, their rows dealt out by an auction.

Source: Chen, Luo, Fang, Xiong, ACM TOIT 24(2), 2024, doi 10.1145/3656041.
Read: the abstract; its two parts are reconstructed, hence `-style`.
Rule: DPFL cuts the stack into blocks of fused layers, between which rows are collected and dealt
out again, so that their seconds are least together. AWAS is an auction that gives each span of a
block's rows, halo counted, to the device that suits it best.
Ours: all that the abstract does not say: the bids, and spans of equal height, two per device.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from edgesplit.core.policies.tiles.conv_stack import ConvStack, Interval, even_spans
from edgesplit.core.policies.tiles.tile_cost import Spent, TileCost, TileDevice, TileRun

PER_DEVICE = 2  # spans of rows to deal out, per device


@dataclass(frozen=True)
class FusedBlock:
    """Fused layers start to stop - 1, and the rows of their output that each device makes.

    seconds: until the last device is done. spent: of each device.
    """

    start: int
    stop: int
    seconds: float
    spent: tuple[Spent, ...]
    rows: tuple[tuple[int, Interval], ...]


def edgeci(stack: ConvStack, devices: Sequence[TileDevice]) -> TileCost:
    """Fused blocks of least total seconds, then the rest on the first device."""
    blocks = fuse(stack, devices)
    rest = Spent(stack.rest_macs / devices[0].macs_per_s)
    spent = [Spent()] * len(devices)
    for block in blocks:
        spent = [a.plus(b) for a, b in zip(spent, block.spent, strict=True)]
    spent[0] = spent[0].plus(rest)
    joules = sum(one.joules(device) for one, device in zip(spent, devices, strict=True))
    seconds = sum(block.seconds for block in blocks) + rest.total_s
    return TileCost(seconds, joules, tuple(run for b in blocks for run in _runs(stack, devices, b)))


def fuse(stack: ConvStack, devices: Sequence[TileDevice]) -> list[FusedBlock]:
    """Blocks of all layers, one after the other, of least total seconds."""
    best: list[tuple[float, FusedBlock | None]] = [(0.0, None)]
    for stop in range(1, len(stack) + 1):
        blocks = blocks_to(stack, devices, stop)
        ends = ((best[block.start][0] + block.seconds, block) for block in blocks)
        best.append(min(ends, key=lambda end: end[0]))
    found, block = list[FusedBlock](), best[-1][1]
    while block is not None:
        found.append(block)
        block = best[block.start][1]
    return found[::-1]


def blocks_to(stack: ConvStack, devices: Sequence[TileDevice], stop: int) -> Iterator[FusedBlock]:
    """The blocks that end before layer `stop`, the shortest first.

    Rows are dealt out by the auction, or all to one device where that is quicker. Neighbouring
    spans on one device are one piece of work, whose halo counts once.
    """
    spans = even_spans(stack.maps[stop].height, PER_DEVICE * len(devices))
    nothing = (0.0,) * len(spans)
    reach = _Reach(stack, stop, stop, tuple(spans), tuple(spans), nothing, nothing)
    for _ in range(stop):
        reach = reach.deeper()
        each = [reach.work(p, p) for p in range(len(spans))]
        prices = [[work.spent(d, k).total_s for k, d in enumerate(devices)] for work in each]
        dealt = [auction(prices), *([k] * len(spans) for k in range(len(devices)))]
        yield min((_block(reach, devices, one) for one in dealt), key=lambda b: b.seconds)


def auction(seconds: Sequence[Sequence[float]]) -> list[int]:
    """The device that wins each span. seconds[p][k]: of span p on device k.

    Each span bids for the device on which it would be done first after what that one has won. It
    bids what its second choice would cost it; the highest bid is accepted, and all bid again.
    """
    busy_s = [0.0] * len(seconds[0])
    winners, waiting = [0] * len(seconds), set(range(len(seconds)))
    while waiting:
        bids = list[tuple[float, int, int]]()
        for p in sorted(waiting):
            done = sorted((busy_s[k] + own_s, k) for k, own_s in enumerate(seconds[p]))
            second_s = done[1][0] if len(done) > 1 else done[0][0]
            bids.append((second_s - done[0][0], -p, done[0][1]))
        _, minus_p, k = max(bids)
        winners[-minus_p] = k
        busy_s[k] += seconds[-minus_p][k]
        waiting.remove(-minus_p)
    return winners


@dataclass(frozen=True)
class _Work:
    """Multiply-adds, and bytes in and out, of rows of a block."""

    macs: float
    moved_bytes: int

    def spent(self, device: TileDevice, number: int) -> Spent:
        transfer_s = self.moved_bytes / device.bytes_per_s if number else 0.0
        return Spent(self.macs / device.macs_per_s, transfer_s)


@dataclass(frozen=True)
class _Reach:
    """What spans of the output of layers start to stop - 1 need of their input, rows by span.

    above: multiply-adds of all rows above each span's first one, of all layers of the block. below:
    the same of its last one, so that those of joined spans are a difference.
    """

    stack: ConvStack
    start: int
    stop: int
    made: tuple[Interval, ...]
    read: tuple[Interval, ...]
    above: tuple[float, ...]
    below: tuple[float, ...]

    def deeper(self) -> "_Reach":
        """With one more layer before."""
        at = self.start - 1
        layer, height = self.stack.layers[at], self.stack.maps[at].height
        per_row = layer.macs / self.stack.maps[at + 1].height
        return _Reach(
            self.stack, at, self.stop, self.made,
            tuple(layer.needs(span, height) for span in self.read),
            tuple(m + per_row * span[0] for m, span in zip(self.above, self.read, strict=True)),
            tuple(m + per_row * span[1] for m, span in zip(self.below, self.read, strict=True)),
        )  # fmt: skip

    def work(self, first: int, last: int) -> _Work:
        """Of the spans first to last, joined."""
        rows = self.read[last][1] - self.read[first][0]
        made = self.made[last][1] - self.made[first][0]
        moved = self.stack.maps[self.start].row_bytes * rows
        moved += self.stack.maps[self.stop].row_bytes * made
        return _Work(self.below[last] - self.above[first], moved)


def _block(reach: _Reach, devices: Sequence[TileDevice], winners: Sequence[int]) -> FusedBlock:
    """The block with spans dealt out so."""
    spent, rows, first = [Spent()] * len(devices), list[tuple[int, Interval]](), 0
    for k, run in groupby(winners):
        last = first + len(list(run)) - 1
        spent[k] = spent[k].plus(reach.work(first, last).spent(devices[k], k))
        rows.append((k, (reach.made[first][0], reach.made[last][1])))
        first = last + 1
    seconds = max(one.total_s for one in spent)
    return FusedBlock(reach.start, reach.stop, seconds, tuple(spent), tuple(rows))


def _runs(stack: ConvStack, devices: Sequence[TileDevice], block: FusedBlock) -> list[TileRun]:
    columns = (0, stack.maps[block.stop].width)
    return [
        TileRun(devices[k].name, block.start, block.stop, span, columns) for k, span in block.rows
    ]
