"""The walk of least score within a limit of seconds that the walk of least score breaks. Exact.

The price of a second from the Lagrangian dual, by the secant method (Handler and Zang, Networks 10,
1980), rules hops out. Labels go over the rest: a label is a walk that has arrived at a place, with
its seconds and its score. One that another beats in both, or that no bound lets win, is dropped.
What is found is exact, or says that the search was cut short.
"""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import Array
from edgesplit.core.planner.growth import Ints
from edgesplit.core.planner.shortest import GAIN, SLACK, shortest, through
from edgesplit.core.planner.space import Space, Walk

# Label extensions held in memory at once, about 0.1 kB each, and tried in all, about 0.2 us each.
ROOM, MOST_EXTENSIONS = 500_000, 5_000_000
# Hops tried first, those with the least reduced cost: they give a good incumbent cheaply.
CORE_HOPS = 300


@dataclass(frozen=True)
class Problem:
    """Find the walk of least score whose seconds stay within limit_s."""

    space: Space
    limit_s: float

    def point(self, walk: Walk) -> tuple[float, float]:
        """Its seconds at the model's level, and its score; expected seconds as CostModel.cost has
        them, exactly.
        """
        space = self.space
        return space.total(space.limited, walk), space.total(space.score, walk)

    def fits(self, walk: Walk) -> bool:
        """Whether a walk is within the limit."""
        return self.point(walk)[0] <= self.limit_s


@dataclass(frozen=True)
class _Incumbent:
    """The best walk within the limit so far, and its score."""

    walk: Walk
    score: float

    def beaten_by(self, score: float, hops: int) -> bool:
        """Whether that is better: a lower score, or as good with fewer stages."""
        if score < self.score * (1 - GAIN):
            return True
        return score <= self.score * (1 + GAIN) and hops < len(self.walk.arcs)


@dataclass(frozen=True)
class _Columns:
    """Arrays of one length that belong together."""

    def take(self, chosen: Ints | NDArray[np.bool_]) -> Self:
        return type(self)(*(getattr(self, field.name)[chosen] for field in fields(self)))


@dataclass(frozen=True)
class _Arcs(_Columns):
    """Hops worth trying, sorted by (source, cut), and what must still follow each one at least.

    mix: score + price * seconds. through_mix: least of a whole walk over the hop.
    """

    arc: Ints
    cut: Ints
    source: Ints
    target: Ints
    move_s: Array
    move_score: Array
    rest_s: Array
    rest_score: Array
    rest_mix: Array
    through_mix: Array


@dataclass(frozen=True)
class _Labels(_Columns):
    """Labels after the same number of hops: where each has arrived, and what it took so far.

    mix: least of a whole walk that begins so. arc, parent: how it came, and the label before.
    """

    place: Ints
    cut: Ints
    seconds: Array
    score: Array
    mix: Array
    arc: Ints
    parent: Ints

    def __len__(self) -> int:
        return len(self.place)


def within_limit(problem: Problem, best: Walk, fastest: Walk) -> Walk:
    """The walk of least score within the limit; `best` breaks the limit, `fastest` keeps it."""
    price, incumbent = _price_of_seconds(problem, best, fastest)
    arcs = _useful_arcs(problem, price, incumbent)
    return _LabelSearch(problem, price, arcs, incumbent).run()


def _price_of_seconds(problem: Problem, best: Walk, fastest: Walk) -> tuple[float, _Incumbent]:
    """The price at which score + price * seconds bounds the answer best; the best walk met.

    Each step prices a second so that a slow and a quick walk cost the same; the shortest walk at
    that price replaces one of them, until there is none shorter.
    """
    space, slow, quick = problem.space, problem.point(best), problem.point(fastest)
    incumbent = _Incumbent(fastest, quick[1])
    while True:
        price = max(0.0, (quick[1] - slow[1]) / (slow[0] - quick[0]))
        mixed = space.score.plus(space.limited, price)
        walk = shortest(space, mixed) or fastest
        point = problem.point(walk)
        gain = quick[1] + price * quick[0] - point[1] - price * point[0]
        if gain <= GAIN * (quick[1] + price * quick[0]) or point in (slow, quick):
            return price, incumbent
        if point[0] > problem.limit_s:
            slow = point
            continue
        quick = point
        if incumbent.beaten_by(point[1], len(walk.arcs)):
            incumbent = _Incumbent(walk, point[1])


def _useful_arcs(problem: Problem, price: float, incumbent: _Incumbent) -> _Arcs:
    """Hops that a walk better than the incumbent could use."""
    space, limit_s, best = problem.space, problem.limit_s, incumbent.score
    mixed = space.score.plus(space.limited, price)
    mix, rest_mix = through(space, mixed, best + price * limit_s)
    seconds, rest_s = through(space, space.limited, limit_s)
    score, rest_score = through(space, space.score, best)
    arc, cut = np.nonzero(np.isfinite(mix) & np.isfinite(seconds) & np.isfinite(score))
    order = np.lexsort((cut, space.source[arc]))
    arc, cut = arc[order], cut[order]
    target = space.target[arc]
    moves = (space.limited.move[arc, cut], space.score.move[arc, cut])
    rests = (rest_s[target, cut], rest_score[target, cut], rest_mix[target, cut])
    return _Arcs(arc, cut, space.source[arc], target, *moves, *rests, mix[arc, cut])


class _LabelSearch:
    """One search: the incumbent so far over hops worth trying."""

    def __init__(self, problem: Problem, price: float, arcs: _Arcs, incumbent: _Incumbent) -> None:
        self._problem, self._price, self._incumbent = problem, price, incumbent
        self._arcs = arcs
        self._left = MOST_EXTENSIONS

    def run(self) -> Walk:
        """The best walk; first over the hops that look best, which tells most others to be none."""
        if len(self._arcs.arc) > CORE_HOPS:
            arcs = self._arcs
            core = np.argsort(arcs.through_mix, kind="stable")[:CORE_HOPS]
            self._arcs = arcs.take(np.sort(core))
            self._go()
            bound = self._incumbent.score + self._price * self._problem.limit_s
            self._arcs = arcs.take(arcs.through_mix <= bound * (1 + SLACK))
        self._go()
        return replace(self._incumbent.walk, is_proved=self._left > 0)

    def _go(self) -> None:
        starts = self._problem.space.starts
        zero, nothing = np.zeros_like(starts), np.zeros(len(starts))
        hops = [_Labels(starts, zero, nothing, nothing, nothing, zero, zero)]
        while len(hops[-1]):
            self._finish(hops)
            if len(hops) > self._problem.space.max_hops:
                break
            hops.append(self._extend(hops[-1]))

    def _finish(self, hops: list[_Labels]) -> None:
        """Run the remaining layers where each label has arrived; keep the best as incumbent."""
        labels, problem, space = hops[-1], self._problem, self._problem.space
        place, cut, end = labels.place, labels.cut, space.n_layers
        seconds = labels.seconds + space.limited.segment(place, cut, end)
        score = labels.score + space.score.segment(place, cut, end)
        windows = space.windows
        allowed = (windows.stop_from[place, cut] <= end) & (windows.stop_to[place, cut] == end)
        allowed &= seconds <= problem.limit_s * (1 + SLACK)
        allowed &= score <= self._incumbent.score * (1 + GAIN)
        chosen = np.flatnonzero(allowed)
        for label in chosen[np.argsort(score[chosen], kind="stable")].tolist():
            if not self._incumbent.beaten_by(float(score[label]), len(hops) - 1):
                break
            walk = _walk(hops, label)
            if problem.fits(walk):
                self._incumbent = _Incumbent(walk, float(score[label]))
                break

    def _extend(self, labels: _Labels) -> _Labels:
        """Every label over every hop it can reach, without those that cannot win."""
        parts = [labels.take(np.zeros(0, dtype=np.intp))]
        parts += [self._extended(labels, *pairs) for pairs in self._pairs(labels)]
        columns = zip(*([getattr(p, f.name) for f in fields(p)] for p in parts), strict=True)
        found = _Labels(*(np.concatenate(column) for column in columns))
        return found.take(_undominated(found))

    def _pairs(self, labels: _Labels) -> Iterator[tuple[Ints, Ints]]:
        """Indices (label, hop) of all extensions, so many at a time as there is room for."""
        space, arcs = self._problem.space, self._arcs
        keys = arcs.source * (space.n_layers + 1) + arcs.cut
        row = labels.place * (space.n_layers + 1)
        first = row + space.windows.stop_from[labels.place, labels.cut]
        last = row + space.windows.stop_to[labels.place, labels.cut]
        low = np.searchsorted(keys, first, side="left")
        counts = np.maximum(np.searchsorted(keys, last, side="right") - low, 0)
        ends = np.cumsum(counts)
        for part in np.split(np.arange(len(ends)), np.flatnonzero(np.diff(ends // ROOM)) + 1):
            label = np.repeat(part, counts[part])
            self._left -= len(label)
            if self._left <= 0:
                return
            before = np.repeat(ends[part] - counts[part], counts[part])
            first_before = ends[part[0]] - counts[part[0]]
            yield label, np.arange(len(label)) + first_before - before + low[label]

    def _extended(self, labels: _Labels, label: Ints, hop: Ints) -> _Labels:
        problem, arcs, price = self._problem, self._arcs, self._price
        space = problem.space
        place, start, stop = labels.place[label], labels.cut[label], arcs.cut[hop]
        spent = labels.seconds[label] + arcs.move_s[hop]
        spent += space.limited.segment(place, start, stop)
        scored = labels.score[label] + arcs.move_score[hop]
        scored += space.score.segment(place, start, stop)
        limit_s, best = problem.limit_s * (1 + SLACK), self._incumbent.score * (1 + SLACK)
        mix = scored + price * spent + arcs.rest_mix[hop]
        keep = mix <= best + price * limit_s
        keep &= spent + arcs.rest_s[hop] <= limit_s
        keep &= scored + arcs.rest_score[hop] <= best
        found = _Labels(arcs.target[hop], stop, spent, scored, mix, arcs.arc[hop], label)
        return found.take(keep)


def _undominated(labels: _Labels) -> Ints:
    """Positions of labels that no other at the same place and cut beats in seconds and score."""
    if not len(labels):
        return np.zeros(0, dtype=np.intp)
    state = labels.place * (int(labels.cut.max()) + 1) + labels.cut
    order = np.lexsort((labels.score, labels.seconds, state))
    # Ranks instead of scores: an integer offset per state keeps the running minimum within it.
    rank = np.empty(len(order), dtype=np.intp)
    rank[np.argsort(labels.score, kind="stable")] = np.arange(len(order))
    group = np.cumsum(np.diff(state[order], prepend=state[order[0]]) != 0)
    level = rank[order] - group * len(order)
    best_before = np.minimum.accumulate(level)
    kept = np.concatenate([[True], level[1:] < best_before[:-1]])
    undominated: Ints = order[kept]
    return undominated


def _walk(hops: list[_Labels], label: int) -> Walk:
    arcs, cuts = [], []
    for labels in reversed(hops[1:]):
        arcs.append(int(labels.arc[label]))
        cuts.append(int(labels.cut[label]))
        label = int(labels.parent[label])
    start = int(hops[0].place[label])
    return Walk(tuple(arcs[::-1]), tuple(cuts[::-1]), start=start)
