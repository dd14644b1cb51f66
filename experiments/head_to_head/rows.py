"""From what became of requests to rows: figures per policy, regrets, intervals, and lost cells.

Every form of the benchmark hands a Cell to rows_of(): nothing here knows how requests were served.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from edgesplit.core.cost import CostModel
from experiments.head_to_head.intervals import BLOCK, drawn_means, interval
from experiments.head_to_head.loss import loss_of
from experiments.head_to_head.served import Served

Row = dict[str, Any]
Kind = Literal["ours", "published", "planner", "trivial", "hindsight"]
OURS, RANDOM = "edgesplit", "random"
CLAIRVOYANT, BEST_STATIC, BEST_TRIVIAL = "clairvoyant", "best static", "best trivial"
CAUSAL: tuple[Kind, ...] = ("ours", "published", "planner", "trivial")
EVEN = 0.005  # scores that are less apart are even: plans are the same, or as good


@dataclass(frozen=True)
class Cell:
    """One model, condition and goal; what became of the same requests on each policy.

    served, kinds: by policy; OURS, CLAIRVOYANT and BEST_STATIC are there. plans: what those chosen
    in hindsight chose. cost: the model whose goal and fixed reference make scores. limit_s: beyond
    which a request is late. is_steady: whether requests are independent of each other.
    """

    model: str
    condition: str
    goal: str
    served: Mapping[str, Served]
    kinds: Mapping[str, Kind]
    plans: Mapping[str, str]
    cost: CostModel
    limit_s: float
    is_steady: bool
    generator: np.random.Generator

    @property
    def key(self) -> Row:
        """What tells it from other cells."""
        return {"model": self.model, "condition": self.condition, "goal": self.goal}


def rows_of(cell: Cell) -> tuple[list[Row], Row | None]:
    """A row per policy, and where ours is not the best causal one why that is so."""
    names = list(cell.served)
    scores = np.array([cell.served[name].scores(cell.cost) for name in names])
    block = 1 if cell.is_steady else BLOCK
    draws = drawn_means(scores, block, cell.generator)
    latencies = np.array([cell.served[name].latency_s for name in names])
    waits = drawn_means(latencies, block, cell.generator)
    means = dict(zip(names, scores.mean(axis=1).tolist(), strict=True))
    columns = {name: draws[:, place] for place, name in enumerate(names)}
    trivial = min(_of_kind(cell, "trivial"), key=lambda name: means[name])
    held = {CLAIRVOYANT: CLAIRVOYANT, BEST_STATIC: BEST_STATIC, BEST_TRIVIAL: trivial}
    rows = []
    for place, name in enumerate(names):
        row = {**cell.key, "policy": name, "kind": cell.kinds[name]}
        row |= _figures(cell, cell.served[name])
        row |= {"score": means[name], **_ends("score", columns[name])}
        row["of which probes"] = cell.served[name].besides_score(cell.cost)
        row |= _ends("mean_s", waits[:, place])
        for label, other in held.items():
            row[f"over {label}"] = _over(means[name], means[other])
        row |= _ends("over clairvoyant", _ratios(columns[name], columns[CLAIRVOYANT]))
        over_ours = _ratios(columns[name], columns[OURS])
        row |= {"over ours": _over(means[name], means[OURS]), **_ends("over ours", over_ours)}
        row["within_noise"] = name == OURS or interval(over_ours).has_zero
        row["plan"] = cell.plans.get(name, "")
        rows.append(row)
    rival = min(_causal_rivals(cell), key=lambda name: means[name])
    return rows, _lost(cell, rival, {row["policy"]: row for row in rows})


def _figures(cell: Cell, served: Served) -> Row:
    p50, p95, p99 = (float(q) for q in np.quantile(served.latency_s, (0.5, 0.95, 0.99)))
    return {
        "requests": len(served.latency_s),
        "mean_s": float(served.latency_s.mean()),
        "p50_s": p50,
        "p95_s": p95,
        "p99_s": p99,
        "waited_s": float(served.waited_s.mean()),
        "end_j": float(served.end_j.mean()),
        "total_j": float(served.total_j.mean()),
        "besides_j": served.besides[1],
        "late": float((served.latency_s > cell.limit_s).mean()),
        "switches": served.switches,
        "hedged": int(served.hedged.sum()),
        "failed_over": int(served.failed_over.sum()),
    }


def _of_kind(cell: Cell, kind: Kind) -> list[str]:
    return [name for name in cell.served if cell.kinds[name] == kind]


def _causal_rivals(cell: Cell) -> list[str]:
    """Policies that could have been used: not ours, and not chosen in hindsight."""
    return [name for name in cell.served if cell.kinds[name] in CAUSAL[1:]]


def _over(score: float, other: float) -> float:
    return score / other - 1


def _ratios(draws: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.asarray(draws / other - 1)


def _ends(name: str, draws: np.ndarray) -> Row:
    found = interval(draws)
    return {f"{name}, low": found.low, f"{name}, high": found.high}


def _lost(cell: Cell, rival: str, rows: Mapping[str, Row]) -> Row | None:
    """Why ours is above the best other causal policy by more than noise; None where it is not."""
    row, own = rows[rival], rows[OURS]
    if row["within_noise"] or row["over ours"] > -EVEN:
        return None
    found = loss_of(cell.served[OURS], cell.served[rival], cell.cost)
    return {
        **cell.key,
        "rival": rival,
        "kind": cell.kinds[rival],
        "score": own["score"],
        "rival_score": row["score"],
        "over": own["score"] / row["score"] - 1,
        "low": 1 / (1 + row["over ours, high"]) - 1,
        "high": 1 / (1 + row["over ours, low"]) - 1,
        **found,
    }
