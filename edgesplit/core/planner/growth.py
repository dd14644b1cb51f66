"""How the planner's state space grows: places and arcs, from the entry tier on. No costs.

Losses do not add up, so a place also says whether something lossy was done on the way there, or is
done at it. A walk does so at most once. Where nothing lossy is granted, all places are EXACT.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.coding import Flags
from edgesplit.core.cost import CostModel
from edgesplit.core.tier import Tier

Ints = NDArray[np.intp]
# A tier, and what else tells places of it apart: critical tiers visited before, or the position.
Station = tuple[int, int]

# Nothing lossy so far; something was done before; it is done here, by a lossy runtime.
EXACT, LOST, LOSING = 0, 1, 2


@dataclass
class Growth:
    """Places as (station, kind) and arcs as (source, target, codec), in the order found."""

    places: list[tuple[Station, int]]
    arcs: list[tuple[int, int, int]] = field(default_factory=list)

    @property
    def tiers(self) -> Ints:
        """The tier of each place."""
        return np.array([tier for (tier, _), _ in self.places], dtype=np.intp)

    @property
    def extras(self) -> Ints:
        """What else tells the station of each place apart."""
        return np.array([extra for (_, extra), _ in self.places], dtype=np.intp)


def grow(
    model: CostModel, first: Station, onward: Callable[[Station], Iterable[Station]]
) -> Growth:
    """All places that links reach from `first`, where the input is; the starts come first."""
    runtimes = usable_runtimes(model)
    has_lossy = [bool(lossy) for _, lossy in runtimes]
    codecs = _codecs(model)
    kinds = (EXACT, LOSING) if has_lossy[first[0]] else (EXACT,)
    growth = Growth([(first, kind) for kind in kinds])
    index = {place: number for number, place in enumerate(growth.places)}
    for here in growth.places:
        (u, _), kind = here
        for station in onward(here[0]):
            exact, lossy = codecs(u, station[0])
            ways = [(EXACT if kind == EXACT else LOST, exact)]
            if kind == EXACT:
                ways += [(LOST, lossy), (LOSING, exact if has_lossy[station[0]] else [])]
            for after, used in ways:
                place = (station, after)
                if used and place not in index:
                    index[place] = len(growth.places)
                    growth.places.append(place)
                growth.arcs += [(index[here], index[place], c) for c in used]
    return growth


def usable_runtimes(model: CostModel) -> list[tuple[list[int], list[int]]]:
    """Of each tier: its runtimes that lose nothing, and lossy ones that are granted, by number."""
    return [_usable(tier, model.goal.max_accuracy_loss) for tier in model.profile.tiers]


def _usable(tier: Tier, max_loss: float | None) -> tuple[list[int], list[int]]:
    losses = [tier.loss, *(times.loss for times in tier.layer_times)]
    most = -math.inf if max_loss is None else max_loss
    exact = [r for r, loss in enumerate(losses) if loss is None]
    return exact, [r for r, loss in enumerate(losses) if loss is not None and loss <= most]


def _codecs(model: CostModel) -> Callable[[int, int], tuple[list[int], list[int]]]:
    """Of a tier pair: the codecs that can cross its link at some cut, exact and lossy ones."""
    can: Flags = np.any(np.isfinite(model.transfer.latency_s), axis=-1)
    if len(model.coding) == 1:
        linked = can[0].tolist()
        return lambda u, v: ([0] if linked[u][v] else [], [])
    are_lossy = model.coding.are_lossy

    def of(u: int, v: int) -> tuple[list[int], list[int]]:
        there = can[:, u, v]
        exact, lossy = np.flatnonzero(there & ~are_lossy), np.flatnonzero(there & are_lossy)
        return exact.tolist(), lossy.tolist()

    return of
