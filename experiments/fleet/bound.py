"""The least mean score that any plans within the capacities can have: a linear program.

Each device may divide its requests among its plans. The program has a column per device and plan;
those that matter are generated: HiGHS solves the ones at hand, its dual prices lead to each
device's best plan at them, and what improves is added. The Lagrangian bound at the same prices
says how far off the answer can be.
"""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import linprog
from scipy.sparse import csr_array

from experiments.fleet.plans import Array, Choice
from experiments.fleet.rounds import Scene

_GAP = 1e-7  # of the answer, at which it is good enough
_MOST_ROUNDS = 100


@dataclass(frozen=True)
class Bound:
    """lower: no plans have a lower mean score. relaxed: what divided requests reach; they agree."""

    lower: float
    relaxed: float
    prices: Array
    columns: int


def lp_bound(scene: Scene, seen: list[Choice]) -> Bound:
    """The bound. seen: plans of all devices to begin with, which save rounds."""
    pool = _Columns(scene)
    beyond = np.full(len(scene.capacity), 1e9)
    for choice in [scene.plan(beyond), *seen]:
        pool.add(choice)
    lower = -np.inf
    for _ in range(_MOST_ROUNDS):
        relaxed, prices = pool.solved()
        choice = scene.plan(prices)
        lower = max(lower, pool.lagrangian(choice, prices))
        if relaxed - lower <= _GAP * abs(relaxed):
            break
        pool.add(choice)
    total = float(scene.fleet.weight @ scene.is_there)
    return Bound(lower / total, relaxed / total, prices, pool.size)


class _Columns:
    """The plans at hand: of each its device, its weighted score and what it asks of each tier."""

    def __init__(self, scene: Scene) -> None:
        self._scene, self._fleet = scene, scene.fleet
        self._rows = np.flatnonzero(scene.is_there)
        self._capacity = np.where(scene.is_dead, 0.0, scene.capacity)
        self._known = set[tuple[int, bytes]]()
        self._device: list[int] = []
        self._cost: list[float] = []
        self._use: list[Array] = []

    @property
    def size(self) -> int:
        """How many."""
        return len(self._cost)

    def add(self, choice: Choice) -> None:
        """Those of these plans that are new."""
        cost, use = self._priced(choice)
        for place, row in enumerate(self._rows.tolist()):
            key = (place, np.round(use[row], 9).tobytes())
            if key not in self._known:
                self._known.add(key)
                self._device.append(place)
                self._cost.append(float(cost[row]))
                self._use.append(use[row])

    def solved(self) -> tuple[float, Array]:
        """The least cost with the plans at hand, and the price of each tier."""
        count, tiers = self.size, len(self._capacity)
        device, use = np.array(self._device), np.array(self._use)
        column = np.repeat(np.arange(count), use.shape[1])
        tier = self._fleet.tiers[self._rows[device]].ravel()
        asked = csr_array((use.ravel(), (tier, column)), (tiers, count))
        once = csr_array((np.ones(count), (device, np.arange(count))), (len(self._rows), count))
        found = linprog(
            self._cost, A_ub=asked, b_ub=self._capacity, A_eq=once, b_eq=np.ones(len(self._rows)),
            method="highs",
        )  # fmt: skip
        if not found.success:
            raise RuntimeError(f"HiGHS: {found.message}")
        return float(found.fun), np.maximum(0.0, -found.ineqlin.marginals)

    def lagrangian(self, choice: Choice, prices: Array) -> float:
        """No cost is less than this, whatever the prices; choice: the best plans at them."""
        cost, use = self._priced(choice)
        each = cost + (use * prices[self._fleet.tiers]).sum(axis=1)
        return float(each[self._rows].sum() - prices @ self._capacity)

    def _priced(self, choice: Choice) -> tuple[Array, Array]:
        fleet = self._fleet
        return fleet.weight * choice.score, fleet.rate_per_s[:, None] * choice.use_s
