"""The plan of least score of every device of a fleet at once, at given prices.

The same search as core/planner, over all devices' arrays; tests/experiments/test_fleet.py holds
that each device gets a plan as good as the product's planner gives it. Costs come from the
product's cost model.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from edgesplit.core.cost import CostModel
from experiments.fleet.devices import GOAL, LINKED, Device

Array = np.ndarray
Route = tuple[int, ...]
SHARED = 3  # tiers of a device's view that others use too: its two edges and the cloud
DEAD = 1e9  # score of a hop to a tier that is gone


@dataclass(frozen=True)
class Choice:
    """A plan of each device. score: without prices; use_s: seconds on each shared tier, (D, 3)."""

    score: Array
    use_s: Array
    latency_s: Array

    def at(self, index: Array) -> "Choice":
        """Of those devices only, or in that order."""
        return Choice(self.score[index], self.use_s[index], self.latency_s[index])

    def where(self, mask: Array, other: "Choice") -> "Choice":
        """The other's plans where the mask is true, these elsewhere."""
        return Choice(
            np.where(mask, other.score, self.score),
            np.where(mask[:, None], other.use_s, self.use_s),
            np.where(mask, other.latency_s, self.latency_s),
        )


def routes() -> Iterator[Route]:
    """Every way over a device's tiers that visits none twice, shorter ones first."""
    queue: list[Route] = [(0,)]
    for route in queue:
        yield route
        queue += [(*route, v) for u, v in LINKED if u == route[-1] and v not in route]


class SameModel:
    """Devices of one model. Arrays: stay_* (D, 4, n + 1), hop_* (D, hops, n + 1)."""

    def __init__(self, devices: Sequence[Device]) -> None:
        models = [CostModel(device.graph, device.profile, GOAL) for device in devices]
        pairs = tuple(np.array(LINKED).T)
        self.reference_s = np.array([model.score_reference.latency_s for model in models])
        self.stay_s = np.stack([model.prefix_s[0] for model in models])
        self.stay_score = np.stack([model.score(model.compute) for model in models])
        self.hop_score = np.stack([model.score(model.transfer)[0][pairs] for model in models])
        self.hop_s = np.stack([model.transfer.latency_s[0][pairs] for model in models])

    def plan(self, prices: Array, is_dead: Array) -> Choice:
        """The plan of least score of each device. prices, is_dead: of its shared tiers, (D, 3)."""
        stay = self.stay_score.copy()
        per_s = prices / self.reference_s[:, None]
        stay[:, 1:] += per_s[:, :, None] * self.stay_s[:, 1:]
        last: dict[Route, Array] = {(0,): stay[:, 0]}  # having run what there is to run here
        arrived: dict[Route, Array] = {}
        for route in list(routes())[1:]:
            hop = LINKED.index(route[-2:])
            arrive = last[route[:-1]] + self.hop_score[:, hop] - stay[:, route[-1]]
            arrive[is_dead[:, route[-1] - 1]] += DEAD
            arrived[route] = arrive
            last[route] = np.minimum.accumulate(arrive, axis=1) + stay[:, route[-1]]
        ends = np.stack([leave[:, -1] for leave in last.values()], axis=1)
        return self._traced(list(last), ends.argmin(axis=1), arrived)

    def _traced(self, ways: list[Route], best: Array, arrived: dict[Route, Array]) -> Choice:
        """The chosen plans, from the last stage back."""
        count, cuts = self.stay_s.shape[0], self.stay_s.shape[2]
        found = Choice(np.zeros(count), np.zeros((count, SHARED)), np.zeros(count))
        for number in np.unique(best).tolist():
            rows, route = np.flatnonzero(best == number), ways[number]
            stop = np.full(len(rows), cuts - 1)
            while len(route) > 1:
                arrive = arrived[route][rows]
                arrive = np.where(np.arange(cuts) <= stop[:, None], arrive, np.inf)
                start = arrive.argmin(axis=1)
                self._add(found, rows, route, (start, stop))
                stop, route = start, route[:-1]
            self._add(found, rows, route, (np.zeros_like(stop), stop))
        return found

    def _add(self, found: Choice, rows: Array, route: Route, cuts: tuple[Array, Array]) -> None:
        tier, (start, stop) = route[-1], cuts
        seconds = self.stay_s[rows, tier, stop] - self.stay_s[rows, tier, start]
        found.score[rows] += self.stay_score[rows, tier, stop] - self.stay_score[rows, tier, start]
        found.latency_s[rows] += seconds
        if tier:
            hop = LINKED.index(route[-2:])
            found.use_s[rows, tier - 1] += seconds
            found.score[rows] += self.hop_score[rows, hop, start]
            found.latency_s[rows] += self.hop_s[rows, hop, start]


class Fleet:
    """All devices, ordered by model. tiers: each one's shared tiers, (D, 3); the cloud is last.

    weight: of a device's score in the sum of all, its rate times the seconds of its model on its
    own tier. In that sum a price per second is the same for every device.
    """

    def __init__(self, devices: Iterable[Device], edges: int) -> None:
        ordered = sorted(devices, key=lambda device: len(device.graph))
        groups = [list(group) for _, group in groupby(ordered, key=lambda one: len(one.graph))]
        self.models = [SameModel(group) for group in groups]
        self.edges = edges
        self.rate_per_s = np.array([device.rate_per_s for device in ordered])
        self.tiers = np.array([(*device.edges, edges) for device in ordered])
        self.reference_s = np.concatenate([model.reference_s for model in self.models])
        self.weight = self.rate_per_s * self.reference_s

    def __len__(self) -> int:
        return len(self.tiers)

    def plan(self, prices: Array, is_dead: Array | None = None) -> Choice:
        """Every device's plan. prices, is_dead: of the edges and the cloud, (edges + 1,)."""
        dead = np.zeros(self.edges + 1, dtype=bool) if is_dead is None else is_dead
        parts, begin = [], 0
        for model in self.models:
            rows = slice(begin, begin + len(model.reference_s))
            parts.append(model.plan(prices[self.tiers[rows]], dead[self.tiers[rows]]))
            begin = rows.stop
        columns = zip(*((part.score, part.use_s, part.latency_s) for part in parts), strict=True)
        return Choice(*map(np.concatenate, columns))

    def loads(self, choice: Choice, is_there: Array | float = 1.0) -> Array:
        """Core seconds per second asked of the edges and the cloud, by those that are there."""
        asked = (self.rate_per_s * is_there)[:, None] * choice.use_s
        return np.bincount(self.tiers.ravel(), asked.ravel(), self.edges + 1)

    def mean_score(self, choice: Choice, is_there: Array | float = 1.0) -> float:
        """The mean of all scores by weight."""
        weight = self.weight * is_there
        return float(choice.score @ weight / weight.sum())
