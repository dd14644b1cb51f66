"""What a request took, the conditions that it met, and what it would have taken otherwise.

A request's own timings show the rates and slowdowns that it met, by the rules that the control loop
learns by; all else is as it was believed then.
"""

import math
from dataclasses import astuple, dataclass, replace

from edgesplit.core.control.believed_profile import profile_as_met
from edgesplit.core.control.state import current_profile
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.core.record import Finished, Record, record_of
from edgesplit.core.shadow.history import Returned


@dataclass(frozen=True)
class RequestCost:
    """What one request took and cost: seconds, joules of the end tier and of all, the score."""

    latency_s: float
    end_energy_j: float
    total_energy_j: float
    score: float


@dataclass(frozen=True)
class PastRequest:
    """One that came back as planned.

    plan: along which it was run. met: the profile that it met, without links of tiers that no plan
    could use. spent: as measured, its price as modelled. modelled: the same by the cost model,
    under the conditions met.
    """

    at_s: float
    plan: Plan
    met: Profile
    goal: Goal
    spent: RequestCost
    modelled: RequestCost

    def along(self, plan: Plan, other: RequestCost) -> RequestCost:
        """What it would have taken along a plan; other: what the model says of that.

        What the model leaves unexplained of the request, such as waiting, is taken to stay.
        """
        if plan == self.plan:
            return self.spent
        columns = zip(*map(astuple, (self.spent, other, self.modelled)), strict=True)
        return RequestCost(*(spent + new - old for spent, new, old in columns))


def past_request(request: Returned) -> PastRequest:
    """What it took and met. Raises PlanError where its plan has a runtime or codec that is gone."""
    before, after, plan = request.before, request.after, request.plan
    away = before.away - set(plan.route)
    met = profile_as_met(current_profile(after), before.beliefs, after.beliefs)
    goal = replace(after.goal, probability=None)  # what was met is known: nothing scatters
    model = CostModel(after.graph, met.without(tuple(away)), goal)
    modelled = spent_of(model.cost(plan))
    latency_s = request.timings[0].own_s
    done = Finished("", request.at_s, after.graph.name, plan, latency_s, request.timings)
    spent = _measured(record_of(done, model.profile, goal), modelled, model)
    return PastRequest(request.at_s, plan, model.profile, goal, spent, modelled)


def spent_of(cost: Cost) -> RequestCost:
    """The same by the cost model."""
    return RequestCost(cost.latency_s, cost.end_energy_j, cost.total_energy_j, cost.score)


def _measured(record: Record, modelled: RequestCost, model: CostModel) -> RequestCost:
    """What a request took; its price as modelled, and its joules where a meter missed some."""
    end_j, total_j = record.end_energy_j, record.total_energy_j
    counted = (t.energy_j > 0 for t in record.timings if t.busy_s > 0)  # not so of NaN
    if not (all(counted) and math.isfinite(end_j) and math.isfinite(total_j)):
        end_j, total_j = modelled.end_energy_j, modelled.total_energy_j
    goal, reference = model.goal, model.score_reference
    score = (
        modelled.score
        + goal.end_energy * (end_j - modelled.end_energy_j) / reference.end_energy_j
        + goal.total_energy * (total_j - modelled.total_energy_j) / reference.total_energy_j
        + goal.latency * (record.latency_s - modelled.latency_s) / reference.latency_s
    )
    return RequestCost(record.latency_s, end_j, total_j, score)
