"""Devices moved until no tier is asked for more than it may be, and then where room is left.

What prices leave over: plans cannot be divided, so at any price a tier may be asked for a little
too much or too little. A tier that is over turns away who loses least by it per second freed, as an
admission would; who gains most by what room is left then gets it.
"""

import numpy as np

from experiments.fleet.plans import Array, Choice
from experiments.fleet.rounds import Scene

# Other plans to move to: those at prices that are so many times as high, of all tiers, of the edges
# or of the cloud alone.
_TIMES = (0.0, 0.6, 0.85, 0.95, 1.05, 1.15, 1.4, 2.0, 5.0)
_BEYOND = 1e9  # a price at which a device does everything itself
_MOST_PASSES = 20
_ROOM = 1e-9


def fitted(scene: Scene, prices: Array, choice: Choice) -> Choice:
    """These plans, changed where it must be, and where it can be for a better score."""
    fit = _Fit(scene, choice, _options(scene, prices))
    fit.relieve(prices)
    fit.fill()
    return fit.result()


def _options(scene: Scene, prices: Array) -> list[Choice]:
    edges, cloud = np.append(np.ones(len(prices) - 1), 0.0), np.zeros(len(prices))
    cloud[-1] = 1.0
    base = np.maximum(prices, 0.01)
    tried = [base * times for times in _TIMES]
    tried += [base * (1 + (times - 1) * part) for part in (edges, cloud) for times in _TIMES]
    tried += [base + _BEYOND * part for part in (edges, cloud, edges + cloud)]
    return [scene.plan(one) for one in tried]


class _Fit:
    """Plans under change: what each device's options cost and ask for, and each tier's room."""

    def __init__(self, scene: Scene, choice: Choice, options: list[Choice]) -> None:
        self._choice = choice
        self._scene, self._tiers = scene, scene.fleet.tiers
        weight, rate = scene.fleet.weight, scene.fleet.rate_per_s
        self._options = options
        self._cost = np.stack([weight * one.score for one in options])
        self._use = np.stack([rate[:, None] * one.use_s for one in options])
        self._now_cost, self._now_use = weight * choice.score, rate[:, None] * choice.use_s
        self._room = np.where(scene.is_dead, 0.0, scene.capacity) - scene.loads(choice)
        self._taken = np.full(len(weight), -1)

    def relieve(self, prices: Array) -> None:
        """Until no tier is over: the move that costs least per second that it frees."""
        own_prices = prices[self._tiers]
        while (tier := int(self._room.argmin())) >= 0 and self._room[tier] < -_ROOM:
            rows = np.flatnonzero((self._tiers == tier).any(axis=1) & (self._scene.is_there > 0))
            here = self._tiers[rows] == tier
            change = self._use[:, rows] - self._now_use[rows]
            freed = -(change * here).sum(axis=2)
            others = np.where(here, 0.0, change)
            extra = self._cost[:, rows] - self._now_cost[rows] + (others * own_prices[rows]).sum(2)
            room = self._room[self._tiers[rows]]
            fits = ((others <= 0) | (others <= room)).all(axis=2) & (freed > _ROOM)
            ratio = np.where(fits, extra / np.maximum(freed, _ROOM), np.inf)
            option, place = np.unravel_index(int(ratio.argmin()), ratio.shape)
            self._move(int(rows[place]), int(option))

    def fill(self) -> None:
        """Moves that improve the score and fit, those that gain most first."""
        for _ in range(_MOST_PASSES):
            gain = np.where(self._scene.is_there > 0, self._now_cost - self._cost, 0.0)
            best = gain.max(axis=0)
            moved = False
            for row in np.argsort(-best).tolist():
                if best[row] <= _ROOM:
                    break
                for option in np.argsort(-gain[:, row]).tolist():
                    if gain[option, row] <= _ROOM:
                        break
                    change = self._use[option, row] - self._now_use[row]
                    if ((change <= 0) | (change <= self._room[self._tiers[row]])).all():
                        self._move(row, option)
                        moved = True
                        break
            if not moved:
                return

    def _move(self, row: int, option: int) -> None:
        np.add.at(self._room, self._tiers[row], self._now_use[row] - self._use[option, row])
        self._now_use[row], self._now_cost[row] = self._use[option, row], self._cost[option, row]
        self._taken[row] = option

    def result(self) -> Choice:
        """The plans as they are now."""
        found = self._choice
        for option in np.unique(self._taken[self._taken >= 0]).tolist():
            found = found.where(self._taken == option, self._options[option])
        return found
