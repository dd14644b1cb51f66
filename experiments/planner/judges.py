"""Two independent judges of the planner: every plan one by one, and the same as a MILP (HiGHS)."""

from collections.abc import Iterator

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_array

from edgesplit.core.cost import CostModel
from experiments.shared.exhaustive import every_plan


def score_by_brute_force(model: CostModel) -> float | None:
    """Least score of all feasible plans, None where there is none."""
    costs = (model.cost(plan) for plan in every_plan(model.graph, model.profile))
    return min((cost.score for cost in costs if cost.feasible), default=None)


def score_by_milp(model: CostModel) -> float | None:
    """Least score of all feasible plans by HiGHS, None where there is none.

    One binary per (tier, runtime, layer) run, per hop (u, v, cut) and per runtime of a tier; flow
    from (first tier, cut 0) to cut n; each tier entered once at most, the first never.
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
    """Columns: runs [tier, runtime, layer], hops [link, cut], a finish per tier, a runtime each."""

    def __init__(self, model: CostModel) -> None:
        self.model = model
        self.tiers, self.layers = len(model.profile.tiers), len(model.graph)
        self.runtimes = len(model.prefix_s)
        reach = np.isfinite(model.transfer.latency_s[0, :, :, 0])
        self.links = [(u, v) for u, v in np.argwhere(reach).tolist() if v != 0]
        self.first_hop = self.tiers * self.runtimes * self.layers
        self.first_finish = self.first_hop + len(self.links) * (self.layers + 1)
        self.first_choice = self.first_finish + self.tiers
        self.size = self.first_choice + self.tiers * self.runtimes
        stay = model.score(model.computing(model.prefix_s))
        self.objective = self._columns(stay, model.score(model.transfer)[0])

    def constraints(self) -> Iterator[LinearConstraint]:
        """Flow, tiers and their runtimes at most once, and the goal's limits."""
        yield self._flow()
        yield from self._one_runtime()
        for tier in range(1, self.tiers):
            entered = np.zeros(self.size)
            for link, (_, v) in enumerate(self.links):
                entered[self._hops(link)] = float(v == tier)
            yield LinearConstraint(entered, 0, 1)
        for tier, limit in enumerate(self.model.memory_bytes):
            if np.isfinite(limit):
                held = np.zeros(self.size)
                for runtime in range(self.runtimes):
                    held[self._runs(tier, runtime)] = self.model.graph.weight_bytes
                yield LinearConstraint(held, 0, limit)
        if self.model.goal.latency_limit_s is not None:
            terms = self.model.prefix_s, self.model.transfer.latency_s[0]
            yield LinearConstraint(self._columns(*terms) / self.model.goal.latency_limit_s, 0, 1)

    def bounds(self) -> Bounds:
        """Binary; the first tier is not left before the layers that stay there."""
        high = np.ones(self.size)
        for link, (u, _) in enumerate(self.links):
            if u == 0:
                begin = self._hops(link).start
                high[begin : begin + self.model.goal.min_end_layers] = 0.0
        return Bounds(np.zeros(self.size), high)

    def _runs(self, tier: int, runtime: int) -> slice:
        begin = (tier * self.runtimes + runtime) * self.layers
        return slice(begin, begin + self.layers)

    def _one_runtime(self) -> Iterator[LinearConstraint]:
        """A tier takes one runtime at most, and runs nothing in the others."""
        for tier in range(self.tiers):
            taken = np.zeros(self.size)
            choices = self.first_choice + tier * self.runtimes
            taken[choices : choices + self.runtimes] = 1.0
            yield LinearConstraint(taken, 0, 1)
            for runtime in range(self.runtimes):
                runs = np.zeros(self.size)
                runs[self._runs(tier, runtime)] = 1.0
                runs[choices + runtime] = -self.layers
                yield LinearConstraint(runs, -np.inf, 0)

    def _hops(self, link: int) -> slice:
        begin = self.first_hop + link * (self.layers + 1)
        return slice(begin, begin + self.layers + 1)

    def _columns(self, stay: np.ndarray, move: np.ndarray) -> np.ndarray:
        values = np.zeros(self.size)
        values[: self.first_hop] = np.diff(stay, axis=-1).swapaxes(0, 1).ravel()
        for link, (u, v) in enumerate(self.links):
            values[self._hops(link)] = move[u, v]
        return values

    def _flow(self) -> LinearConstraint:
        """What enters (tier, cut) leaves it; one unit starts at (0, 0) and finishes once."""
        cuts = self.layers + 1
        matrix = lil_array((self.tiers * cuts, self.size))
        for tier in range(self.tiers):
            for runtime, layer in np.ndindex(self.runtimes, self.layers):
                run = self._runs(tier, runtime).start + layer
                matrix[tier * cuts + layer, run] = -1
                matrix[tier * cuts + layer + 1, run] = 1
            matrix[tier * cuts + self.layers, self.first_finish + tier] = -1
        for link, (u, v) in enumerate(self.links):
            for cut in range(cuts):
                matrix[u * cuts + cut, self._hops(link).start + cut] = -1
                matrix[v * cuts + cut, self._hops(link).start + cut] = 1
        right = np.zeros(self.tiers * cuts)
        right[0] = -1.0
        return LinearConstraint(matrix.tocsr(), right, right)
