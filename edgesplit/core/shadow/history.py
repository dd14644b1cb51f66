"""What a recording holds, in order of time: requests that came back, and looks at the plan."""

from collections.abc import Iterator
from dataclasses import dataclass

from edgesplit.core.changed import changed
from edgesplit.core.control.decide import model_of
from edgesplit.core.control.event import Activate, Observed
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.control.state import ControlState, current_profile
from edgesplit.core.control.step import step
from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import AS_IS
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import EdgeSplitError, EventFileError, PlanError


@dataclass(frozen=True)
class Returned:
    """A request that came back as planned. before, after: the control loop's states around it."""

    plan: Plan
    timings: tuple[TierTiming, ...]
    before: ControlState
    after: ControlState

    @property
    def at_s(self) -> float:
        """When it came back."""
        return self.after.now_s

    @property
    def believed(self) -> Profile:
        """The profile as it was believed before, as policies see it."""
        return current_profile(self.before).on_quickest()


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


Moment = Returned | LeftOut | Evaluation


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
        except (EdgeSplitError, ArithmeticError, LookupError, ValueError, AssertionError) as error:
            raise EventFileError(f"event {number} cannot be played: {error}") from error
        if isinstance(event, Observed):
            yield _request(event.timings, (before, state), plans)
        activated = [action.plan for action in done if isinstance(action, Activate)]
        plans = [*activated, *(plan for plan in plans if plan not in activated)]
        state = changed(state, active=plans[0] if plans else None, pending=None)
        if (activated or state.decided_s == event.at_s) and state.active is not None:
            yield Evaluation(event.at_s, state)


def _chooses_nothing(graph: Graph, profile: Profile, goal: Goal) -> Plan:
    """So that what the loop believes is played again, and nothing is decided."""
    raise PlanError("nothing is to be chosen")


def _request(
    timings: tuple[TierTiming, ...], around: tuple[ControlState, ControlState], plans: list[Plan]
) -> Returned | LeftOut:
    """plans: that have been in force, the last one first."""
    at_s, count = around[1].now_s, len(around[1].graph)
    if not timings or timings[-1].stop != count:
        return LeftOut(at_s, "finished by the program that called")
    if any(timing.failed_over or timing.hedged for timing in timings):
        return LeftOut(at_s, "failed over or hedged")
    try:
        ran = Plan(tuple(Stage(t.tier, t.start, t.stop, t.runtime) for t in timings))
    except PlanError:
        return LeftOut(at_s, "along no plan that could be")
    # Timings do not say how payloads travelled, plans do.
    known = (plan for plan in plans if plan.coded([AS_IS] * len(plan.cuts)) == ran)
    return Returned(next(known, ran), timings, *around)
