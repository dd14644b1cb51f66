"""The decision: the plan of least score under the goal's limits, exact, for any links.

Each tier runs in the runtime in use in the profile; joint.py also chooses among the others.

A plan visits a tier once; the search first lets walks visit tiers repeatedly and forbids that only
for the tiers where it would pay (decremental state-space relaxation).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.plan import Plan
from edgesplit.core.search.label import Problem
from edgesplit.core.search.limit import Answer, through, within_limit
from edgesplit.core.search.path import shortest
from edgesplit.core.search.space import TIE, Space, all_links, score_of, seconds_of, tier_space

# Arcs times cuts a relaxation may grow to (8 bytes each, several arrays of them).
MOST_ARC_CUTS = 4_000_000

Solve = Callable[[CostModel, Space], Answer | None]


@dataclass(frozen=True)
class Decision:
    """The plan decided for, with its cost.

    binding: the latency limit changed the answer. loss_bound: no plan scores lower than
    cost.score * (1 - loss_bound); 0.0 where the answer is exact.
    """

    cost: Cost
    binding: bool
    loss_bound: float

    @property
    def plan(self) -> Plan:
        """The plan decided for."""
        return self.cost.plan


def choose(model: CostModel) -> Decision:
    """The plan of least score within the goal's limits.

    Where none is within the latency limit, the fastest; where none fits the memory limits, the
    fastest without them. Its cost then says that it is not feasible.
    """
    decision, binding = _search(model, best_answer)
    if binding is None:
        free = CostModel(model.graph, model.profile, replace(model.goal, latency_limit_s=None))
        free_s = _search(free, best_answer)[0].cost.latency_s
        binding = free_s > (model.goal.latency_limit_s or math.inf)
    return replace(decision, binding=binding)


def choose_fastest(model: CostModel) -> Decision:
    """The plan of least latency within memory limits and min_end_layers."""
    return _search(model, _fastest_answer)[0]


def best_answer(model: CostModel, space: Space) -> Answer | None:
    """The walk of least score in `space`, the fastest where none keeps the latency limit.

    None where no walk fits the memory limits.
    """
    score, seconds = score_of(model, space), seconds_of(model, space)
    best = shortest(space, score)
    if best is None:
        return None
    limit_s = model.goal.latency_limit_s
    if limit_s is None:
        return Answer(best, False, math.inf, 0.0)
    within = space.total(seconds, best) <= limit_s
    binding = None if space.repeated(best) else not within
    if within:
        return Answer(best, binding, math.inf, 0.0)
    problem = Problem(space, score, seconds, limit_s)
    fastest = shortest(space, seconds)
    if fastest is None or not problem.fits(fastest):
        return Answer(fastest or best, binding, math.inf, None)
    return replace(within_limit(problem, best, fastest), binding=binding)


def choose_within(model: CostModel, space: Space) -> Decision | None:
    """The plan of best_answer in a space whose walks visit no tier twice, such as one route's.

    None where no plan fits the memory limits.
    """
    answer = best_answer(model, space)
    return None if answer is None else _decision(model, space, answer)


def _fastest_answer(model: CostModel, space: Space) -> Answer | None:
    walk = shortest(space, seconds_of(model, space))
    return None if walk is None else Answer(walk, False, math.inf, None)


def _search(model: CostModel, solve: Solve) -> tuple[Decision, bool | None]:
    """The decision, and whether the limit changed it; None where only walks that are no plan tell.

    Later, smaller spaces may lack the plan that would win without the limit: the first one tells.
    """
    critical: set[int] = set()
    links = all_links(model)
    space = tier_space(model, links)
    first = answer = solve(model, space)
    while True:
        if answer is None or first is None:
            return _ignoring_memory(model), False
        repeated = space.repeated(answer.walk)
        if not repeated:
            return _decision(model, space, answer), first.binding
        ordered = _in_order(model, solve, space, answer)
        if 2 * len(space.target) * space.n_layers > MOST_ARC_CUTS:
            return ordered, first.binding
        links = _useful_links(model, space, answer, ordered)
        critical |= repeated
        space = tier_space(model, links, critical)
        answer = solve(model, space)


def _decision(model: CostModel, space: Space, answer: Answer) -> Decision:
    cost = model.cost(space.plan(answer.walk, model.profile))
    length = space.total(score_of(model, space), answer.walk)
    loss = max(0.0, 1.0 - answer.lower / length) if length > 0 else 0.0
    return Decision(cost, bool(answer.binding), loss)


def _in_order(model: CostModel, solve: Solve, space: Space, relaxed: Answer) -> Decision:
    """Search only along the order in which the relaxed walk first visits the tiers.

    No tier can repeat there; the relaxed answer bounds what is lost.
    """
    lower = min(relaxed.lower, space.total(score_of(model, space), relaxed.walk))
    visited = [int(space.tier[place]) for place in relaxed.walk.places]
    order = list(dict.fromkeys([*visited, *range(len(model.profile.tiers))]))
    links = [(u, v) for u, v in all_links(model) if order.index(u) < order.index(v)]
    ordered = tier_space(model, links)
    answer = solve(model, ordered)
    if answer is None:
        return _ignoring_memory(model)
    return _decision(model, ordered, replace(answer, lower=min(answer.lower, lower)))


def _useful_links(
    model: CostModel, space: Space, relaxed: Answer, known: Decision
) -> list[tuple[int, int]]:
    """The links over which a plan could score no worse than a known one."""
    keep = np.ones(len(space.target), dtype=np.bool_)
    seconds, limit_s = seconds_of(model, space), model.goal.latency_limit_s
    if known.cost.feasible and relaxed.price is not None:
        upper = known.cost.score + TIE * known.cost.latency_s / model.norms.latency_s
        mixed = score_of(model, space).plus(seconds, relaxed.price)
        mix, _ = through(space, mixed, upper + relaxed.price * (limit_s or 0.0))
        keep &= np.isfinite(mix).any(axis=1)
    source, target = space.tier[space.source[keep]], space.tier[space.target[keep]]
    return sorted(set(zip(source.tolist(), target.tolist(), strict=True)))


def _ignoring_memory(model: CostModel) -> Decision:
    free = CostModel(model.graph, model.profile, replace(model.goal, memory_bytes={}))
    plan = choose_fastest(free).plan
    return Decision(model.cost(plan), False, 0.0)
