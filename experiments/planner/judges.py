"""Two independent judges of the planner: every plan one by one, and the same as a MILP (HiGHS)."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

from edgesplit.core.cost import CostModel
from edgesplit.core.exhaustive import every_plan


def score_by_brute_force(model: CostModel) -> float | None:
    """Least score of all feasible plans, None where there is none."""
    costs = (model.cost(plan) for plan in every_plan(model.graph, model.profile))
    return min((cost.score for cost in costs if cost.feasible), default=None)


def score_by_milp(model: CostModel) -> float | None:
    """Least score of all feasible plans by HiGHS, None where there is none.

    One binary per (tier, layer) run and per hop (u, v, cut); flow from (first tier, cut 0) to
    cut n; each tier entered once at most, the first never.
    """
    program = _Program(model)
    result = milp(
        program.objective,
        constraints=list(program.constraints()),
        bounds=program.bounds(),
        integrality=np.ones(program.size),
        options={"mip_rel_gap": 0.0},
    )
    return float(result.fun) if result.success else None


class _Program:
    """Columns: runs [tier, layer], then hops [link, cut], then one finish per tier."""

    def __init__(self, model: CostModel) -> None:
        self.model = model
        self.tiers, self.layers = len(model.profile.tiers), len(model.graph)
        reach = np.isfinite(model.transfer.latency_s[:, :, 0])
        self.links = [(u, v) for u, v in np.argwhere(reach).tolist() if v != 0]
        self.first_hop = self.tiers * self.layers
        self.first_finish = self.first_hop + len(self.links) * (self.layers + 1)
        self.size = self.first_finish + self.tiers
        self.objective = self._columns(model.score(model.compute), model.score(model.transfer))

    def constraints(self) -> Iterator[LinearConstraint]:
        """Flow, tiers at most once, and the goal's limits."""
        yield self._flow()
        for tier in range(1, self.tiers):
            entered = np.zeros(self.size)
            for link, (_, v) in enumerate(self.links):
                entered[self._hops(link)] = float(v == tier)
            yield LinearConstraint(entered, 0, 1)
        for tier, limit in enumerate(self.model.memory_bytes):
            if np.isfinite(limit):
                held = np.zeros(self.size)
                held[self._runs(tier)] = self.model.graph.weight_bytes
                yield LinearConstraint(held, 0, limit)
        if self.model.goal.latency_limit_s is not None:
            terms = self.model.compute.latency_s, self.model.transfer.latency_s
            yield LinearConstraint(self._columns(*terms) / self.model.goal.latency_limit_s, 0, 1)

    def bounds(self) -> Bounds:
        """Binary; layers that stay on the first tier are run there."""
        low = np.zeros(self.size)
        low[: self.model.goal.min_end_layers] = 1.0
        return Bounds(low, np.ones(self.size))

    def _runs(self, tier: int) -> slice:
        return slice(tier * self.layers, (tier + 1) * self.layers)

    def _hops(self, link: int) -> slice:
        begin = self.first_hop + link * (self.layers + 1)
        return slice(begin, begin + self.layers + 1)

    def _columns(self, stay: np.ndarray, move: np.ndarray) -> np.ndarray:
        values = np.zeros(self.size)
        values[: self.first_hop] = np.diff(stay, axis=1).ravel()
        for link, (u, v) in enumerate(self.links):
            values[self._hops(link)] = move[u, v]
        return values

    def _flow(self) -> LinearConstraint:
        """What enters (tier, cut) leaves it; one unit starts at (0, 0) and finishes once."""
        cuts = self.layers + 1
        matrix = lil_array((self.tiers * cuts, self.size))
        for tier in range(self.tiers):
            for layer in range(self.layers):
                matrix[tier * cuts + layer, tier * self.layers + layer] = -1
                matrix[tier * cuts + layer + 1, tier * self.layers + layer] = 1
            matrix[tier * cuts + self.layers, self.first_finish + tier] = -1
        for link, (u, v) in enumerate(self.links):
            for cut in range(cuts):
                matrix[u * cuts + cut, self._hops(link).start + cut] = -1
                matrix[v * cuts + cut, self._hops(link).start + cut] = 1
        right = np.zeros(self.tiers * cuts)
        right[0] = -1.0
        return LinearConstraint(matrix.tocsr(), right, right)
