"""S(i, j) of three tiers for people: whole as JSON, as text thinned to the cuts that matter."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import CostModel
from edgesplit.core.matrix import three_tier_latency, three_tier_matrix
from edgesplit.core.plan import Plan

MOST_CUTS = 12  # per axis: what fits a terminal of 120 columns
_CELL = 8
_CORNER = r"i \ j"
Cuts = list[int]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SplitMatrix:
    """S(i, j) of three tiers: the first runs [0, i), the second [i, j), the third the rest.

    score, latency_s: (n + 1, n + 1), NaN where j < i or a link is missing. is_feasible: within
    the latency limit, the memory limits and the layers kept on the first tier. best: (i, j).
    """

    tiers: tuple[str, ...]
    score: NDArray[np.float64]
    latency_s: NDArray[np.float64]
    is_feasible: Bools
    best: tuple[int, int]

    def as_dict(self) -> dict[str, object]:
        """The whole matrix as plain values for JSON; null where there is no plan."""
        return {
            "meaning": "score[i][j]: {} runs layers 0-i, {} i-j, {} the rest".format(*self.tiers),
            "best": list(self.best),
            "score": _rows(self.score),
            "latency_s": _rows(self.latency_s),
            "is_feasible": self.is_feasible.tolist(),
        }

    def __str__(self) -> str:
        open_score = np.where(np.isnan(self.score), np.inf, self.score)
        rows = _cuts_that_matter(open_score.min(axis=1), self.best[0])
        columns = _cuts_that_matter(open_score.min(axis=0), self.best[1])
        first, second, third = self.tiers
        n = len(self.score) - 1
        lines = [
            f"S(i, j), {len(rows)} x {len(columns)} of {n + 1} x {n + 1} cuts: {first} runs "
            f"layers 0-i (down), {second} i-j (across), {third} j-{n}",
            f"{_CORNER:>6} " + "".join(f"{j:>{_CELL}} " for j in columns),
        ]
        lines += [f"{i:>6} " + "".join(self._cell(i, j) for j in columns) for i in rows]
        lines.append("> chosen, * breaks a limit of the goal, . no such plan")
        return "\n".join(line.rstrip() for line in lines)

    def _cell(self, i: int, j: int) -> str:
        if np.isnan(self.score[i, j]):
            return f"{'.':>{_CELL}} "
        mark = " " if self.is_feasible[i, j] else "*"
        text = f"{self.score[i, j]:.4f}"
        return f"{'>' + text if (i, j) == self.best else text:>{_CELL}}{mark}"


def split_matrix(model: CostModel, chosen: Plan) -> SplitMatrix:
    """All splits of three tiers, `chosen` marked as best. Raises ProfileError for another count."""
    model = model.under(chosen)
    score, latency_s = three_tier_matrix(model), three_tier_latency(model)
    names = model.profile.names
    stops = {stage.tier: stage.stop for stage in chosen.stages}
    first = stops[names[0]]
    best = (first, stops.get(names[1], first))
    return SplitMatrix(names, score, latency_s, _feasible(model, latency_s), best)


def _feasible(model: CostModel, latency_s: NDArray[np.float64]) -> Bools:
    limit_s = model.goal.latency_limit_s
    weights, room = model.weight_prefix, model.memory_bytes
    n = len(model.graph)
    fits: Bools = latency_s <= (np.inf if limit_s is None else limit_s)
    kept = np.arange(n + 1) >= model.goal.min_end_layers
    fits &= (kept & (weights <= room[0]))[:, None]
    fits &= weights[None, :] - weights[:, None] <= room[1]
    fits &= (weights[-1] - weights <= room[2])[None, :]
    return fits


def _cuts_that_matter(best: NDArray[np.float64], chosen: int) -> Cuts:
    """At most MOST_CUTS cuts: the chosen, both ends, the lowest dips, then evenly spread ones."""
    n = len(best) - 1
    padded = np.concatenate([[np.inf], best, [np.inf]])
    is_dip = (best <= padded[:-2]) & (best <= padded[2:])
    dips = sorted(np.flatnonzero(is_dip), key=lambda cut: best[cut])
    spread = np.linspace(0, n, MOST_CUTS).round().astype(int)
    wanted = dict.fromkeys(int(cut) for cut in (chosen, 0, n, *dips[: MOST_CUTS // 2], *spread))
    return sorted(list(wanted)[:MOST_CUTS])


def _rows(matrix: NDArray[np.float64]) -> list[list[float | None]]:
    return [[None if np.isnan(x) else float(f"{x:.6g}") for x in row] for row in matrix]
