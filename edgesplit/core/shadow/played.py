"""The events of a recording given to policies: along which plan each would have sent each request.

And what that would have taken, under the conditions that the request met.
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from edgesplit.core.control.event_file import EventLog
from edgesplit.core.cost import CostModel
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.policies.policy import Policy
from edgesplit.core.shadow.history import (
    Evaluation,
    LeftOut,
    PastRequest,
    Spent,
    history,
    spent_of,
)
from edgesplit.core.shadow.shadow import Shadow, shadows
from edgesplit.errors import PlanError


@dataclass(frozen=True)
class Way:
    """Along which plan a request goes, and what that takes."""

    plan: Plan
    spent: Spent


@dataclass
class Played:
    """What requests took, and would have taken; each list has one entry per request.

    left_out: requests that say nothing of other plans, by the reason. ways: by policy; None where
    it had no plan that could run. best: along the plan of least score under what was met.
    """

    requests: list[PastRequest] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    ways: dict[str, list[Way | None]] = field(default_factory=dict)
    best: list[Way] = field(default_factory=list)


def played(
    log: EventLog,
    policies: Mapping[str, Policy],
    since_s: float,
    progress: Callable[[float], None] = lambda share: None,
) -> Played:
    """The requests since that moment of the events' clock, of very many every second, third, ...

    Policies that learn do so from all events. progress: is told which share is done. Raises
    EventFileError for an event that cannot be played.
    """
    there = sum(isinstance(event, Observed) for event, _ in log.entries if event.at_s >= since_s)
    found, told, last = Played(every=max(1, math.ceil(there / MOST_REQUESTS))), shadows(policies), None
    graph, count = log.start.graph, 0
    for moment in history(log):
        is_due = moment.at_s >= since_s
        if last is not None and is_due:  # of before, by which the first requests are sent
            told, last = _looked(told, last), None
        match moment:
            case Evaluation():
                told, last = (_looked(told, moment), None) if is_due else (told, moment)
            case PastRequest():
                if is_due:
                    _take(found, graph, moment, told)
                told = {name: shadow.told(graph, moment) for name, shadow in told.items()}
            case LeftOut():
                found.left_out[moment.why] += is_due
    return found


def along(graph: Graph, requests: Collection[PastRequest], plan: Plan) -> list[Way | None]:
    """All of the requests along that plan."""
    models = (CostModel(graph, request.met, request.goal) for request in requests)
    return [_way(m, request, plan) for m, request in zip(models, requests, strict=True)]


def _looked(told: Mapping[str, Shadow], moment: Evaluation) -> dict[str, Shadow]:
    model = moment.model
    return {name: shadow.looked(moment.state, model) for name, shadow in told.items()}


def _take(found: Played, graph: Graph, request: PastRequest, told: Mapping[str, Shadow]) -> None:
    model = CostModel(graph, request.met, request.goal)
    plans = {shadow.plan for shadow in told.values() if shadow.plan is not None}
    ways = {plan: _way(model, request, plan) for plan in plans}
    for name, shadow in told.items():
        way = ways[shadow.plan] if shadow.plan is not None else None
        found.ways.setdefault(name, []).append(way)
    best = choose(model).cost
    found.best.append(Way(best.plan, request.along(best.plan, spent_of(best))))
    found.requests.append(request)


def _way(model: CostModel, request: PastRequest, plan: Plan) -> Way | None:
    try:
        return Way(plan, request.along(plan, spent_of(model.cost(plan))))
    except PlanError:
        return None
