"""Routes over tiers for one payload that does not change: which tier relays to which."""

import heapq
from collections.abc import Collection

import numpy as np

from edgesplit.core.cost import Array, CostModel


def best_route(
    model: CostModel, start: int, goal: int, avoid: Collection[int] = ()
) -> list[int] | None:
    """Tier indices from `start` to `goal`, of least score for the payload at cut 0; None: no way.

    Of equal routes the one with fewer hops (Dijkstra). Tiers in `avoid` do not relay. Each hop is
    in the best codec that loses nothing.
    """
    every = model.score(model.transfer.at(0))
    hop: Array = every[~model.coding.are_lossy].min(axis=0)
    queue: list[tuple[float, int, list[int]]] = [(0.0, 0, [start])]
    done = set(avoid) - {start, goal}
    while queue:
        length, hops, route = heapq.heappop(queue)
        here = route[-1]
        if here == goal:
            return route
        if here in done:
            continue
        done.add(here)
        for onward in np.flatnonzero(np.isfinite(hop[here])).tolist():
            if onward not in done:
                heapq.heappush(queue, (length + hop[here, onward], hops + 1, [*route, onward]))
    return None
