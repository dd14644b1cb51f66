"""Why this plan: its cost beside the best plan of every other route, and what limits it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from itertools import permutations

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.energy.figure import K
from edgesplit.core.energy.provenance import predicted
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.policy import only
from edgesplit.core.profile import Profile
from edgesplit.core.search.joint import choose_jointly, jointly
from edgesplit.core.search.planner import Decision, choose_within
from edgesplit.core.search.route import best_route
from edgesplit.core.search.space import route_space
from edgesplit.core.tier_runtimes import TierRuntimes
from edgesplit.errors import PlanError

# With more tiers than this there are too many routes to list; only those of two stages are.
MOST_TIERS_FULLY_LISTED = 4


@dataclass(frozen=True)
class Explanation:
    """The decision for one (graph, profile, goal), and what it was chosen over.

    runners_up: the best plan of each other route, feasible ones first, then by score.
    trivial: everything on one tier, for each tier that can be reached. energy: where the joules
    come from. runtimes: what each tier takes in each of its own.
    limited_by: one sentence. running: the plan in force, which hysteresis or a fixed policy may
        keep while another would score better.
    """

    graph: str
    boundary: str
    decision: Decision
    runners_up: tuple[Cost, ...]
    trivial: tuple[Cost, ...]
    limited_by: str
    energy: str
    runtimes: TierRuntimes
    running: Cost | None = None

    @property
    def chosen(self) -> Cost:
        """The cost of the plan decided for."""
        return self.decision.cost

    def as_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; seconds and joules."""
        return {
            "graph": self.graph,
            "energy": self.energy,
            "boundary": self.boundary,
            "chosen": cost_dict(self.chosen),
            "running": cost_dict(self.running) if self.running else None,
            "binding": self.decision.binding,
            "loss_bound": self.decision.loss_bound,
            "limited_by": self.limited_by,
            "runtimes": self.runtimes.as_dict(),
            "runners_up": [cost_dict(cost) for cost in self.runners_up],
            "trivial": [cost_dict(cost) for cost in self.trivial],
        }

    def __str__(self) -> str:
        rows = [("chosen", self.chosen)]
        if self.running is not None and self.running.plan != self.chosen.plan:
            rows = [("running", self.running), ("best now", self.chosen)]
        rows += [("other route", cost) for cost in self.runners_up]
        shown = {cost.plan for _, cost in rows}
        rows += [("one tier", cost) for cost in self.trivial if cost.plan not in shown]
        width = max(len(str(cost.plan)) for _, cost in rows)
        lines = [
            f"{self.graph}: {(self.running or self.chosen).plan}",
            f"limited by: {self.limited_by}",
            f"{'':11} {'plan':{width}} {'score':>7} {'latency':>11} {'end energy':>18} "
            f"{'all tiers':>18}",
        ]
        lines += [_row(kind, cost, width) for kind, cost in rows]
        lines += self.runtimes.lines()
        lines.append(f"{self.energy}. * breaks a limit of the goal")
        return "\n".join(lines)


def cost_dict(cost: Cost) -> dict[str, object]:
    """A cost as plain values for JSON; seconds and joules."""
    return {
        "plan": str(cost.plan),
        "score": cost.score,
        "latency_s": cost.latency_s,
        "compute_s": cost.compute_s,
        "end_energy_j": cost.end_energy_j,
        "end_energy_k2_j": _k2(cost.end_energy_u_j),
        "total_energy_j": cost.total_energy_j,
        "total_energy_k2_j": _k2(cost.total_energy_u_j),
        "feasible": cost.feasible,
    }


def explain(graph: Graph, profile: Profile, goal: Goal, running: Plan | None = None) -> Explanation:
    """The decision and what it was chosen over; `running` is the plan in force, if any.

    Routes are those from the source in which every other tier runs at least one layer; where two
    tiers in a row have no direct link, others relay. Each is shown in its best runtimes. With more
    than four tiers, only routes of at most two stages are listed.
    """
    model = CostModel(graph, profile, goal)
    decision = choose_jointly(model)
    others = [cost for cost in _best_per_route(model) if not _same_work(cost, decision.cost)]
    others.sort(key=lambda cost: (not cost.feasible, cost.score))
    return Explanation(
        graph=graph.name,
        boundary=goal.boundary,
        decision=decision,
        runners_up=tuple(others),
        trivial=tuple(_trivial(model)),
        limited_by=_limit(model, decision),
        energy=predicted(profile, goal.boundary),
        runtimes=TierRuntimes(profile.tiers),
        running=model.cost(running) if running is not None else None,
    )


def _row(kind: str, cost: Cost, width: int) -> str:
    mark = " " if cost.feasible else "*"
    return (
        f"{kind:11} {cost.plan!s:{width}} {cost.score:7.4f} {cost.latency_s * 1e3:8.2f} ms"
        f" {_joules(cost.end_energy_j, cost.end_energy_u_j):>18}"
        f" {_joules(cost.total_energy_j, cost.total_energy_u_j):>18}{mark}"
    )


def _joules(joules: float, u_j: float | None) -> str:
    """With the expanded uncertainty (k=2) where one is known."""
    return f"{joules:.4f} J" if u_j is None else f"{joules:.4f}±{K * u_j:.4f} J"


def _k2(u_j: float | None) -> float | None:
    return None if u_j is None else K * u_j


def _best_per_route(model: CostModel) -> Iterator[Cost]:
    tiers = range(1, len(model.profile.tiers))
    few = len(model.profile.tiers) <= MOST_TIERS_FULLY_LISTED
    for count in range((len(tiers) if few else 1) + 1):
        for workers in permutations(tiers, count):
            route = _relayed(model, workers)
            if route is None:
                continue
            relays = set(route[1:]) - set(workers)
            best = jointly(model, partial(_along, route, relays))
            if best is not None:
                yield best.cost


def _along(route: list[int], relays: set[int], model: CostModel) -> Decision | None:
    return choose_within(model, route_space(model, route, relays))


def _relayed(model: CostModel, workers: tuple[int, ...]) -> list[int] | None:
    """The route that visits `workers` in turn, with relays where no direct link exists."""
    route = [0]
    for i, worker in enumerate(workers):
        if model.transfer.latency_s[route[-1], worker, 0] < float("inf"):
            route.append(worker)
            continue
        way = best_route(model, route[-1], worker, avoid={*route, *workers[i + 1 :]})
        if way is None:
            return None
        route += way[1:]
    return route


def _same_work(one: Cost, other: Cost) -> bool:
    return _workers(one.plan) == _workers(other.plan)


def _workers(plan: Plan) -> list[str]:
    return [stage.tier for stage in plan.stages[1:] if len(stage)]


def _trivial(model: CostModel) -> Iterator[Cost]:
    for tier in model.profile.names:
        try:
            yield model.cost(only(tier)(model.graph, model.profile, model.goal))
        except PlanError:
            continue  # no links lead there


def _limit(model: CostModel, decision: Decision) -> str:
    """One sentence on what keeps the score from being lower."""
    goal, cost = model.goal, decision.cost
    if not cost.feasible:
        return _why_infeasible(goal, cost)
    relaxed = (
        (f"the latency limit of {_ms(goal)}", replace(goal, latency_limit_s=None)),
        (f"min_end_layers, {goal.min_end_layers}", replace(goal, min_end_layers=0)),
        ("the memory limits", replace(goal, memory_bytes={})),
    )
    for name, freer in relaxed:
        better = choose_jointly(CostModel(model.graph, model.profile, freer)).cost
        if better.score < cost.score * (1 - 1e-6):
            return (
                f"{name}; without, {better.plan} would score {better.score:.4f} "
                f"instead of {cost.score:.4f}"
            )
    return "nothing; lifting any one limit of the goal would not lower the score"


def _why_infeasible(goal: Goal, cost: Cost) -> str:
    limit_s = goal.latency_limit_s
    if limit_s is not None and cost.latency_s > limit_s:
        return (
            f"no plan meets the latency limit of {_ms(goal)}; the fastest, chosen, "
            f"takes {cost.latency_s * 1e3:.2f} ms"
        )
    return "no plan fits the memory limits; the fastest without them is chosen"


def _ms(goal: Goal) -> str:
    return f"{(goal.latency_limit_s or 0.0) * 1e3:g} ms"
