"""The least cut of a network between two nodes, by Dinic's maximum flow. No chance, no rounding.

Levels by breadth first, then augmenting paths along them, until the sink is out of reach (Dinic,
Soviet Mathematics Doklady 11, 1970). Each path empties an arc exactly, so that it ends with floats.
"""

import math
from collections import deque
from collections.abc import Iterable

Arc = tuple[int, int, float]  # from, to, capacity; infinite where it may not be cut


class FlowNetwork:
    """Nodes 0..count and the capacity that is left on their arcs, each with its reverse."""

    def __init__(self, count: int, arcs: Iterable[Arc]) -> None:
        self._to = list[int]()
        self._left = list[float]()
        self._arcs_of: list[list[int]] = [[] for _ in range(count)]
        for source, target, capacity in arcs:
            for node, other, left in ((source, target, capacity), (target, source, 0.0)):
                self._arcs_of[node].append(len(self._to))
                self._to.append(other)
                self._left.append(left)

    def source_side(self, source: int, sink: int) -> frozenset[int]:
        """Of the least cuts the one with the fewest nodes beside the source: these nodes.

        Raises OverflowError where a path of infinite arcs leads to the sink: nothing cuts it.
        """
        while sink in (levels := self._levels(source)):
            pending = [0] * len(self._arcs_of)
            while path := self._path(source, sink, levels, pending):
                self._augment(path)
        return frozenset(levels)

    def _levels(self, source: int) -> dict[int, int]:
        """By node within reach how many arcs it is away."""
        levels, queue = {source: 0}, deque([source])
        while queue:
            node = queue.popleft()
            for arc in self._arcs_of[node]:
                if self._left[arc] > 0 and self._to[arc] not in levels:
                    levels[self._to[arc]] = levels[node] + 1
                    queue.append(self._to[arc])
        return levels

    def _path(
        self, source: int, sink: int, levels: dict[int, int], pending: list[int]
    ) -> list[int]:
        """Arcs to the sink, each one level down; none where there is no more such path.

        pending: by node the first of its arcs that may still lead there.
        """
        path, node = list[int](), source
        while node != sink:
            arcs = self._arcs_of[node]
            while pending[node] < len(arcs) and not self._is_down(arcs[pending[node]], levels):
                pending[node] += 1
            if pending[node] < len(arcs):
                path.append(arcs[pending[node]])
            elif path:
                path.pop()
                node = self._to[path[-1]] if path else source
                pending[node] += 1
                continue
            else:
                return []
            node = self._to[path[-1]]
        return path

    def _is_down(self, arc: int, levels: dict[int, int]) -> bool:
        node, other = self._to[arc ^ 1], self._to[arc]
        return self._left[arc] > 0 and levels.get(other) == levels[node] + 1

    def _augment(self, path: list[int]) -> None:
        flow = min(self._left[arc] for arc in path)
        if math.isinf(flow):
            raise OverflowError("a path of arcs that may not be cut leads from source to sink")
        for arc in path:
            self._left[arc] -= flow
            self._left[arc ^ 1] += flow
