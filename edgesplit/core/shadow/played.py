"""The events of a recording given to policies: along which plan each would have sent each request.

And what that would have taken, under the conditions that the request met.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from edgesplit.core.control.event import Observed
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.cost import CostModel
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.policies.policy import Policy
from edgesplit.core.shadow.history import Evaluation, LeftOut, Returned, history
from edgesplit.core.shadow.past_request import PastRequest, RequestCost, past_request, spent_of
from edgesplit.core.shadow.shadow import Shadow, shadows
from edgesplit.errors import PlanError

MOST_REQUESTS = 4000  # that are looked at: some milliseconds each, and more hardly narrow intervals


@dataclass(frozen=True)
class Course:
    """Along which plan a request goes, and what that takes."""

    plan: Plan
    spent: RequestCost


@dataclass(frozen=True)
class Window:
    """What of a recording is looked at: requests since a moment of its clock, each `every`-th."""

    since_s: float
    every: int


@dataclass
class PlayedRequests:
    """What requests took, and would have taken; each list has one entry per request.

    left_out: requests that say nothing of other plans, by the reason. courses: by policy; None
    where it had no plan that could run. best: along the plan of least score under what was met.
    unmeasured: tiers of which nothing was measured since they were profiled.
    """

    window: Window
    requests: list[PastRequest] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    courses: dict[str, list[Course | None]] = field(default_factory=dict)
    best: list[Course] = field(default_factory=list)
    unmeasured: tuple[str, ...] = ()


def window_of(log: EventLog, since_s: float) -> Window:
    """The requests since then; of very many every second, third and so on."""
    events = (event for event, _ in log.entries if event.at_s >= since_s)
    count = sum(isinstance(event, Observed) for event in events)
    return Window(since_s, max(1, math.ceil(count / MOST_REQUESTS)))


def played(
    log: EventLog,
    policies: Mapping[str, Policy],
    window: Window,
    progress: Callable[[float], None] = lambda at_s: None,
) -> PlayedRequests:
    """The requests in the window, which are also those that policies learn from.

    progress: is called with the time of each moment. Raises EventFileError for an event that cannot
    be played.
    """
    found, last, count = PlayedRequests(window), None, 0
    told: Mapping[str, Shadow] = shadows(policies)
    for moment in history(log):
        progress(moment.at_s)
        is_due = moment.at_s >= window.since_s
        if last is not None and is_due:  # of before, by which the first requests are sent
            told, last = _looked(told, last), None
        match moment:
            case Evaluation():
                told, last = (_looked(told, moment), None) if is_due else (told, moment)
            case Returned():
                count += is_due
                if is_due and count % window.every == 0:
                    told = _take(found, moment, told)
            case LeftOut():
                found.left_out[moment.why] += is_due
    return found


def along(graph: Graph, requests: Iterable[PastRequest], plan: Plan) -> list[Course | None]:
    """All of the requests along that plan."""
    return [_course(CostModel(graph, one.met, one.goal), one, plan) for one in requests]


def _looked(told: Mapping[str, Shadow], moment: Evaluation) -> dict[str, Shadow]:
    model = moment.model
    return {name: shadow.looked(moment.state, model) for name, shadow in told.items()}


def _take(
    found: PlayedRequests, returned: Returned, told: Mapping[str, Shadow]
) -> Mapping[str, Shadow]:
    """One more request; the shadows after it."""
    try:
        request = past_request(returned)
    except PlanError:
        found.left_out["along plans that cannot be modelled any more"] += 1
        return told
    model = CostModel(returned.after.graph, request.met, request.goal)
    plans = {shadow.plan for shadow in told.values() if shadow.plan is not None}
    courses = {plan: _course(model, request, plan) for plan in plans}
    for name, shadow in told.items():
        found.courses.setdefault(name, []).append(courses[shadow.plan] if shadow.plan else None)
    best = choose(model).cost
    found.best.append(Course(best.plan, request.along(best.plan, spent_of(best))))
    found.requests.append(request)
    tiers = returned.after.beliefs.tiers
    found.unmeasured = tuple(name for name, one in tiers.items() if not one.slowdown.count)
    return {name: shadow.told(returned, model) for name, shadow in told.items()}


def _course(model: CostModel, request: PastRequest, plan: Plan) -> Course | None:
    """A runtime that the plan names and a tier lacks is the one in use there."""
    if model.profile.offered.keys() >= {*plan.route}:
        plan = plan.as_offered(model.profile.offered)
    try:
        return Course(plan, request.along(plan, spent_of(model.cost(plan))))
    except PlanError:
        return None
