"""DeepThings: a grid of tiles, each taken through the first layers at once, for idle devices.

Source: Zhao, Mirzazad Barijough, Gerstlauer, IEEE TCAD 37(11), 2018.
Read: the source. `-style`, since its reuse of halos between neighbouring tiles is left out.
Rule: the output of the fused first layers is cut into a grid. Each tile is a task with the inputs
that it needs, its halo computed again; an idle device steals the next one. The first device merges
them and runs the rest.
Ours: the grid, which is the user's there, is the quickest up to 6 x 6. Devices do not share a link.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgesplit.core.policies.tiles.conv_stack import ConvStack, even_spans
from edgesplit.core.policies.tiles.tile_cost import Spent, TileCost, TileDevice, TileRun

# The limits of their code.
MOST_FUSED, MOST_GRID = 16, 6


def deepthings(stack: ConvStack, devices: Sequence[TileDevice]) -> TileCost:
    """The quickest grid up to 6 x 6 over the first 16 layers; theirs is the user's choice."""
    sides = range(1, MOST_GRID + 1)
    costs = (fused_tiles(stack, devices, (n, m)) for n in sides for m in sides)
    return min(costs, key=lambda cost: cost.seconds)


def fused_tiles(stack: ConvStack, devices: Sequence[TileDevice], grid: tuple[int, int]) -> TileCost:
    """What a grid of so many rows and columns of tiles takes."""
    spent, runs = [Spent() for _ in devices], list[TileRun]()
    for tile in _tiles(stack, grid):
        at = min(range(len(devices)), key=lambda k: spent[k].total_s)
        spent[at] = spent[at].plus(tile.spent(devices[at], is_local=at == 0))
        runs.append(tile.run(devices[at].name))
    merged_s = max(one.total_s for one in spent)
    rest_macs = stack.rest_macs + sum(layer.macs for layer in stack.layers[MOST_FUSED:])
    rest = Spent(rest_macs / devices[0].macs_per_s)
    spent[0] = spent[0].plus(rest)
    joules = sum(one.joules(device) for one, device in zip(spent, devices, strict=True))
    return TileCost(merged_s + rest.total_s, joules, tuple(runs))


@dataclass(frozen=True)
class _Tile:
    """A task: multiply-adds, and bytes in and out."""

    macs: float
    moved_bytes: int
    place: TileRun

    def spent(self, device: TileDevice, is_local: bool) -> Spent:
        transfer_s = 0.0 if is_local else self.moved_bytes / device.bytes_per_s
        return Spent(self.macs / device.macs_per_s, transfer_s)

    def run(self, device: str) -> TileRun:
        at = self.place
        return TileRun(device, at.start, at.stop, at.rows, at.columns)


def _tiles(stack: ConvStack, grid: tuple[int, int]) -> list[_Tile]:
    """All tiles of the fused layers' output, row by row."""
    depth = min(MOST_FUSED, len(stack))
    made, read = stack.maps[depth], stack.maps[0]
    bands = [stack.rows_back(rows, 0, depth) for rows in even_spans(made.height, grid[0])]
    strips = [stack.columns_back(cols, 0, depth) for cols in even_spans(made.width, grid[1])]
    tiles = list[_Tile]()
    for rows in bands:
        for columns in strips:
            moved = read.part_bytes(rows[0], columns[0]) + made.part_bytes(rows[-1], columns[-1])
            place = TileRun("", 0, depth, rows[-1], columns[-1])
            tiles.append(_Tile(stack.tile_macs(rows, columns, 0), moved, place))
    return tiles
