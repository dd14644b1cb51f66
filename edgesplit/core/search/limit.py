"""The best walk within a latency limit that the best walk breaks: bounds first, then labels.

Lagrangian dual by the secant method (Handler and Zang, Networks 10, 1980), elimination of hops by
reduced cost, and the label search over what is left.
"""

from dataclasses import dataclass

import numpy as np

from edgesplit.core.search.label import Arcs, Incumbent, LabelSearch, Problem
from edgesplit.core.search.path import GAIN, SLACK, backward, forward, shortest
from edgesplit.core.search.space import Array, Lengths, Space, Walk

# Hops tried first, those with the least reduced cost: they give a good incumbent cheaply.
CORE_HOPS = 300
# Label extensions of one hop held in memory at once; about 0.1 kB each.
ROOM = 1_000_000


@dataclass(frozen=True)
class Answer:
    """A walk and whether the limit changed it.

    binding: None where the walk of least score is no plan, so that it cannot tell.
    lower: no walk within the limits scores less than it; infinite where the answer is exact.
    price: of a second, as the dual found it; 0.0 without a binding limit, None where the fastest
    walk was the question.
    """

    walk: Walk
    binding: bool | None
    lower: float
    price: float | None


@dataclass(frozen=True)
class Dual:
    """The price of a second, and the best walk within the limit come across."""

    price: float
    incumbent: Incumbent


def within_limit(problem: Problem, best: Walk, fastest: Walk) -> Answer:
    """The walk of least score within the limit; `best` breaks the limit, `fastest` keeps it."""
    dual = price_of_seconds(problem, best, fastest)
    arcs, mix = surviving_arcs(problem, dual)
    incumbent = dual.incumbent
    if len(mix) > CORE_HOPS:
        core = np.sort(np.argsort(mix, kind="stable")[:CORE_HOPS])
        incumbent = LabelSearch(problem, arcs.take(core), incumbent, ROOM).run()
        bound = (incumbent.score + dual.price * problem.limit_s) * (1 + SLACK)
        arcs = arcs.take(np.flatnonzero(mix <= bound))
    search = LabelSearch(problem, arcs, incumbent, ROOM)
    incumbent = search.run()
    lower = search.least_dropped - dual.price * problem.limit_s
    return Answer(incumbent.walk, True, lower, dual.price)


def price_of_seconds(problem: Problem, best: Walk, fastest: Walk) -> Dual:
    """The price at which score + price * seconds bounds the answer best.

    Each step prices a second so that the two walks cost the same; the shortest walk at that price
    replaces one of them, until there is none shorter.
    """
    slow, quick = _Point.of(problem, best), _Point.of(problem, fastest)
    incumbent = Incumbent(fastest, quick.score)
    while True:
        price = max(0.0, (quick.score - slow.score) / (slow.seconds - quick.seconds))
        mixed = problem.score.plus(problem.seconds, price)
        walk = shortest(problem.space, mixed) or fastest
        point = _Point.of(problem, walk)
        if point.mix(price) >= quick.mix(price) * (1 - GAIN) or point in (slow, quick):
            return Dual(price, incumbent)
        if point.seconds > problem.limit_s:
            slow = point
            continue
        quick = point
        if incumbent.beaten_by(point.score, len(walk.places)):
            incumbent = Incumbent(walk, point.score)


def surviving_arcs(problem: Problem, dual: Dual) -> tuple[Arcs, Array]:
    """Hops that a walk better than the incumbent could use, and the least mix through each."""
    limit_s, best, space = problem.limit_s, dual.incumbent.score, problem.space
    mixed = problem.score.plus(problem.seconds, dual.price)
    mix, rest_mix = through(space, mixed, best + dual.price * limit_s)
    seconds, rest_s = through(space, problem.seconds, limit_s)
    score, rest_score = through(space, problem.score, best)
    keep = np.isfinite(mix) & np.isfinite(seconds) & np.isfinite(score)
    arc, cut = np.nonzero(keep)
    source, target = space.source[arc], space.target[arc]
    order = np.lexsort((cut, source))
    arcs = Arcs(
        source,
        target,
        cut,
        problem.seconds.move[arc, cut],
        problem.score.move[arc, cut],
        rest_s[target, cut],
        rest_score[target, cut],
        rest_mix[target, cut],
        dual.price,
    )
    return arcs.take(order), mix[arc, cut][order]


def through(space: Space, lengths: Lengths, cutoff: float) -> tuple[Array, Array]:
    """Least length of a walk over each (arc, cut), infinite above the cutoff; and backward()."""
    before = np.minimum.reduce(forward(space, lengths, cutoff))
    after = backward(space, lengths, cutoff)
    whole = before[space.source] + lengths.move + after[space.target]
    return np.where(whole <= cutoff * (1 + SLACK), whole, np.inf), after


@dataclass(frozen=True)
class _Point:
    """A walk's seconds and score."""

    seconds: float
    score: float

    @classmethod
    def of(cls, problem: Problem, walk: Walk) -> "_Point":
        space = problem.space
        return cls(space.total(problem.seconds, walk), space.total(problem.score, walk))

    def mix(self, price: float) -> float:
        return self.score + price * self.seconds
