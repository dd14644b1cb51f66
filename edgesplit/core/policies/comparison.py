"""What each policy would choose under one profile, and what that would cost by the model."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.energy.provenance import predicted
from edgesplit.core.explain import cost_dict
from edgesplit.core.plan import Plan
from edgesplit.core.policies.checked import checked
from edgesplit.core.policies.learning import learns
from edgesplit.core.policies.policy import Policy
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.errors import EdgeSplitError

_RUNS, _QUICK_S = 3, 0.1  # so often, or so long, a policy is timed: the first run fills caches


@dataclass(frozen=True)
class PolicyChoice:
    """What one policy would choose.

    cost: of its plan, None where it has none; why_not says why. decision_s: that choosing took,
    None likewise. is_new: it learns from requests, and has seen none.
    """

    policy: str
    cost: Cost | None
    decision_s: float | None
    why_not: str = ""
    is_new: bool = False

    def as_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; seconds and joules."""
        published = PUBLISHED.get(self.policy)
        return {
            "policy": self.policy,
            "source": published.source if published else None,
            "basis": published.basis if published else None,
            "cost": cost_dict(self.cost) if self.cost else None,
            "why_not": self.why_not,
            "decision_s": self.decision_s,
            "is_new": self.is_new,
        }


@dataclass(frozen=True)
class Comparison:
    """What each policy would choose now, least score first. print() shows it as a table.

    All is modelled: what the plans would cost by the goal's score, whatever a policy chooses by.

    Example:
        >>> found = split.compare_policies()
        >>> {choice.policy for choice in found.choices} >= {"score", "fastest", "end-only"}
        True
    """

    graph: str
    energy: str
    choices: tuple[PolicyChoice, ...]

    def as_dict(self) -> dict[str, object]:
        """The same as plain values for JSON; seconds and joules."""
        choices = [choice.as_dict() for choice in self.choices]
        return {"graph": self.graph, "energy": self.energy, "policies": choices}

    def __str__(self) -> str:
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        plans = [str(one.cost.plan) for one in self.choices if one.cost]
        names = max([6, *(len(_name(one)) for one in self.choices)])
        width = max([4, *map(len, plans)])
        yield f"What each policy would choose now for {self.graph}, and its cost by the model:"
        yield (
            f"{'policy':{names}} {'plan':{width}} {'score':>7} {'latency':>11} {'end':>10} "
            f"{'all tiers':>10} {'decided in':>11}"
        )
        for one in self.choices:
            yield f"{_name(one):{names}} {_told(one, width)}"
        if any(one.is_new for one in self.choices):
            yield "+ learns from requests; chosen as before the first one"
        yield f"{self.energy}. * breaks a limit of the goal"


def compare(
    model: CostModel, policies: Mapping[str, Policy], clock_s: Callable[[], float]
) -> Comparison:
    """Ask each of the policies. clock_s: a clock that does not run back, for how long they take."""
    choices = [_choice(model, name, policy, clock_s) for name, policy in policies.items()]
    choices.sort(key=lambda one: (one.cost is None, one.cost.score if one.cost else 0.0))
    energy = predicted(model.profile, model.goal.boundary)
    return Comparison(model.graph.name, energy, tuple(choices))


def _choice(
    model: CostModel, name: str, policy: Policy, clock_s: Callable[[], float]
) -> PolicyChoice:
    given = (model.graph, model.profile.on_quickest(), model.goal)
    ask, is_new = checked(policy), learns(policy)
    try:
        plan, decision_s = _timed(lambda: ask(*given), clock_s)
        return PolicyChoice(name, model.cost(plan), decision_s, is_new=is_new)
    except EdgeSplitError as error:
        return PolicyChoice(name, None, None, str(error), is_new)


def _timed(choose: Callable[[], Plan], clock_s: Callable[[], float]) -> tuple[Plan, float]:
    """The plan, and the least seconds of some runs of a quick policy, of the one run of another."""
    took_s = list[float]()
    while True:
        began_s = clock_s()
        plan = choose()
        took_s.append(clock_s() - began_s)
        if len(took_s) == _RUNS or sum(took_s) > _QUICK_S:
            return plan, min(took_s)


def _name(one: PolicyChoice) -> str:
    return f"{one.policy}+" if one.is_new else one.policy


def _told(one: PolicyChoice, width: int) -> str:
    """Its row, without the name."""
    if one.cost is None or one.decision_s is None:
        return f"no plan: {one.why_not}"
    cost, mark = one.cost, " " if one.cost.feasible else "*"
    return (
        f"{cost.plan!s:{width}} {cost.score:7.4f} {cost.latency_s * 1e3:8.2f} ms"
        f" {cost.end_energy_j:8.4f} J {cost.total_energy_j:8.4f} J{mark}"
        f"{one.decision_s * 1e3:8.2f} ms"
    )
