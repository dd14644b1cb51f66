"""The oracle: the plan that measures best of all, found by trying them.

Every plan is measured with a few requests; the best of them are measured again, taking turns. The
winner of that is fixed before it is compared with anything, so that its figures in the comparison
are not the lucky ones it was chosen for.
"""

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import torch

from edgesplit import EdgeSplit, Goal, Graph, Plan, Profile, plan_along
from edgesplit.core.cost import CostModel
from experiments.shared.answer import Figures, ask, mean
from experiments.shared.exhaustive import every_plan

FINALISTS = 8


@dataclass(frozen=True)
class Measured:
    """A plan and its means over so many requests."""

    plan: str
    requests: int
    figures: Figures


def end_only(graph: Graph, profile: Profile) -> Plan:
    """All layers on the tier that holds the input, quickest runtime: scores are relative to it."""
    quickest = profile.tiers[0].quickest_runtime
    return plan_along([profile.entry_tier], [], len(graph)).on({profile.entry_tier: quickest})


def candidates(graph: Graph, profile: Profile, goal: Goal, limit: int | None) -> list[Plan]:
    """All plans over the profile's links, in an order drawn with a fixed seed.

    limit: only so many, those that cost least by the cost model, and all-on-end, which is always
    among them.
    """
    plans: Iterable[Plan] = every_plan(graph, profile)
    if limit is not None:
        model = CostModel(graph, profile, goal)
        plans = heapq.nsmallest(limit, plans, key=lambda plan: model.cost(plan).score)
    chosen = dict.fromkeys([end_only(graph, profile), *plans])
    order = np.random.default_rng(0).permutation(len(chosen))
    listed = list(chosen)
    return [listed[index] for index in order]


def measure(split: EdgeSplit, plan: Plan, x: torch.Tensor, requests: int) -> Measured:
    """Means over `requests` requests along the plan, after one that warms up."""
    ask(split, x, plan)
    return Measured(str(plan), requests, mean(ask(split, x, plan) for _ in range(requests)))


def best(scores: Mapping[str, float], count: int) -> list[str]:
    """The plans of least score, best first; of equal ones the one that comes first by its text."""
    return heapq.nsmallest(count, scores, key=lambda plan: (scores[plan], plan))


def scores(measured: Iterable[Measured], goal: Goal, norms: Figures) -> dict[str, float]:
    """Each plan's score."""
    return {one.plan: one.figures.score(goal, norms) for one in measured}
