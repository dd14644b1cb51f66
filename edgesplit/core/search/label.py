"""Label search: the best walk within a time limit, over the few arcs that bounds leave.

A label is a walk that has arrived at a place, with its seconds and its score. All labels of one
hop are extended together; one that another beats in both, or that no bound lets win, is dropped.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.search.path import GAIN, SLACK
from edgesplit.core.search.space import Array, Ints, Lengths, Space, Walk


@dataclass(frozen=True)
class Problem:
    """Find the walk of least score whose seconds stay within limit_s."""

    space: Space
    score: Lengths
    seconds: Lengths
    limit_s: float

    def fits(self, walk: Walk) -> bool:
        """Whether a walk is within the limit, exactly as CostModel.cost judges it."""
        return self.space.total(self.seconds, walk) <= self.limit_s


@dataclass(frozen=True)
class Incumbent:
    """The best walk within the limit so far, and its score."""

    walk: Walk
    score: float

    def beaten_by(self, score: float, stages: int) -> bool:
        """Whether that is better: a lower score, or as good with fewer stages."""
        if score < self.score * (1 - GAIN):
            return True
        return score <= self.score * (1 + GAIN) and stages < len(self.walk.places)


@dataclass(frozen=True)
class Arcs:
    """Hops worth trying, sorted by (source, cut), and what must still follow each one at least.

    All (hops,). price: the weight of seconds in the mix; rest_mix: least score + price * seconds.
    """

    source: Ints
    target: Ints
    cut: Ints
    move_s: Array
    move_score: Array
    rest_s: Array
    rest_score: Array
    rest_mix: Array
    price: float

    def take(self, chosen: Ints) -> "Arcs":
        """Those at the ascending positions `chosen`."""
        return Arcs(
            self.source[chosen],
            self.target[chosen],
            self.cut[chosen],
            self.move_s[chosen],
            self.move_score[chosen],
            self.rest_s[chosen],
            self.rest_score[chosen],
            self.rest_mix[chosen],
            self.price,
        )


@dataclass(frozen=True)
class _Labels:
    """Labels after the same number of hops: where each has arrived, and what it took so far.

    mix: least score + price * seconds of a whole walk that begins so. parent: in the hop before.
    """

    place: Ints
    cut: Ints
    seconds: Array
    score: Array
    mix: Array
    parent: Ints

    def __len__(self) -> int:
        return len(self.place)

    def take(self, chosen: Ints | NDArray[np.bool_]) -> "_Labels":
        return _Labels(
            self.place[chosen],
            self.cut[chosen],
            self.seconds[chosen],
            self.score[chosen],
            self.mix[chosen],
            self.parent[chosen],
        )


class LabelSearch:
    """One search: the incumbent so far, and the least mix among labels dropped for want of room."""

    def __init__(self, problem: Problem, arcs: Arcs, incumbent: Incumbent, room: int) -> None:
        self.problem, self.arcs, self.incumbent, self.room = problem, arcs, incumbent, room
        self.least_dropped = np.inf

    def run(self) -> Incumbent:
        """The best walk over the arcs; exact where least_dropped stays infinite."""
        zero = np.zeros(1, dtype=np.intp)
        nothing = np.zeros(1)
        hops = [_Labels(zero, zero, nothing, nothing, nothing, zero)]
        while len(hops[-1]):
            self._finish(hops)
            if len(hops) > self.problem.space.max_hops:
                break
            hops.append(self._extend(hops[-1]))
        return self.incumbent

    def _finish(self, hops: list[_Labels]) -> None:
        """Run the remaining layers where each label has arrived; keep the best as incumbent."""
        labels, problem, space = hops[-1], self.problem, self.problem.space
        end = space.n_layers
        stay_s = problem.seconds.stay[labels.place, end]
        stay = problem.score.stay[labels.place, end]
        seconds = labels.seconds + stay_s - problem.seconds.stay[labels.place, labels.cut]
        score = labels.score + stay - problem.score.stay[labels.place, labels.cut]
        allowed = space.can_finish[labels.place]
        allowed &= space.until[labels.place, labels.cut] == end
        allowed &= labels.cut + space.least[labels.place] <= end
        if len(hops) == 1:
            allowed &= end >= space.min_leave
        allowed &= seconds <= problem.limit_s * (1 + SLACK)
        allowed &= score <= self.incumbent.score * (1 + GAIN)
        chosen = np.flatnonzero(allowed)
        for label in chosen[np.argsort(score[chosen], kind="stable")].tolist():
            if not self.incumbent.beaten_by(float(score[label]), len(hops)):
                break
            walk = _walk(hops, label)
            if problem.fits(walk):
                self.incumbent = Incumbent(walk, float(score[label]))
                break

    def _extend(self, labels: _Labels) -> _Labels:
        """Every label over every arc it can reach, without those that cannot win."""
        arcs, seconds, score = self.arcs, self.problem.seconds, self.problem.score
        label, arc = self._pairs(labels)
        place, start, stop = labels.place[label], labels.cut[label], arcs.cut[arc]
        spent = labels.seconds[label] + arcs.move_s[arc]
        spent += seconds.stay[place, stop] - seconds.stay[place, start]
        scored = labels.score[label] + arcs.move_score[arc]
        scored += score.stay[place, stop] - score.stay[place, start]
        limit_s, best, price = self.problem.limit_s, self.incumbent.score, arcs.price
        mix = scored + price * spent + arcs.rest_mix[arc]
        keep = mix <= (best + price * limit_s) * (1 + SLACK)
        keep &= spent + arcs.rest_s[arc] <= limit_s * (1 + SLACK)
        keep &= scored + arcs.rest_score[arc] <= best * (1 + SLACK)
        found = _Labels(arcs.target[arc], stop, spent, scored, mix, label).take(keep)
        return found.take(_undominated(found))

    def _pairs(self, labels: _Labels) -> tuple[Ints, Ints]:
        """Indices (label, arc) of all extensions, thinned to the room there is."""
        space, arcs = self.problem.space, self.arcs
        width = space.n_layers + 1
        keys = arcs.source * width + arcs.cut
        begin = labels.place * width + labels.cut + space.least[labels.place]
        final = labels.place * width + space.until[labels.place, labels.cut]
        low = np.searchsorted(keys, begin, side="left")
        counts = np.maximum(np.searchsorted(keys, final, side="right") - low, 0)
        if counts.sum() > self.room:
            counts = self._thin(labels, counts)
        label = np.repeat(np.arange(len(labels)), counts)
        before = np.repeat(np.cumsum(counts) - counts, counts)
        return label, np.arange(len(label)) - before + low[label]

    def _thin(self, labels: _Labels, counts: Ints) -> Ints:
        """Keep the extensions of the labels with the least mix; note the least that is dropped."""
        order = np.argsort(labels.mix, kind="stable")
        dropped = order[np.cumsum(counts[order]) > self.room]
        self.least_dropped = min(self.least_dropped, float(labels.mix[dropped].min()))
        thinned = counts.copy()
        thinned[dropped] = 0
        return thinned


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
    places, cuts = [], []
    for labels in reversed(hops[1:]):
        places.append(int(labels.place[label]))
        cuts.append(int(labels.cut[label]))
        label = int(labels.parent[label])
    return Walk((0, *places[::-1]), tuple(cuts[::-1]))
