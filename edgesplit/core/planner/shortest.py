"""Shortest walks through a space, hop by hop and for all cuts at once. One quantity, no limit.

Lengths are >= 0, so a walk longer than a known complete one is dropped on the way. The least over
a tier's runtimes may be taken after the least over cuts, so none needs a table of segments.
"""

import numpy as np

from edgesplit.core.cost import Array
from edgesplit.core.planner.space import Lengths, Space, Walk

# Rounding of sums taken in another order. Bounds give way by this much, so no tie is lost.
SLACK = 1e-9
# A further hop must gain more than this, or the plan with fewer stages is kept.
GAIN = 1e-12


def forward(space: Space, lengths: Lengths, cutoff: float | None = None) -> list[Array]:
    """Least length to have run layers 0..k at each place after exactly h hops: (places, cuts) each.

    An entry is infinite where fewer hops do as well, and above `cutoff`; cutoff None: above the
    shortest complete walk so far.
    """
    arrive = np.full(lengths.stay.shape[1:], np.inf)
    arrive[space.starts, 0] = 0.0
    hops: list[Array] = []
    best = np.full_like(arrive, np.inf)
    for hop in range(space.max_hops + 1):
        if hop:
            arrive = _arrivals(space, lengths, hops[-1])
        run = space.windows.least_to_stop(arrive - lengths.stay) + lengths.stay
        there = run.min(axis=0)
        bound = min(best[:, -1].min(), there[:, -1].min()) if cutoff is None else cutoff
        better = (there < best * (1 - GAIN)) & (there <= bound * (1 + SLACK))
        if hop and not better.any():
            break
        hops.append(np.where(better, there, np.inf))
        best = np.minimum(best, hops[-1])
    return hops


def backward(space: Space, lengths: Lengths, cutoff: float) -> Array:
    """Least length to finish from an arrival at each place and cut, (places, cuts).

    Infinite where it is above `cutoff`.
    """
    leave = np.full(lengths.stay.shape[1:], np.inf)
    leave[:, -1] = 0.0
    finish = _finish(space, lengths, leave)
    order, places, starts = space.outgoing
    if not len(order):
        return finish
    source_move, target = lengths.move[order], space.target[order]
    for _ in range(space.max_hops):
        onward = np.minimum.reduceat(source_move + finish[target], starts, axis=0)
        better = (onward < leave[places] * (1 - GAIN)) & (onward <= cutoff * (1 + SLACK))
        if not better.any():
            break
        leave[places] = np.where(better, onward, leave[places])
        finish = _finish(space, lengths, leave)
    return finish


def shortest(space: Space, lengths: Lengths) -> Walk | None:
    """The shortest walk, of equals the one with the fewest hops; None where nothing fits."""
    hops = forward(space, lengths)
    ends = np.array([hop[:, -1].min() for hop in hops])
    if not np.isfinite(ends.min()):
        return None
    last = int(np.argmax(ends <= ends.min() * (1 + GAIN)))
    return _walk_to(space, lengths, hops[: last + 1])


def through(space: Space, lengths: Lengths, cutoff: float) -> tuple[Array, Array]:
    """Least length of a walk over each (arc, cut), infinite above the cutoff; and backward()."""
    before = np.minimum.reduce(forward(space, lengths, cutoff))
    after = backward(space, lengths, cutoff)
    whole = before[space.source] + lengths.move + after[space.target]
    return np.where(whole <= cutoff * (1 + SLACK), whole, np.inf), after


def _finish(space: Space, lengths: Lengths, leave: Array) -> Array:
    least = space.windows.least_to_start(lengths.stay + leave) - lengths.stay
    finish: Array = least.min(axis=0)
    return finish


def _arrivals(space: Space, lengths: Lengths, here: Array) -> Array:
    arrive = np.full(here.shape, np.inf)
    places, starts = space.incoming
    if len(places):
        moved = here[space.source] + lengths.move
        arrive[places] = np.minimum.reduceat(moved, starts, axis=0)
    return arrive


def _walk_to(space: Space, lengths: Lengths, hops: list[Array]) -> Walk:
    """Trace the walk of least length back by finding each minimum again."""
    place, stop = int(np.argmin(hops[-1][:, -1])), space.n_layers
    arcs, cuts = [], []
    for before in reversed(hops[:-1]):
        into = np.flatnonzero(space.target == place)
        first, last = space.windows.start_from[place, stop], space.windows.start_to[place, stop]
        window = slice(first, last + 1)
        came = before[space.source[into], window] + lengths.move[into, window]
        start = came - lengths.stay[:, None, place, window]
        whole = (start + lengths.stay[:, None, place, stop, None]).min(axis=0)
        at, offset = np.unravel_index(int(np.argmin(whole)), whole.shape)
        place, stop = int(space.source[into[at]]), int(first + offset)
        arcs.append(int(into[at]))
        cuts.append(stop)
    return Walk(tuple(arcs[::-1]), tuple(cuts[::-1]), start=place)
