"""The best plan with codecs against the best plan without, request by request in turns."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch

from edgesplit import EdgeSplit, Goal, Profile
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.planner.choose import choose
from edgesplit.core.profile import ScoreReference
from edgesplit.errors import ClusterError
from experiments.shared.answer import Figures, ask, mean_figures
from experiments.shared.report import Row
from experiments.shared.scene import Scene

FLOOR = 0.005  # of accuracy
GOALS = {
    "score": Goal(max_accuracy_loss=FLOOR),
    "latency": Goal(end_energy=0.0, total_energy=0.0, latency=1.0, max_accuracy_loss=FLOOR),
}
_SETTLE_S = 180.0


@dataclass(frozen=True)
class Pair:
    """The best plans as the session believes things to be. without: payloads travel as they are."""

    with_codecs: Cost
    without: Cost
    profile: Profile


def shape_all(scene: Scene, split: EdgeSplit, rate: str) -> None:
    """Hold every link to that rate."""
    names = split.profile.names
    linked = {frozenset(link.pair) for link in split.profile.links}
    for index, source in enumerate(names):
        for target in names[index + 1 :]:
            if frozenset((source, target)) in linked:
                scene.shape(f"{source}-{target}", rate)


def settle(split: EdgeSplit, x: torch.Tensor, loaded: Callable[[], None] = lambda: None) -> None:
    """Send requests until the plan stands and all codecs that it may use are measured."""
    until_s = time.monotonic() + _SETTLE_S
    while time.monotonic() < until_s:
        for _ in range(3):
            split.infer(x)
        try:
            split.wait_for_codecs(timeout_s=_SETTLE_S)
        except ClusterError:
            continue
        if split.wait_for_plan(timeout_s=5.0):
            return


def best_pair(split: EdgeSplit, goal: Goal) -> Pair:
    """What would be chosen now, with the codecs that were measured and granted, and without."""
    profile = split.profile
    found = choose(CostModel(split.graph, profile, goal)).cost
    bare = replace(profile, codecs=())
    return Pair(found, choose(CostModel(split.graph, bare, goal)).cost, profile)


def compared(split: EdgeSplit, pair: Pair, goal: Goal, x: torch.Tensor, rounds: int) -> Row:
    """Both plans measured in turns: medians of latency, means of joules, and ratios."""
    plans = {"with": pair.with_codecs.plan, "without": pair.without.plan}
    came: dict[str, list[Figures]] = {name: [] for name in plans}
    sent: dict[str, float] = {}
    if is_same(pair):  # nothing to compare: both names stand for the same requests
        plans.pop("without")
    for number in range(rounds + 1):
        for name, plan in plans.items():
            answer = ask(split, x, plan)
            if number and answer.figures is not None:  # the first warms up
                came[name].append(answer.figures)
            sent[name] = _sent_bytes(split)
    if is_same(pair):
        came["without"], sent["without"] = came["with"], sent["with"]
    reference = CostModel(split.graph, pair.profile, goal).score_reference
    return _row(pair, came, sent) | {"score_ratio": _score_ratio(came, goal, reference)}


def _score_ratio(came: dict[str, list[Figures]], goal: Goal, reference: ScoreReference) -> float:
    """Of the goal's scores, by the session's reference."""
    scores = {name: mean_figures(figures).score(goal, reference) for name, figures in came.items()}
    return scores["with"] / scores["without"]


def _sent_bytes(split: EdgeSplit) -> float:
    record = split.last_record
    return float(sum(timing.sent_bytes for timing in record.timings)) if record else 0.0


def _row(pair: Pair, came: dict[str, list[Figures]], sent: dict[str, float]) -> dict[str, Any]:
    row: dict[str, Any] = {"plan_with": str(pair.with_codecs.plan)}
    row["plan_without"] = str(pair.without.plan)
    means = {name: mean_figures(figures) for name, figures in came.items()}
    for name, cost in (("with", pair.with_codecs), ("without", pair.without)):
        row[f"{name}_latency_s"] = median(figures.latency_s for figures in came[name])
        row[f"{name}_predicted_s"] = cost.latency_s
        row[f"{name}_end_j"] = means[name].end_energy_j
        row[f"{name}_total_j"] = means[name].total_energy_j
        row[f"{name}_sent_bytes"] = sent[name]
    for figure in ("latency_s", "end_j", "total_j"):
        before = row[f"without_{figure}"]
        row[f"{figure}_ratio"] = row[f"with_{figure}"] / before if before else 1.0
    return row


def is_same(pair: Pair) -> bool:
    """Whether codecs change nothing."""
    return pair.with_codecs.plan == pair.without.plan
