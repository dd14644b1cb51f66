"""Why this plan: its cost beside the best plan of every other route, and what limits it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import permutations

from edgesplit.core.codec_choice import CodecChoice, codec_choice
from edgesplit.core.control.standing import Standing
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.energy.energy import K
from edgesplit.core.energy.provenance import predicted
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import AS_IS, PICTURE
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import Decision, best_walk, choose
from edgesplit.core.planner.route import best_route
from edgesplit.core.planner.space import route_space
from edgesplit.core.policies.policy import only
from edgesplit.core.profile import Profile
from edgesplit.core.promise import Promise
from edgesplit.core.provenances import provenance_dict, provenance_lines
from edgesplit.core.tier_runtimes import TierRuntimes
from edgesplit.errors import PlanError

# With more tiers than this there are too many routes to list; only those of two stages are.
MOST_TIERS_FULLY_LISTED = 4
_CROWDED = "requests wait for each other: chosen with that, the figures are of one request alone"
_ANY_LOSS = 1 - 1e-9  # the greatest that a goal can grant


@dataclass(frozen=True)
class Explanation:
    """Where to cut and why: what split.explain() returns. print() shows it as a table.

    chosen: the cost of the plan that the policy chooses. decision: the plan of least score; the
        same plan for the policy `score`.
    runners_up: the best plan of each other route; those within the goal's limits first, then by
        score. trivial: all layers on one tier, for each tier that can be reached.
    limited_by: what limits the plan, in one sentence. energy: where the joules are from.
    runtimes: seconds of each tier in each of its runtimes. Where those and the links are from, and
        when they were measured, is in profile.
    running: the plan in force. why_not_running: why it is not `chosen`; empty where it is.
    away: tiers that plans leave out now. promise: the goal's deadline, where it has a probability.
    codecs: how the payloads of `chosen` travel, and why other codecs are not used.
    without_codecs: where it uses some, the best plan whose payloads all travel as they are.
    is_crowded: requests wait for each other. Then `chosen` is the best with that; costs here are of
        one request alone.
    Pressures of tiers are in profile, and in each cost what of the score is their price.

    Costs are in seconds and joules; as_dict() gives the same for JSON.

    Example:
        >>> explanation = split.explain()
        >>> str(explanation.chosen.plan)[:6]
        'end:0-'
    """

    graph: str
    boundary: str
    profile: Profile
    decision: Decision
    chosen: Cost
    runners_up: tuple[Cost, ...]
    trivial: tuple[Cost, ...]
    limited_by: str
    energy: str
    runtimes: TierRuntimes
    running: Cost | None = None
    why_not_running: str = ""
    away: tuple[str, ...] = ()
    promise: Promise | None = None
    codecs: CodecChoice | None = None
    without_codecs: Cost | None = None
    is_crowded: bool = False

    def as_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; seconds and joules."""
        return {
            "graph": self.graph,
            "energy": self.energy,
            "boundary": self.boundary,
            "chosen": cost_dict(self.chosen),
            "best_score": cost_dict(self.decision.cost),
            "without_codecs": cost_dict(self.without_codecs) if self.without_codecs else None,
            "running": cost_dict(self.running) if self.running else None,
            "why_not_running": self.why_not_running,
            "away": list(self.away),
            "is_crowded": self.is_crowded,
            "promise": asdict(self.promise) if self.promise else None,
            "binding": self.decision.binding,
            "is_proved": self.decision.is_proved,
            "limited_by": self.limited_by,
            "pressures": {t.name: asdict(t.pressure) for t in self.profile.tiers},
            "runtimes": self.runtimes.as_dict(),
            "codecs": self.codecs.as_dict() if self.codecs else None,
            "provenance": provenance_dict(self.profile),
            "runners_up": [cost_dict(cost) for cost in self.runners_up],
            "trivial": [cost_dict(cost) for cost in self.trivial],
        }

    def __str__(self) -> str:
        rows = [("chosen", self.chosen)]
        if self.decision.cost.plan != self.chosen.plan:
            rows.append(("best score", self.decision.cost))
        if self.running is not None and self.why_not_running:
            rows.append(("in force", self.running))
        if self.without_codecs is not None:
            rows.append(("without codecs", self.without_codecs))
        shown = {cost.plan for _, cost in rows}
        rows += [("other route", cost) for cost in self.runners_up if cost.plan not in shown]
        shown = {cost.plan for _, cost in rows}
        rows += [("one tier", cost) for cost in self.trivial if cost.plan not in shown]
        width = max(len(str(cost.plan)) for _, cost in rows)
        lines = [
            f"{self.graph}: {self.chosen.plan}",
            *([f"not in force: {self.why_not_running}"] if self.why_not_running else []),
            *([f"left out, since they failed: {', '.join(self.away)}"] if self.away else []),
            f"limited by: {self.limited_by}",
            *([_CROWDED] if self.is_crowded else []),
            *([str(self.promise)] if self.promise else []),
            *_price_lines(self.profile, self.chosen),
            f"{'':14} {'plan':{width}} {'score':>7} {'latency':>11} {'end energy':>18} "
            f"{'all tiers':>18}",
        ]
        lines += [_row(kind, cost, width) for kind, cost in rows]
        lines += self.codecs.lines() if self.codecs else []
        lines += [*self.runtimes.lines(), *provenance_lines(self.profile)]
        lines.append(f"{self.energy}. * breaks a limit of the goal")
        return "\n".join(lines)


def cost_dict(cost: Cost) -> dict[str, object]:
    """A cost as plain values for JSON; seconds and joules."""
    return {
        "plan": str(cost.plan),
        "score": cost.score,
        "price": cost.price,
        "latency_s": cost.latency_s,
        "quantile_s": cost.quantile_s,
        "compute_s": cost.compute_s,
        "codec_s": cost.codec_s,
        "loss": cost.loss,
        "end_energy_j": cost.end_energy_j,
        "end_energy_k2_j": _k2(cost.end_energy_u_j),
        "total_energy_j": cost.total_energy_j,
        "total_energy_k2_j": _k2(cost.total_energy_u_j),
        "feasible": cost.feasible,
    }


def explain(
    graph: Graph,
    profile: Profile,
    goal: Goal,
    stands: Standing | None = None,
    met: tuple[int, int] = (0, 0),
) -> Explanation:
    """The decision and what it was chosen over; stands: how a session's plan does, if any.

    met: of the requests under this goal, how many were within its latency limit, and all of them.

    In each route from the entry tier every other tier runs at least one layer; where two tiers in a
    row have no direct link, others relay. Each is shown in its best runtimes. With more
    than four tiers, only routes of at most two stages are listed.
    """
    model = CostModel(graph, profile, goal)
    decision = choose(model)
    others = [cost for cost in _best_per_route(model) if not _same_work(cost, decision.cost)]
    others.sort(key=lambda cost: (not cost.feasible, cost.score))
    chosen = model.cost(stands.chosen) if stands and stands.chosen else decision.cost
    running = _running(model, stands) if stands else None
    return Explanation(
        graph=graph.name,
        boundary=goal.boundary,
        profile=profile,
        decision=decision,
        chosen=chosen,
        runners_up=tuple(others),
        trivial=tuple(_trivial(model)),
        limited_by=_limit(model, decision),
        energy=predicted(profile, goal.boundary),
        runtimes=TierRuntimes(profile.tiers),
        running=running,
        why_not_running=stands.why if stands else "",
        away=stands.away if stands else (),
        promise=_promise(goal, running or chosen, met),
        codecs=codec_choice(model, chosen),
        without_codecs=_without_codecs(model) if _uses_codecs(chosen.plan) else None,
        is_crowded=stands is not None and stands.is_crowded,
    )


def _uses_codecs(plan: Plan) -> bool:
    return any(codec != AS_IS for codec in plan.codecs)


def _without_codecs(model: CostModel) -> Cost:
    """The best plan without any; where pictures come as files, the first tier decodes them."""
    profile, entry = model.profile, model.profile.tiers[0]
    kept = tuple(one for one in profile.codecs if one.codec == PICTURE)
    others = (replace(tier, codec_speeds=()) for tier in profile.tiers[1:])
    bare = replace(
        profile,
        tiers=(entry, *others),
        codecs=kept,
        score_reference=model.score_reference,
    )
    return choose(CostModel(model.graph, bare, model.goal)).cost


def _promise(goal: Goal, cost: Cost, met: tuple[int, int]) -> Promise | None:
    if goal.probability is None or goal.latency_limit_s is None:
        return None
    return Promise(goal.probability, goal.latency_limit_s, cost.limited_s, *met)


def _running(model: CostModel, stands: Standing) -> Cost | None:
    """The cost of the plan in force, None where there is none or it cannot run any more."""
    if stands.active is None or set(stands.away).intersection(stands.active.route):
        return None
    # A runtime that it names may have gone just now; or a codec, then it is about to be left.
    try:
        return model.cost(stands.active.as_offered(model.profile.offered))
    except PlanError:
        return None


def _price_lines(profile: Profile, cost: Cost) -> list[str]:
    """What of a score is price, and every tier that has one; nothing where no tier is pressed."""
    pressed = [
        (tier.name, tier.pressure.words()) for tier in profile.tiers if tier.pressure.words()
    ]
    if not pressed:
        return []
    share = cost.price / cost.score if cost.score > 0 else 0.0
    told = "; ".join(f"{name} {words}" for name, words in pressed)
    return [f"price: {cost.price:.4f}, {share:.0%} of the score; pressures: {told}"]


def _row(kind: str, cost: Cost, width: int) -> str:
    mark = " " if cost.feasible else "*"
    return (
        f"{kind:14} {cost.plan!s:{width}} {cost.score:7.4f} {cost.latency_s * 1e3:8.2f} ms"
        f" {_joules(cost.end_energy_j, cost.end_energy_u_j):>18}"
        f" {_joules(cost.total_energy_j, cost.total_energy_u_j):>18}{mark}"
    )


def _joules(joules: float, u_j: float | None) -> str:
    """With the expanded uncertainty (k=2) where one is known."""
    return f"{joules:.4f} J" if u_j is None else f"{joules:.4f}±{K * u_j:.4f} J"


def _k2(u_j: float | None) -> float | None:
    return None if u_j is None else K * u_j


def _best_per_route(model: CostModel) -> Iterator[Cost]:
    """Under a promise with each part's seconds at the promised level, which is safe."""
    model = model.at(model.goal.probability)
    tiers = range(1, len(model.profile.tiers))
    few = len(model.profile.tiers) <= MOST_TIERS_FULLY_LISTED
    for count in range((len(tiers) if few else 1) + 1):
        for workers in permutations(tiers, count):
            route = _relayed(model, workers)
            most = model.goal.max_stages
            if route is None or (most is not None and len(route) > most):
                continue
            space = route_space(model, route, relays=set(route[1:]) - set(workers))
            walk = best_walk(space, model.goal.latency_limit_s)
            if walk is not None:
                yield model.cost(space.plan(walk))


def _relayed(model: CostModel, workers: tuple[int, ...]) -> list[int] | None:
    """The route that visits `workers` in turn, with relays where no direct link exists."""
    route = [0]
    for i, worker in enumerate(workers):
        if model.transfer.latency_s[0, route[-1], worker, 0] < float("inf"):
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
        (_limit_text(goal), replace(goal, latency_limit_s=None, probability=None)),
        (f"min_end_layers, {goal.min_end_layers}", replace(goal, min_end_layers=0)),
        (f"max_stages, {goal.max_stages}", replace(goal, max_stages=None)),
        ("the memory limits", replace(goal, memory_bytes={})),
        (_loss_text(goal), replace(goal, max_accuracy_loss=_ANY_LOSS)),
    )
    for name, freer in relaxed:
        better = choose(CostModel(model.graph, model.profile, freer)).cost
        if better.score < cost.score * (1 - 1e-6):
            return (
                f"{name}; without, {better.plan} would score {better.score:.4f} "
                f"instead of {cost.score:.4f}{_at_a_loss(better, cost)}"
            )
    return "nothing; lifting any one limit of the goal would not lower the score"


def _why_infeasible(goal: Goal, cost: Cost) -> str:
    limit_s = goal.latency_limit_s
    if limit_s is not None and cost.limited_s > limit_s:
        return (
            f"no plan meets {_limit_text(goal)}; the fastest, chosen, "
            f"takes {cost.limited_s * 1e3:.2f} ms"
        )
    return "no plan fits the memory limits; the fastest without them is chosen"


def _at_a_loss(better: Cost, cost: Cost) -> str:
    more = better.loss > cost.loss
    return f", and cost up to {better.loss:.2%} of the accuracy" if more else ""


def _loss_text(goal: Goal) -> str:
    most = goal.max_accuracy_loss
    return "that nothing lossy is granted" if most is None else f"max_accuracy_loss, {most:g}"


def _limit_text(goal: Goal) -> str:
    limit = f"the latency limit of {(goal.latency_limit_s or 0.0) * 1e3:g} ms"
    return limit if goal.probability is None else f"{limit} with {goal.probability:g}"
