"""Shares of work that several devices do in step: the linear programs, solved exactly.

Seconds are a sum of maxima, so convex and made of flat pieces. Each piece met bounds them from
below; the least under these bounds is at a corner, and each corner shows the piece it lies on
(Kelley's cutting planes). With a handful of devices all corners can be tried.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from edgesplit.core.cost import Array

_SLACK = 1e-9
_SINGULAR = 1e-12


@dataclass(frozen=True)
class InStep:
    """per_share, fixed: (steps, devices), seconds of a step on a device: per_share times its share,
    plus fixed. joules_per_share: (devices,). fixed_j: of all.
    """

    per_share: Array
    fixed: Array
    joules_per_share: Array
    fixed_j: float

    def seconds(self, shares: Array) -> float:
        """Each step takes as long as its slowest device."""
        return float((self.per_share * shares + self.fixed).max(axis=1).sum())

    def joules(self, shares: Array) -> float:
        """Of all devices."""
        return float(self.joules_per_share @ shares) + self.fixed_j

    def piece(self, shares: Array) -> tuple[Array, float]:
        """(slope by device, constant) of the piece of seconds that these shares lie on."""
        slowest = (self.per_share * shares + self.fixed).argmax(axis=1)
        slope = np.zeros(self.per_share.shape[1])
        steps = np.arange(len(slowest))
        np.add.at(slope, slowest, self.per_share[steps, slowest])
        return slope, float(self.fixed[steps, slowest].sum())


def least_seconds(step: InStep) -> Array:
    """Shares of least seconds; they are >= 0 and sum to 1."""
    return _least(step, np.array([*np.zeros(step.per_share.shape[1]), 1.0]), None)


def least_joules(step: InStep, deadline_s: float) -> Array:
    """Shares of least joules within the deadline, which some shares keep."""
    return _least(step, np.array([*step.joules_per_share, 0.0]), deadline_s)


def _least(step: InStep, weights: Array, deadline_s: float | None) -> Array:
    """weights: of each share, and of the seconds."""
    count = step.per_share.shape[1]
    pieces = [step.piece(shares) for shares in (*np.eye(count), np.full(count, 1 / count))]
    unit_s = step.seconds(np.eye(count)[0]) or 1.0  # so that seconds and shares are alike in size
    bound = -np.inf
    while True:
        corner = _best_corner(pieces, weights, deadline_s, unit_s)
        shares, seconds = corner[:count], float(corner[count]) * unit_s
        if step.seconds(shares) <= seconds + _SLACK * unit_s:
            return shares
        least = float(corner @ weights)
        if least > bound + _SLACK * abs(least):  # what does not touch this corner is not missed
            pieces = [p for p in pieces if p[0] @ shares + p[1] >= seconds - _SLACK * unit_s]
        bound = max(bound, least)
        pieces.append(step.piece(shares))


def _best_corner(
    pieces: Sequence[tuple[Array, float]], weights: Array, deadline_s: float | None, unit_s: float
) -> Array:
    """Shares and seconds / unit_s of least weight among the corners of what the pieces allow."""
    count = len(weights) - 1
    # rows @ (shares, seconds) <= most
    rows = [*-np.eye(count, count + 1), *(np.array([*s / unit_s, -1.0]) for s, _ in pieces)]
    most = [*[0.0] * count, *(-constant / unit_s for _, constant in pieces)]
    if deadline_s is not None:
        rows.append(np.eye(count + 1)[count])
        most.append(deadline_s / unit_s)
    limits, bounds = np.stack(rows), np.array(most)
    chosen = np.array(list(combinations(range(len(limits)), count)))
    whole = np.broadcast_to(np.array([*[1.0] * count, 0.0]), (len(chosen), 1, count + 1))
    systems = np.concatenate([limits[chosen], whole], axis=1)
    sides = np.concatenate([bounds[chosen], np.ones((len(chosen), 1))], axis=1)
    sound = np.abs(np.linalg.det(systems)) > _SINGULAR
    corners = np.linalg.solve(systems[sound], sides[sound][..., None])[..., 0]
    corners = corners[(corners @ limits.T <= bounds + _SLACK).all(axis=1)]
    corners[:, :count] = np.maximum(corners[:, :count], 0.0)
    best: Array = corners[int((corners @ weights).argmin())]
    return best
