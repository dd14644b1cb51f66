"""Tile-parallel policies by name: cost models alone. No plan expresses them, nothing runs them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgesplit.core.policies.tiles.coedge import coedge
from edgesplit.core.policies.tiles.conv_stack import ConvStack
from edgesplit.core.policies.tiles.deepthings import deepthings
from edgesplit.core.policies.tiles.edgeci import edgeci
from edgesplit.core.policies.tiles.tile_cost import TileCost, TileDevice

STATUS = "modelled, no executor"


@dataclass(frozen=True)
class Modelled:
    """A policy that is not run, only reckoned. name, source, basis: as of Published.

    cost: what it would take of a stack on devices, the first of which holds the input.
    """

    name: str
    source: str
    basis: str
    cost: Callable[[ConvStack, Sequence[TileDevice]], TileCost]


_ALL = (
    Modelled(
        "deepthings-style",
        "Zhao, Mirzazad Barijough, Gerstlauer, IEEE TCAD 37(11), 2018",
        "the source; its reuse of halos between tiles is left out",
        deepthings,
    ),
    Modelled(
        "edgeci-style",
        "Chen, Luo, Fang, Xiong, ACM TOIT 24(2), 2024",
        "the abstract; the fusing and the auction are reconstructed",
        edgeci,
    ),
    Modelled(
        "coedge-style",
        "Zeng, Chen, Zhou, Yang, Zhang, arXiv 2012.03257, 2020",
        "the abstract; the linear program is recalled",
        coedge,
    ),
)
MODELLED: Mapping[str, Modelled] = {one.name: one for one in _ALL}
