"""How the planner's state space grows: places and arcs, from the entry tier on. No costs.

Losses do not add up, so a place also says whether something lossy was done on the way there, or is
done at it. A walk does so at most once. Where nothing lossy is granted, all places are EXACT.
Where requests come as picture files, places also say whether the payload there is still the file.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.coding import Flags
from edgesplit.core.cost import CostModel

Ints = NDArray[np.intp]
# A tier, and what else tells places of it apart: critical tiers visited before, or the position.
Station = tuple[int, int]

# Nothing lossy so far; something was done before; it is done here, by a lossy runtime.
EXACT, LOST, LOSING = 0, 1, 2
# As EXACT and LOSING, and what has come is a picture's file: whoever needs its pixels decodes it.
FILED, FILED_LOSING = 3, 4


@dataclass
class Growth:
    """Places as (station, kind) and arcs as (source, target, codec), in the order found.

    starts: so many of the first places are where a walk may begin.
    """

    places: list[tuple[Station, int]]
    starts: int
    arcs: list[tuple[int, int, int]] = field(default_factory=list)

    @cached_property
    def tiers(self) -> Ints:
        """The tier of each place."""
        return np.array([tier for (tier, _), _ in self.places], dtype=np.intp)

    @cached_property
    def are_losing(self) -> list[bool]:
        """Of each place, whether a lossy runtime runs there."""
        return [kind in (LOSING, FILED_LOSING) for _, kind in self.places]

    @cached_property
    def are_filed(self) -> Flags:
        """Of each place, whether what comes there is a picture's file, (places,)."""
        return np.array([kind in (FILED, FILED_LOSING) for _, kind in self.places])

    @cached_property
    def extras(self) -> Ints:
        """What else tells the station of each place apart."""
        return np.array([extra for (_, extra), _ in self.places], dtype=np.intp)


def grow(
    model: CostModel, first: Station, onward: Callable[[Station], Iterable[Station]]
) -> Growth:
    """All places that links reach from `first`, where the input is; the starts come first."""
    has_lossy = [bool(lossy) for _, lossy in model.usable_runtimes]
    codecs, picture = _codecs(model), model.coding.picture
    kinds = [EXACT, LOSING] if picture is None else [FILED, FILED_LOSING]
    kinds = kinds if has_lossy[first[0]] else kinds[:1]
    growth = Growth([(first, kind) for kind in kinds], len(kinds))
    index = {place: number for number, place in enumerate(growth.places)}

    def arrive(source: int, place: tuple[Station, int], used: list[int]) -> None:
        if place not in index:
            index[place] = len(growth.places)
            growth.places.append(place)
        target = index[place]
        growth.arcs.extend([(source, target, c) for c in used])

    for source, (here, kind) in enumerate(growth.places):
        for station in onward(here):
            exact, lossy = codecs(here[0], station[0])
            is_exact, can_lose = kind in (EXACT, FILED), has_lossy[station[0]]
            if kind == FILED and picture in exact:
                arrive(source, (station, FILED), [picture])
                if can_lose:
                    arrive(source, (station, FILED_LOSING), [picture])
            exact = [codec for codec in exact if codec != picture]
            if exact:
                arrive(source, (station, EXACT if is_exact else LOST), exact)
            if lossy and is_exact:
                arrive(source, (station, LOST), lossy)
            if exact and is_exact and can_lose:
                arrive(source, (station, LOSING), exact)
    return growth


def _codecs(model: CostModel) -> Callable[[int, int], tuple[list[int], list[int]]]:
    """Of a tier pair: the codecs that can cross its link at some cut, exact and lossy ones."""
    if len(model.coding) == 1:
        linked = np.isfinite(model.transfer.latency_s[0, :, :, 0]).tolist()
        return lambda u, v: ([0] if linked[u][v] else [], [])
    can: Flags = np.any(np.isfinite(model.transfer.latency_s), axis=-1)
    are_lossy = model.coding.are_lossy

    def of(u: int, v: int) -> tuple[list[int], list[int]]:
        there = can[:, u, v]
        exact, lossy = np.flatnonzero(there & ~are_lossy), np.flatnonzero(there & are_lossy)
        return exact.tolist(), lossy.tolist()

    return of
