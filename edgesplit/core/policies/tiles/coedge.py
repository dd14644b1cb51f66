"""CoEdge: one share of the rows of all layers for each device, by linear programs.

Source: Zeng, Chen, Zhou, Yang, Zhang, arXiv 2012.03257, 2020.
Read: the abstract; the program is recalled, hence `-style`.
Rule: each device fetches what its rows need beyond them from its neighbours, layer by layer, all in
step. The shares of least joules within a deadline solve a linear program; the smallest share that
does not hold a neighbour's halo is set to 0, and it is solved again.
Ours: without a deadline, the shares of least seconds. One device where that is quicker.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesplit.core.cost import Array
from edgesplit.core.policies.tiles.conv_stack import ConvStack
from edgesplit.core.policies.tiles.in_step import InStep, least_joules, least_seconds
from edgesplit.core.policies.tiles.tile_cost import TileCost, TileDevice, TileRun
from edgesplit.errors import PlanError

MOST_DEVICES = 6  # of their prototype; the linear programs are solved corner by corner


@dataclass(frozen=True)
class Shares:
    """How rows are divided, and what that takes, without the layers behind the stack."""

    shares: tuple[float, ...]
    seconds: float
    joules: float


def coedge(
    stack: ConvStack, devices: Sequence[TileDevice], deadline_s: float | None = None
) -> TileCost:
    """The shares of least joules within the deadline; of least seconds without one.

    Where no shares keep the deadline, those of least seconds, or all on one device where that is
    quicker. Raises PlanError for more than MOST_DEVICES devices.
    """
    if not 0 < len(devices) <= MOST_DEVICES:
        raise PlanError(
            f"expected 1 to {MOST_DEVICES} devices, given {len(devices)}; leave the slowest out"
        )
    rest_s = stack.rest_macs / devices[0].macs_per_s
    left_s = None if deadline_s is None else deadline_s - rest_s
    found = shares_of(stack, devices, left_s)
    joules = found.joules + rest_s * devices[0].compute_w
    return TileCost(found.seconds + rest_s, joules, _runs(stack, devices, found.shares))


def shares_of(stack: ConvStack, devices: Sequence[TileDevice], deadline_s: float | None) -> Shares:
    """The division of the stack alone."""
    least, taking_part = _threshold(stack), list(range(len(devices)))
    while True:
        step = _in_step(stack, devices, taking_part)
        quickest = least_seconds(step)
        can_keep = deadline_s is not None and step.seconds(quickest) <= deadline_s
        shares = least_joules(step, deadline_s) if can_keep and deadline_s else quickest
        smallest = int(shares.argmin())
        if shares[smallest] >= least or len(taking_part) == 1:
            break
        del taking_part[smallest]
    found = _filled(step, shares, taking_part, len(devices))
    if deadline_s is not None and found.seconds <= deadline_s:
        return found
    steps = ((k, _in_step(stack, devices, [k])) for k in range(len(devices)))
    alone = [_filled(step, np.ones(1), [k], len(devices)) for k, step in steps]
    return min([*alone, found], key=lambda one: one.seconds)


def _filled(step: InStep, shares: Array, taking_part: Sequence[int], count: int) -> Shares:
    every = [0.0] * count
    for k, share in zip(taking_part, shares.tolist(), strict=True):
        every[k] = share
    return Shares(tuple(every), step.seconds(shares), step.joules(shares))


def _in_step(stack: ConvStack, devices: Sequence[TileDevice], taking_part: Sequence[int]) -> InStep:
    """Dealing rows out, each layer, and collecting them, for the devices that take part."""
    chosen = [devices[k] for k in taking_part]
    macs = np.array([[layer.macs / d.macs_per_s for d in chosen] for layer in stack.layers])
    is_away = np.array([k != 0 for k in taking_part], dtype=float)
    seconds_per_byte = np.array([1 / d.bytes_per_s for d in chosen])
    ends = [stack.maps[at].row_bytes * stack.maps[at].height for at in (0, -1)]
    moving = [size * seconds_per_byte * is_away for size in ends]
    halo = _halo_bytes(stack, len(chosen)) * seconds_per_byte
    nothing = np.zeros_like(moving[0])
    return InStep(
        np.stack([moving[0], *macs, moving[1]]),
        np.stack([nothing, *halo, nothing]),
        macs.sum(axis=0) * [d.compute_w for d in chosen]
        + sum(moving) * np.array([d.transmit_w for d in chosen]),
        float((halo.sum(axis=0) * [d.transmit_w for d in chosen]).sum()),
    )


def _halo_bytes(stack: ConvStack, count: int) -> Array:
    """What each of `count` neighbours in a row fetches before each layer, (layers, count)."""
    halo = np.zeros((len(stack), count))
    for at, layer in enumerate(stack.layers):
        row_bytes = stack.maps[at].row_bytes
        above, below = layer.padding, max(0, layer.kernel - layer.stride - layer.padding)
        halo[at, 1:] += above * row_bytes
        halo[at, :-1] += below * row_bytes
    return halo


def _threshold(stack: ConvStack) -> float:
    """The least share whose rows hold what a neighbour fetches, before every layer."""
    most = 0.0
    for layer, read in zip(stack.layers, stack.maps, strict=False):
        rows = max(layer.padding, layer.kernel - layer.stride - layer.padding)
        most = max(most, rows / read.height)
    return most


def _runs(
    stack: ConvStack, devices: Sequence[TileDevice], shares: Sequence[float]
) -> tuple[TileRun, ...]:
    """Rows of the output, rounded."""
    made, n = stack.maps[-1], len(stack)
    edges = [0, *(round(float(e) * made.height) for e in np.cumsum(shares))]
    spans = zip(devices, edges[:-1], edges[1:], strict=True)
    return tuple(
        TileRun(device.name, 0, n, (start, stop), (0, made.width))
        for device, start, stop in spans
        if stop > start
    )
