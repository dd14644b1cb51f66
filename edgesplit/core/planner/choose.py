"""The decision: the plan of least score under the goal's limits, for any links.

A plan visits a tier once. The search first lets walks visit tiers repeatedly and forbids that only
for the tiers where it would pay (decremental state-space relaxation, Righini and Salani 2008).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.plan import Plan
from edgesplit.core.planner.limited import Problem, within_limit
from edgesplit.core.planner.shortest import shortest
from edgesplit.core.planner.space import Space, Walk, all_links, tier_space
from edgesplit.errors import PlanError

# Arcs times cuts a space may grow to (8 bytes each, several arrays of them).
MOST_ARC_CUTS = 4_000_000
# Levels at which a promised plan is looked for: from expected seconds to the promised one.
LEVELS = 8
# Tiers that are left to choose from where it would grow further: those of the best walk first.
MOST_TIERS = 8


@dataclass(frozen=True)
class Decision:
    """The plan decided for, with its cost.

    binding: the latency limit changed the answer. is_proved: no plan within the limits scores
    less; False where there was too much to search, or the limit binds with a probability.
    """

    cost: Cost
    binding: bool = False
    is_proved: bool = True

    @property
    def plan(self) -> Plan:
        """The plan decided for."""
        return self.cost.plan


def choose(model: CostModel) -> Decision:
    """The plan of least score within the goal's limits, runtimes chosen with tiers and cuts.

    Where none is within the latency limit, the fastest; where none fits the memory limits, the
    fastest without them. Its cost then says that it is not feasible. Raises PlanError where the
    entry tier has lossy runtimes only and the goal does not grant them.
    """
    return choose_within(model, model.goal.latency_limit_s)


def choose_within(model: CostModel, limit_s: float | None) -> Decision:
    """As `choose`, under another latency limit than the goal's.

    Whether the plan's cost is feasible is said under the goal's.
    """
    if limit_s is not None and model.goal.probability is not None:
        return _promised(model, limit_s, model.goal.probability)
    relaxed = _relaxed(model)
    best = _decision(relaxed, lambda space: best_walk(space, None))
    if best is None:
        return _ignoring_memory(model)
    if limit_s is None or best.cost.latency_s <= limit_s:
        return best
    within = _decision(relaxed, lambda space: best_walk(space, limit_s))
    assert within is not None, "what fits the memory limits still does"
    return replace(within, binding=True)


def _promised(model: CostModel, limit_s: float, probability: float) -> Decision:
    """The plan of least score whose quantile is within the limit, as far as additive terms find it.

    Where the plan of least score breaks the limit, plans are chosen, exactly, with each part's
    seconds at its own expected shortfall, at higher and higher levels; the first whose quantile of
    the sum is within the limit is taken. One chosen within the limit at the last level keeps it:
    a sum's shortfall is at most the sum of the shortfalls, and a quantile at most its shortfall
    (Acerbi and Tasche, Journal of Banking and Finance 26, 2002). Where none is within the limit,
    the one of least quantile of those and of the fastest ones.
    """
    best = _decision(_relaxed(model), lambda space: best_walk(space, None))
    if best is None:
        return _ignoring_memory(model)
    if best.cost.limited_s <= limit_s:
        return best
    left, steps = 1 - probability, range(LEVELS)
    spaces = [_relaxed(model.at(1 - left ** (k / (LEVELS - 1)))) for k in steps]
    tried = list[Decision]()
    for find in (lambda space: best_walk(space, limit_s), _fastest_walk):
        for space in spaces:
            found = _decision(space, find)
            assert found is not None, "what fits the memory limits still does"
            tried.append(replace(found, binding=True, is_proved=False))
            if found.cost.limited_s <= limit_s:
                return tried[-1]
    return min(tried, key=lambda decision: decision.cost.limited_s)


def _fastest_walk(space: Space) -> Walk | None:
    return shortest(space, space.limited)


def choose_fastest(model: CostModel) -> Decision:
    """The plan of least latency within memory limits and min_end_layers; else as `choose`."""
    fastest = _decision(_relaxed(model), lambda space: shortest(space, space.seconds))
    return fastest or _ignoring_memory(model)


def best_walk(space: Space, limit_s: float | None) -> Walk | None:
    """The walk of least score, the fastest where none keeps the limit.

    None where no walk fits the memory limits.
    """
    best = shortest(space, space.score)
    if best is None or limit_s is None:
        return best
    problem = Problem(space, limit_s)
    if problem.fits(best):
        return best
    fastest = shortest(space, space.limited)
    assert fastest is not None, "what fits the memory limits still does"
    return within_limit(problem, best, fastest) if problem.fits(fastest) else fastest


def _decision(relaxed: Space, solve: Callable[[Space], Walk | None]) -> Decision | None:
    """What `solve` finds among walks that visit no tier twice; None where it finds nothing.

    relaxed: the space in which they may.
    """
    space, model, critical = relaxed, relaxed.model, set[int]()
    links, has_all = list[tuple[int, int]](), True
    while (walk := solve(space)) is not None:
        route = space.route(walk)
        repeated = {tier for tier in route if route.count(tier) > 1}
        if not repeated:
            return Decision(model.cost(space.plan(walk)), is_proved=walk.is_proved and has_all)
        critical |= repeated
        links = links or all_links(model)
        if len(space.target) * space.n_layers << len(repeated) > MOST_ARC_CUTS:
            every = dict.fromkeys([*route, *sorted(critical), *space.tier.tolist()])
            kept, has_all = list(every)[:MOST_TIERS], len(every) <= MOST_TIERS
            links = [(u, v) for u, v in links if u in kept and v in kept]
        space = tier_space(model, links, critical)
    return None


def _relaxed(model: CostModel) -> Space:
    return tier_space(model, all_links(model))


def _ignoring_memory(model: CostModel) -> Decision:
    if not model.goal.memory_bytes:
        raise PlanError(
            "no plan: the tiers that must run layers have lossy runtimes only, which the goal's "
            f"max_accuracy_loss ({model.goal.max_accuracy_loss}) does not grant"
        )
    free = CostModel(model.graph, model.profile, replace(model.goal, memory_bytes={}))
    return Decision(model.cost(choose_fastest(free).plan))
