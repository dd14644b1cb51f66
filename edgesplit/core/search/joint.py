"""Runtimes chosen together with tiers and cuts, exactly: branch and bound over the tiers' rows.

Each problem leaves some tiers open: layer by layer, those get the least seconds of all their rows.
Score and latency only grow with a layer's seconds, so what the planner finds then is a lower bound
of every choice of rows. Where one row is that quick on the whole segment, the bound is met.
"""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import count

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.search.choice import Choice
from edgesplit.core.search.planner import Decision, choose, choose_fastest
from edgesplit.core.search.space import TIE

# After so many the best plan found so far is taken, and its loss_bound says what that may cost.
# Enough for a proof with up to 64 choices of rows: there are fewer branchings than choices.
MOST_PROBLEMS = 128
# Relative; sums of the same seconds in another order differ by less.
_SAME = 1e-12

Solve = Callable[[CostModel], Decision | None]
# Whether a limit is broken, then what is to be small: ranks compare as they should.
Rank = tuple[bool, float]


def choose_jointly(model: CostModel) -> Decision:
    """As `choose`, with the runtime of each tier chosen too, whichever is in use in the profile."""
    goal = model.goal
    if not _has_choice(model) or goal.latency_limit_s is None:
        return _of_least_score(model)
    free = CostModel(model.graph, model.profile, replace(goal, latency_limit_s=None))
    best = _of_least_score(free)
    if best.cost.latency_s <= goal.latency_limit_s:
        return replace(best, cost=model.cost(best.plan))
    return replace(_of_least_score(model), binding=best.cost.feasible)


def choose_fastest_jointly(model: CostModel) -> Decision:
    """As `choose_fastest`, with the runtime of each tier chosen too.

    loss_bound is of the latency.
    """
    decision = jointly(model, choose_fastest, lambda cost: (False, cost.latency_s))
    assert decision is not None, "choose_fastest always answers"
    return decision


def jointly(
    model: CostModel, solve: Solve, rank: Callable[[Cost], Rank] | None = None
) -> Decision | None:
    """The best that `solve` finds over every choice of one row per tier; None where it has none.

    rank: what `solve` minimises; None: the score, or the latency where a limit cannot be kept.
    """
    if not _has_choice(model):
        return solve(model)
    return _Search(model, solve, rank or _ranked_by_score(model)).run()


def _of_least_score(model: CostModel) -> Decision:
    decision = jointly(model, choose)
    assert decision is not None, "choose always answers"
    return decision


def _has_choice(model: CostModel) -> bool:
    return any(tier.rows for tier in model.profile.tiers)


def _ranked_by_score(model: CostModel) -> Callable[[Cost], Rank]:
    tie = TIE / model.norms.latency_s

    def rank(cost: Cost) -> Rank:
        value = cost.score + tie * cost.latency_s if cost.feasible else cost.latency_s
        return (not cost.feasible, value)

    return rank


@dataclass(frozen=True)
class _Problem:
    """Rows fixed for some tiers, by name; the others are open. None of its plans ranks below lower.

    number: in the order of making, which decides between equal ones.
    """

    lower: Rank
    number: int
    fixed: Mapping[str, str]

    def __lt__(self, other: "_Problem") -> bool:
        return (self.lower, self.number) < (other.lower, other.number)


class _Search:
    """Least lower bound first, until none is below the best plan found.

    unproven: bounds of problems without a gap, of which `solve` itself gave only a bound.
    """

    def __init__(self, model: CostModel, solve: Solve, rank: Callable[[Cost], Rank]) -> None:
        self._model, self._solve, self._rank = model, solve, rank
        self._choices = {t.name: Choice(t) for t in model.profile.tiers if t.rows}
        self._numbers = count()
        self._queue: list[_Problem] = []
        self._unproven: list[Rank] = []
        self._best: Decision | None = None

    def run(self) -> Decision | None:
        """The best plan; None where the first problem has none."""
        self._put((False, 0.0), {})
        for _ in range(MOST_PROBLEMS):
            if not self._queue or not self._could_win(self._queue[0].lower):
                break
            problem = heapq.heappop(self._queue)
            relaxed = self._solve(self._opened(problem.fixed))
            if relaxed is None:
                return None  # rows change no memory need: there is no plan under any of them
            self._keep_if_better(relaxed)
            self._branch(relaxed, problem.fixed)
        return self._best and replace(self._best, loss_bound=self._loss(self._best))

    def _put(self, lower: Rank, fixed: Mapping[str, str]) -> None:
        heapq.heappush(self._queue, _Problem(lower, next(self._numbers), fixed))

    def _could_win(self, lower: Rank) -> bool:
        """Whether a plan of that rank would be better than the best, by more than rounding."""
        if self._best is None:
            return True
        exceeded, value = self._rank(self._best.cost)
        return lower < (exceeded, value * (1 - _SAME))

    def _opened(self, fixed: Mapping[str, str]) -> CostModel:
        """The model with those rows in use, and every other tier with a choice open."""
        profile = replace(self._model.profile.on(fixed), norms=self._model.norms)
        for name, choice in self._choices.items():
            if name not in fixed:
                profile = profile.with_tier(choice.open_tier)
        return CostModel(self._model.graph, profile, self._model.goal)

    def _keep_if_better(self, relaxed: Decision) -> None:
        """Take the plan found, each segment in its quickest row, fixed or not."""
        stages = [s for s in relaxed.plan.stages if s.tier in self._choices]
        quickest = {s.tier: self._choices[s.tier].quickest(s) for s in stages}
        cost = self._model.cost(relaxed.plan.on(quickest))
        if self._best is None or self._rank(cost) < self._rank(self._best.cost):
            self._best = replace(relaxed, cost=cost)

    def _branch(self, relaxed: Decision, fixed: Mapping[str, str]) -> None:
        """Fix the rows of the open tier whose quickest row misses its bound by most."""
        exceeded, least = self._rank(relaxed.cost)
        lower = (exceeded, least * (1 - relaxed.loss_bound))
        stages = [s for s in relaxed.plan.stages if s.tier in self._choices]
        gaps = [(self._choices[s.tier].gap_s(s), s.tier) for s in stages if s.tier not in fixed]
        gap_s, tier = max(gaps, default=(0.0, ""))
        if gap_s <= 0:
            self._unproven.append(lower)
            return
        for runtime in self._choices[tier].tier.runtimes:
            self._put(lower, {**fixed, tier: runtime})

    def _loss(self, best: Decision) -> float:
        """By what share the best might be beaten; 1.0 where it keeps no limit and others might."""
        exceeded, value = self._rank(best.cost)
        lowers = [*self._unproven, *(problem.lower for problem in self._queue)]
        least = min((lower for lower in lowers if self._could_win(lower)), default=None)
        if least is None:
            return 0.0
        return 1 - least[1] / value if least[0] == exceeded else 1.0
