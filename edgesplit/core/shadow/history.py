"""What a recording shows of each request: its plan, what it took, and the conditions that it met.

A request's own timings show the rates and slowdowns that it met, by the rules that the control loop
learns by; all else is as it was believed then.
"""

import math
from collections.abc import Iterator
from dataclasses import astuple, dataclass, replace

from edgesplit.core.changed import changed
from edgesplit.core.control.believed_profile import profile_as_met
from edgesplit.core.control.decide import model_of
from edgesplit.core.control.event import Activate, Observed
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.control.state import ControlState, current_profile
from edgesplit.core.control.step import step
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.profile import Profile
from edgesplit.core.record import Finished, Record, record_of
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import EdgeSplitError, EventFileError, PlanError


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

    plan: along which it was run. believed: the profile before it. met: the profile that it met,
    without links of tiers that no plan could use. spent: as measured, its price as modelled.
    modelled: the same by the cost model, under the conditions met.
    """

    at_s: float
    plan: Plan
    timings: tuple[TierTiming, ...]
    believed: Profile
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


@dataclass(frozen=True)
class LeftOut:
    """A request that says nothing of what other plans would have taken. why: for people."""

    at_s: float
    why: str


@dataclass(frozen=True)
class Evaluation:
    """A moment at which the control loop looked at its plan, in that state."""

    at_s: float
    state: ControlState

    @property
    def model(self) -> CostModel:
        """By which a plan is decided for."""
        return model_of(self.state, current_profile(self.state))


Moment = PastRequest | LeftOut | Evaluation


def history(log: EventLog) -> Iterator[Moment]:
    """What happened, in order of time. Raises EventFileError for an event that cannot be played.

    The plan in force is the one that was, whatever would be chosen now.
    """
    state = changed(log.start, policy=_chooses_nothing, pending=None, hopes=(), repeated=())
    plans = [state.active] if state.active else []
    if plans:
        yield Evaluation(state.now_s, state)
    for number, (event, done) in enumerate(log.entries, 1):
        before = state
        try:
            state, _ = step(state, event)
            if isinstance(event, Observed):
                yield _request(before, state, event, plans)
        except (EdgeSplitError, ArithmeticError, LookupError, ValueError, AssertionError) as error:
            raise EventFileError(f"event {number} cannot be played: {error}") from error
        activated = [action.plan for action in done if isinstance(action, Activate)]
        plans = [*activated, *(plan for plan in plans if plan not in activated)]
        state = changed(state, active=plans[0] if plans else None, pending=None)
        if (activated or state.decided_s == event.at_s) and state.active is not None:
            yield Evaluation(event.at_s, state)


def _chooses_nothing(graph: Graph, profile: Profile, goal: Goal) -> Plan:
    """So that what the loop believes is played again, and nothing is decided."""
    raise PlanError("nothing is to be chosen")


def _request(
    before: ControlState, after: ControlState, event: Observed, plans: list[Plan]
) -> PastRequest | LeftOut:
    """plans: that have been in force, the last one first."""
    timings, at_s = event.timings, event.at_s
    if not timings or timings[-1].stop != len(after.graph):
        return LeftOut(at_s, "finished by the program that called")
    if any(timing.failed_over or timing.hedged for timing in timings):
        return LeftOut(at_s, "failed over or hedged")
    plan = _plan_of(timings, plans)
    away = before.away - set(plan.route)
    met = profile_as_met(current_profile(after), before.beliefs, after.beliefs)
    goal = replace(after.goal, probability=None)  # what was met is known: nothing scatters
    model = CostModel(after.graph, met.without(tuple(away)), goal)
    try:
        modelled = spent_of(model.cost(plan))
    except PlanError:  # a runtime or codec that is no more
        return LeftOut(at_s, "its plan cannot be modelled any more")
    done = Finished("", at_s, after.graph.name, plan, timings[0].own_s, timings)
    spent = _measured(record_of(done, model.profile, goal), modelled, model)
    return PastRequest(at_s, plan, timings, current_profile(before), model.profile, goal, spent,
                       modelled)  # fmt: skip


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


def _plan_of(timings: tuple[TierTiming, ...], plans: list[Plan]) -> Plan:
    """The plan that these tiers ran. Timings do not say how payloads travelled, plans do."""
    ran = Plan(tuple(Stage(t.tier, t.start, t.stop, t.runtime) for t in timings))
    return next((plan for plan in plans if plan.coded([AS_IS] * len(plan.cuts)) == ran), ran)
