"""Shortest walks through a space, hop by hop and for all cuts at once. One quantity, no limit.

Lengths are >= 0, so a walk longer than a known complete one is dropped on the way.
"""

import numpy as np

from edgesplit.core.search.space import Array, Lengths, Space, Walk

# Rounding of sums taken in another order. Bounds give way by this much, so no tie is lost.
SLACK = 1e-9
# A further hop must gain more than this, or the plan with fewer stages is kept.
GAIN = 1e-12


def forward(space: Space, lengths: Lengths, cutoff: float | None = None) -> list[Array]:
    """Least length to have run layers 0..k at each place after exactly h hops: (places, cuts) each.

    An entry is infinite where fewer hops do as well, and above `cutoff`; cutoff None: above the
    shortest complete walk so far.
    """
    here = np.full(lengths.stay.shape, np.inf)
    starts = (space.first[0] == 0) & (np.arange(space.n_layers + 1) >= space.min_leave)
    here[0, starts] = lengths.stay[0, starts]
    hops, best = [here], here
    for _ in range(space.max_hops):
        there = lengths.stay + space.start_min(_arrivals(space, lengths, here) - lengths.stay)
        bound = best[space.can_finish, -1].min() if cutoff is None else cutoff
        better = (there < best * (1 - GAIN)) & (there <= bound * (1 + SLACK))
        if not better.any():
            break
        here = np.where(better, there, np.inf)
        best = np.minimum(best, here)
        hops.append(here)
    return hops


def backward(space: Space, lengths: Lengths, cutoff: float) -> Array:
    """Least length to finish from an arrival at each place and cut, (places, cuts).

    Infinite where it is above `cutoff`.
    """
    leave = np.full(lengths.stay.shape, np.inf)
    leave[space.can_finish, -1] = 0.0
    finish = space.stop_min(lengths.stay + leave) - lengths.stay
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
        finish = space.stop_min(lengths.stay + leave) - lengths.stay
    return finish


def shortest(space: Space, lengths: Lengths) -> Walk | None:
    """The shortest walk, of equals the one with the fewest hops; None where nothing fits."""
    hops = forward(space, lengths)
    ends = np.array([np.where(space.can_finish, hop[:, -1], np.inf).min() for hop in hops])
    if not np.isfinite(ends.min()):
        return None
    hop = int(np.argmax(ends <= ends.min() * (1 + GAIN)))
    place = int(np.argmin(np.where(space.can_finish, hops[hop][:, -1], np.inf)))
    return _walk_to(space, lengths, hops[: hop + 1], place)


def _arrivals(space: Space, lengths: Lengths, here: Array) -> Array:
    arrive = np.full(here.shape, np.inf)
    places, starts = space.incoming
    if len(places):
        moved = here[space.source] + lengths.move
        arrive[places] = np.minimum.reduceat(moved, starts, axis=0)
    return arrive


def _walk_to(space: Space, lengths: Lengths, hops: list[Array], place: int) -> Walk:
    """Trace the walk that ends at `place` back by finding each minimum again."""
    places, cuts, stop = [place], [], space.n_layers
    for before in reversed(hops[:-1]):
        arcs = np.flatnonzero(space.target == place)
        first, last = space.first[place, stop], stop - space.least[place]
        window = slice(first, last + 1)
        came = before[space.source[arcs], window] + lengths.move[arcs, window]
        came = came - lengths.stay[place, window]
        arc, offset = np.unravel_index(int(np.argmin(came)), came.shape)
        place, stop = int(space.source[arcs[arc]]), int(first + offset)
        places.append(place)
        cuts.append(stop)
    return Walk(tuple(places[::-1]), tuple(cuts[::-1]))
