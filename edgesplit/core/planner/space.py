"""The planner's state space: places and arcs between them, cut by cut. Nothing is searched here.

A place is a tier plus the set of critical tiers visited on the way there; with nothing critical,
places are tiers. The first places hold the input. A walk leaves a place at a cut and arrives at the
next place at the same cut, its payload in the codec of the arc. A segment takes the quickest of the
runtimes that its place may use.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgesplit.core.coding import Flags
from edgesplit.core.cost import Array, CostModel, Terms
from edgesplit.core.plan import Plan, plan_along
from edgesplit.core.planner.growth import Growth, Ints, Station, grow

# Among plans whose score differs by less than this (times L / L_norm), the faster one is taken.
TIE = 1e-9


@dataclass(frozen=True)
class Walk:
    """Arcs in the order they are taken, and the cut at which each is.

    is_proved: no other walk of its space is better; False where a search was cut short. start: the
    place where it begins.
    """

    arcs: tuple[int, ...]
    cuts: tuple[int, ...]
    is_proved: bool = True
    start: int = 0


@dataclass(frozen=True)
class Windows:
    """Which segments a place may run: for each cut, where the other end may be.

    All (places, cuts). start_from, start_to: where a segment that stops at k may start. stop_from,
    stop_to: where one that starts at k may stop. from > to: nowhere.
    """

    start_from: Ints
    start_to: Ints
    stop_from: Ints
    stop_to: Ints

    @cached_property
    def limited(self) -> Ints:
        """Places that some segment is forbidden to."""
        cuts = np.arange(self.start_from.shape[1])
        free = (self.start_from == 0) & (self.stop_to == cuts[-1])
        free &= (self.start_to == cuts) & (self.stop_from == cuts)
        return np.flatnonzero(~free.all(axis=1))

    def least_to_stop(self, values: Array) -> Array:
        """For each cut where a segment stops, the least of values where it may start.

        values: (runtimes, places, cuts), as is what comes back.
        """
        least = np.minimum.accumulate(values, axis=-1)
        at = self.limited
        if len(at):
            least[:, at] = window_min(values[:, at], self.start_from[at], self.start_to[at])
        return least

    def least_to_start(self, values: Array) -> Array:
        """For each cut where a segment starts, the least of values where it may stop."""
        least = np.minimum.accumulate(values[..., ::-1], axis=-1)[..., ::-1]
        at = self.limited
        if len(at):
            least[:, at] = window_min(values[:, at], self.stop_from[at], self.stop_to[at])
        return least


@dataclass(frozen=True)
class Lengths:
    """One additive quantity over a space: seconds, score or a mix of the two.

    stay: (runtimes, places, cuts), layers 0..k run at a place. move: (arcs, cuts), the hop at k.
    """

    stay: Array
    move: Array

    def plus(self, other: "Lengths", factor: float) -> "Lengths":
        """This quantity plus `factor` times another one."""
        return Lengths(self.stay + factor * other.stay, self.move + factor * other.move)

    def segment(self, place: Ints | int, start: Ints | int, stop: Ints | int) -> Array:
        """Of the segments [start, stop), each in the quickest runtime; shapes broadcast."""
        quickest: Array = (self.stay[:, place, stop] - self.stay[:, place, start]).min(axis=0)
        return quickest


@dataclass(frozen=True)
class Space:
    """tier: (places,) tier index. source, target: (arcs,) places, target ascending; codec: (arcs,).

    runtime: (choices, places), numbers of the runtimes that a place may use. starts: places where a
    walk may begin. filed: (places,), whether what comes there is a picture's file: it is decoded
    before layers run, or before it is sent on in another codec.
    """

    model: CostModel
    tier: Ints
    source: Ints
    target: Ints
    codec: Ints
    runtime: Ints
    starts: Ints
    filed: Flags
    windows: Windows

    @property
    def _hops(self) -> tuple[Ints, Ints, Ints]:
        """(codec, source tier, target tier) of each arc."""
        return self.codec, self.tier[self.source], self.tier[self.target]

    @cached_property
    def seconds(self) -> Lengths:
        """Seconds, equal to the cost model's."""
        lengths = Lengths(
            self.model.prefix_s[self.runtime, self.tier],
            self.model.transfer.latency_s[self._hops],
        )
        opening_s = self.model.coding.opening_s
        return lengths if opening_s is None else self._opened(lengths, opening_s)

    def _opened(self, lengths: Lengths, of_tier: Array) -> Lengths:
        """With what decoding a picture takes on each tier, (tiers,), where it is decoded."""
        stay, move = lengths.stay.copy(), lengths.move.copy()
        at_place = np.where(self.filed, of_tier[self.tier], 0.0)
        stay[..., 1:] += at_place[:, None]
        opens = self.filed[self.source] & (self.codec != self.model.coding.picture)
        move[opens, 0] += at_place[self.source[opens]]
        return Lengths(stay, move)

    @cached_property
    def limited(self) -> Lengths:
        """The seconds that a latency limit bounds: those at the model's level."""
        if self.model.factors is None:
            return self.seconds
        tiers, links = self.model.factors
        stay = self.model.prefix_s[self.runtime, self.tier] * tiers[self.tier][:, None]
        codec, u, v = self._hops
        encode_s, decode_s = self.model.coding.seconds
        move = self.model.on_links.latency_s[codec, u, v] * links[u, v][:, None]
        move += encode_s[codec, u] * tiers[u][:, None] + decode_s[codec, v] * tiers[v][:, None]
        lengths = Lengths(stay, np.where(np.isfinite(self.seconds.move), move, np.inf))
        opening_s = self.model.coding.opening_s
        return lengths if opening_s is None else self._opened(lengths, opening_s * tiers)

    @cached_property
    def score(self) -> Lengths:
        """Score, with a share of latency so small that it only decides ties."""
        model, seconds, hops = self.model, self.seconds, self._hops
        hop = model.transfer
        priced_s = hop.priced_s if isinstance(hop.priced_s, float) else hop.priced_s[hops]
        moves = Terms(hop.latency_s[hops], hop.end_j[hops], hop.total_j[hops], priced_s)
        stay = model.score(model.computing(model.prefix_s))[self.runtime, self.tier]
        lengths = Lengths(stay, model.score(moves))
        opening_s = model.coding.opening_s
        if opening_s is not None:
            opening = model.score(model.computing(opening_s[:, None]))[:, 0]
            lengths = self._opened(lengths, opening)
        return lengths.plus(seconds, TIE / model.score_reference.latency_s)

    @property
    def n_layers(self) -> int:
        """The cut after the last layer."""
        return len(self.model.graph)

    @cached_property
    def max_hops(self) -> int:
        """A walk visits each tier at most once, and no more of them than the goal's max_stages."""
        count, most = len(np.unique(self.tier)), self.model.goal.max_stages
        return (count if most is None else min(count, most)) - 1

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

    def stages(self, walk: Walk) -> list[tuple[int, int, int]]:
        """(place, start, stop) of each stage."""
        places = (walk.start, *self.target[list(walk.arcs)].tolist())
        edges = (0, *walk.cuts, self.n_layers)
        return list(zip(places, edges[:-1], edges[1:], strict=True))

    def route(self, walk: Walk) -> list[int]:
        """Indices of the tiers visited."""
        return [int(self.tier[place]) for place, _, _ in self.stages(walk)]

    def total(self, lengths: Lengths, walk: Walk) -> float:
        """Length of a walk, added in the order of CostModel.cost: equal to its result, bit by bit.

        Both must agree on whether a plan on the very edge of the limit is within it.
        """
        sums = 0.0
        for place, start, stop in self.stages(walk):
            sums += float(lengths.segment(place, start, stop))
        for arc, cut in zip(walk.arcs, walk.cuts, strict=True):
            sums += float(lengths.move[arc, cut])
        return sums

    def plan(self, walk: Walk) -> Plan:
        """The plan that a walk without repeated tiers stands for, each segment in its quickest
        runtime; of equals the one in use.
        """
        prefix_s, runtimes = self.seconds.stay, {}
        for place, start, stop in self.stages(walk):
            tier = self.model.profile.tiers[self.tier[place]]
            seconds = prefix_s[:, place, stop] - prefix_s[:, place, start]
            choice = self.runtime[int(seconds.argmin()), place]
            runtimes[tier.name] = tier.runtimes[choice]
        plan = plan_along(list(runtimes), walk.cuts, self.n_layers).on(runtimes)
        codecs = self.codec[list(walk.arcs)].tolist()
        return plan.coded([self.model.coding.names[c] for c in codecs]) if any(codecs) else plan


def window_min(values: Array, first: Ints, last: Ints) -> Array:
    """Least of values[..., row, first..last], both included; infinite where last < first.

    A sparse table: level j holds the least of 2**j neighbours, and two of them cover any window.
    """
    cuts = values.shape[-1]
    width = last - first + 1
    level = np.maximum(np.frexp(np.maximum(width, 1))[1] - 1, 0)
    levels = [values]
    for j in range(int(level.max())):
        longer, step = levels[-1].copy(), 1 << j
        np.minimum(longer[..., :-step], levels[-1][..., step:], out=longer[..., :-step])
        levels.append(longer)
    table = np.stack(levels)
    rows = np.arange(len(first))[:, None]
    begin, second = np.clip(first, 0, cuts - 1), np.clip(last - (1 << level) + 1, 0, cuts - 1)
    pairs = (table[level, ..., rows, at] for at in (begin, second))
    least = np.minimum(*pairs)  # (rows, cuts, ...): numpy puts what it indexes first
    return np.where(width > 0, np.moveaxis(least, (0, 1), (-2, -1)), np.inf)


def tier_space(
    model: CostModel, links: Sequence[tuple[int, int]], critical: Collection[int] = ()
) -> Space:
    """All tiers that `links` reach. A tier in `critical` is visited at most once."""
    neighbours: dict[int, list[int]] = {}
    for u, v in links:
        neighbours.setdefault(u, []).append(v)

    def onward(station: Station) -> Iterator[Station]:
        tier, visited = station
        for v in neighbours.get(tier, ()):
            bit = 1 << v if v in critical else 0
            if not visited & bit:
                yield v, visited | bit

    growth = grow(model, (0, 0), onward)
    return _space(model, growth, _windows(model, growth))


def route_space(model: CostModel, route: Sequence[int], relays: Collection[int]) -> Space:
    """One route, tier by tier. Tiers in `relays` run nothing, others but the first something."""

    def onward(station: Station) -> list[Station]:
        after = station[1] + 1
        return [(route[after], after)] if after < len(route) else []

    growth = grow(model, (route[0], 0), onward)
    windows = _windows(model, growth)
    cuts = np.arange(len(model.graph) + 1)
    for place, position in enumerate(growth.extras.tolist()):
        if route[position] in relays:
            windows.start_from[place] = windows.stop_to[place] = cuts
        elif position:
            windows.start_to[place] -= 1
            windows.stop_from[place] += 1
        if position < len(route) - 1:
            np.minimum(windows.stop_to[place], cuts[-1] - 1, out=windows.stop_to[place])
            windows.start_to[place, -1] = -1
    return _space(model, growth, windows)


def all_links(model: CostModel) -> list[tuple[int, int]]:
    """Tier pairs with a link, none back to the first tier, which no plan visits again."""
    linked = np.isfinite(model.transfer.latency_s[0, :, :, 0])
    return [(u, v) for u, v in np.argwhere(linked).tolist() if v != 0]


def _space(model: CostModel, growth: Growth, windows: Windows) -> Space:
    arcs = sorted(growth.arcs, key=lambda arc: (arc[1], arc[0], arc[2]))
    source, target, codec = np.array(arcs, dtype=np.intp).reshape(-1, 3).T.copy()
    runtime, starts = _runtimes(model, growth), np.arange(growth.starts)
    filed = growth.are_filed
    return Space(model, growth.tiers, source, target, codec, runtime, starts, filed, windows)


def _runtimes(model: CostModel, growth: Growth) -> Ints:
    """The runtimes of each place, (choices, places); one with fewer repeats its first."""
    usable = model.usable_runtimes
    pairs = zip(growth.tiers.tolist(), growth.are_losing, strict=True)
    choices = [usable[tier][is_losing] or [0] for tier, is_losing in pairs]
    most = max(map(len, choices))
    rows = [[*numbers, *[numbers[0]] * (most - len(numbers))] for numbers in choices]
    return np.array(rows, dtype=np.intp).T.copy()


def _windows(model: CostModel, growth: Growth) -> Windows:
    """By each tier's memory, the layers that the first places keep, and what has no runtime."""
    weights, tiers = model.weight_prefix, growth.tiers
    cuts = np.tile(np.arange(len(weights)), (len(tiers), 1))
    start_from, stop_to = np.zeros_like(cuts), np.full_like(cuts, len(weights) - 1)
    for place, limit in enumerate(model.memory_bytes[tiers]):
        if limit < weights[-1]:
            start_from[place] = np.searchsorted(weights, weights - limit, side="left")
            stop_to[place] = np.searchsorted(weights, weights + limit, side="right") - 1
    windows = Windows(start_from, cuts, cuts.copy(), stop_to)
    usable = model.usable_runtimes
    bare = [t for t, (exact, _) in enumerate(usable) if not exact]
    for place, tier in enumerate(growth.tiers.tolist() if bare else ()):
        if tier in bare and not growth.are_losing[place]:  # lossy runtimes only: it passes on
            windows.start_from[place] = windows.stop_to[place] = cuts[0]
    kept, first = model.goal.min_end_layers, slice(growth.starts)
    windows.start_to[first, :kept] = -1
    np.maximum(windows.stop_from[first], kept, out=windows.stop_from[first])
    return windows
