"""The planner's state space: places and the arcs between them, cut by cut.

A place is a tier plus the set of critical tiers visited on the way there; with nothing critical,
places are tiers. Place 0 holds the input. A walk leaves a place at a cut and arrives at the next
place at the same cut. Nothing is searched here.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import CostModel, Terms
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.profile import Profile

Array = NDArray[np.float64]
Ints = NDArray[np.intp]

# Among plans whose score differs by less than this (times L / L_norm), the faster one is taken.
TIE = 1e-9


@dataclass(frozen=True)
class Walk:
    """Places in the order they are visited, and the cuts at which each but the last is left."""

    places: tuple[int, ...]
    cuts: tuple[int, ...]


@dataclass(frozen=True)
class Lengths:
    """One additive quantity over a space: seconds, score or a mix of the two.

    stay: (places, cuts), layers 0..k run at a place. move: (arcs, cuts), the hop at cut k.
    """

    stay: Array
    move: Array

    def plus(self, other: "Lengths", factor: float) -> "Lengths":
        """This quantity plus `factor` times another one."""
        return Lengths(self.stay + factor * other.stay, self.move + factor * other.move)


@dataclass(frozen=True)
class Space:
    """Places, arcs, and which segments a place may run.

    tier: (places,) tier index. source, target: (arcs,) places, target ascending.
    first, until: (places, cuts), the least cut where a segment that stops at k may start, and the
    greatest where one that starts at k may stop. least: (places,) fewest layers of a segment.
    can_finish: (places,) whether a walk may stop there. min_leave: place 0 is not left earlier.
    """

    tier: Ints
    source: Ints
    target: Ints
    first: Ints
    until: Ints
    least: Ints
    can_finish: NDArray[np.bool_]
    min_leave: int

    @property
    def n_layers(self) -> int:
        """The cut after the last layer."""
        return int(self.first.shape[1]) - 1

    @cached_property
    def max_hops(self) -> int:
        """A walk visits each tier at most once."""
        return len(np.unique(self.tier)) - 1

    @cached_property
    def _bounded(self) -> Ints:
        return np.flatnonzero((self.first > 0).any(axis=1) | (self.least > 0))

    @cached_property
    def incoming(self) -> tuple[Ints, Ints]:
        """Places with incoming arcs, and where each one's arcs start."""
        places, starts = np.unique(self.target, return_index=True)
        return places, starts

    @cached_property
    def outgoing(self) -> tuple[Ints, Ints, Ints]:
        """Arcs sorted by source, the places that have any, and where each one's arcs start."""
        order = np.argsort(self.source, kind="stable")
        places, starts = np.unique(self.source[order], return_index=True)
        return order, places, starts

    def start_min(self, values: Array) -> Array:
        """Least value over the cuts where a segment that stops at k may start. (places, cuts)."""
        least = np.minimum.accumulate(values, axis=1)
        rows = self._bounded
        if len(rows):
            last = np.arange(values.shape[1]) - self.least[rows, None]
            least[rows] = window_min(values[rows], self.first[rows], last)
        return least

    def stop_min(self, values: Array) -> Array:
        """Least value over the cuts where a segment that starts at k may stop. (places, cuts)."""
        least = np.minimum.accumulate(values[:, ::-1], axis=1)[:, ::-1]
        rows = self._bounded
        if len(rows):
            begin = np.arange(values.shape[1]) + self.least[rows, None]
            least[rows] = window_min(values[rows], begin, self.until[rows])
        return least

    def repeated(self, walk: Walk) -> set[int]:
        """Tiers that `walk` visits more than once."""
        tiers = [int(self.tier[place]) for place in walk.places]
        return {tier for tier in tiers if tiers.count(tier) > 1}

    def plan(self, walk: Walk, profile: Profile) -> Plan:
        """The plan that a walk without repeated tiers stands for, in the runtimes in use."""
        names = profile.names
        plan = plan_along([names[self.tier[p]] for p in walk.places], walk.cuts, self.n_layers)
        return plan.on(profile.runtimes)

    def lengths(self, terms: tuple[Array, Array]) -> Lengths:
        """A quantity given per tier, (tiers, cuts), and per pair, (tiers, tiers, cuts)."""
        per_tier, per_pair = terms
        pairs = per_pair[self.tier[self.source], self.tier[self.target]]
        return Lengths(per_tier[self.tier], pairs)

    def total(self, lengths: Lengths, walk: Walk) -> float:
        """Length of a walk, added in the order of CostModel.cost: equal to its result, bit by bit.

        Both must agree on whether a plan on the very edge of the limit is within it.
        """
        sums = 0.0
        edges = (0, *walk.cuts, self.n_layers)
        for place, start, stop in zip(walk.places, edges[:-1], edges[1:], strict=True):
            sums += float(lengths.stay[place, stop] - lengths.stay[place, start])
        for u, v, cut in zip(walk.places[:-1], walk.places[1:], walk.cuts, strict=True):
            arc = np.flatnonzero((self.source == u) & (self.target == v))[0]
            sums += float(lengths.move[arc, cut])
        return sums


def window_min(values: Array, first: Ints, last: Ints) -> Array:
    """Least of values[row, first..last], both included; infinite where last < first.

    A sparse table: level j holds the least of 2**j neighbours, and two of them cover any window.
    """
    width = last - first + 1
    level = np.maximum(np.frexp(np.maximum(width, 1))[1] - 1, 0)
    levels = [values]
    for j in range(int(level.max())):
        longer = levels[-1].copy()
        step = 1 << j
        np.minimum(longer[:, :-step], levels[-1][:, step:], out=longer[:, :-step])
        levels.append(longer)
    table = np.stack(levels)
    rows = np.arange(len(values))[:, None]
    cuts = values.shape[1]
    begin = np.clip(first, 0, cuts - 1)
    second = np.clip(last - (1 << level) + 1, 0, cuts - 1)
    least = np.minimum(table[level, rows, begin], table[level, rows, second])
    return np.where(width > 0, least, np.inf)


def all_links(model: CostModel) -> list[tuple[int, int]]:
    """Tier pairs with a link, none back to the first tier, which no plan visits again."""
    linked = np.isfinite(model.transfer.latency_s[:, :, 0])
    return [(u, v) for u, v in np.argwhere(linked).tolist() if v != 0]


def tier_space(
    model: CostModel, links: Sequence[tuple[int, int]], critical: Collection[int] = ()
) -> Space:
    """All tiers that `links` reach. A tier in `critical` is visited at most once."""
    onward: dict[int, list[int]] = {}
    for u, v in links:
        onward.setdefault(u, []).append(v)
    index = {(0, 0): 0}
    queue = [(0, 0)]
    arcs = []
    for u, visited in queue:
        for v in onward.get(u, ()):
            bit = 1 << v if v in critical else 0
            if visited & bit:
                continue
            place = (v, visited | bit)
            if place not in index:
                index[place] = len(queue)
                queue.append(place)
            arcs.append((index[u, visited], index[place]))
    return _space(model, [tier for tier, _ in queue], arcs)


def route_space(model: CostModel, route: Sequence[int], relays: Collection[int]) -> Space:
    """One route, tier by tier. Tiers in `relays` run nothing, others but the first something."""
    arcs = [(i, i + 1) for i in range(len(route) - 1)]
    space = _space(model, list(route), arcs)
    cuts = np.arange(space.n_layers + 1)
    first, until, least = space.first.copy(), space.until.copy(), space.least.copy()
    for place, tier in enumerate(route):
        if tier in relays:
            first[place] = until[place] = cuts
        elif place:
            least[place] = 1
    finish = np.arange(len(route)) == len(route) - 1
    return Space(
        space.tier, space.source, space.target, first, until, least, finish, space.min_leave
    )


def _space(model: CostModel, tiers: list[int], arcs: list[tuple[int, int]]) -> Space:
    ordered = np.array(sorted(arcs, key=lambda arc: arc[::-1]), dtype=np.intp).reshape(-1, 2)
    tier = np.array(tiers, dtype=np.intp)
    weights = model.weight_prefix
    first = np.zeros((len(tiers), len(weights)), dtype=np.intp)
    until = np.full_like(first, len(weights) - 1)
    for place, limit in enumerate(model.memory_bytes[tier]):
        if limit < weights[-1]:
            first[place] = np.searchsorted(weights, weights - limit, side="left")
            until[place] = np.searchsorted(weights, weights + limit, side="right") - 1
    return Space(
        tier=tier,
        source=ordered[:, 0].copy(),
        target=ordered[:, 1].copy(),
        first=first,
        until=until,
        least=np.zeros(len(tiers), dtype=np.intp),
        can_finish=np.ones(len(tiers), dtype=np.bool_),
        min_leave=model.goal.min_end_layers,
    )


def seconds_of(model: CostModel, space: Space) -> Lengths:
    """Seconds over the space, equal to the cost model's."""
    return space.lengths((model.compute.latency_s, model.transfer.latency_s))


def score_of(model: CostModel, space: Space) -> Lengths:
    """Score over the space, with a share of latency so small that it only decides ties."""
    pairs = (space.tier[space.source], space.tier[space.target])
    transfer = model.transfer
    moves = Terms(transfer.latency_s[pairs], transfer.end_j[pairs], transfer.total_j[pairs])
    tie = TIE / model.norms.latency_s
    stay = model.score(model.compute) + tie * model.compute.latency_s
    return Lengths(stay[space.tier], model.score(moves) + tie * moves.latency_s)
