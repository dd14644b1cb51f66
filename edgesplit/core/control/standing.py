"""What the control loop would choose now, and why that is not in force where it is not."""

from dataclasses import dataclass

from edgesplit.core.control.decide import candidate, chosen, cost_of, holds, is_worth, model_of
from edgesplit.core.control.state import ControlState, current_profile
from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.plan import Plan
from edgesplit.core.policies.learning import is_followed
from edgesplit.core.policies.policy import score
from edgesplit.core.profile import Profile


@dataclass(frozen=True)
class Standing:
    """active: the plan in force, None until the first is ready. chosen: the policy's plan as things
    are believed now, None where it has none.

    profile: as believed; tiers that are away have no links in it. why: `chosen` is not in force;
    empty where it is. is_settled: waiting alone changes nothing. is_crowded: requests wait for each
    other, and plans are judged with that.
    """

    profile: Profile
    away: tuple[str, ...]
    active: Plan | None
    chosen: Plan | None
    why: str = ""
    is_settled: bool = True
    is_crowded: bool = False


def standing(state: ControlState) -> Standing:
    """How things stand at the state's last event."""
    model = model_of(state, current_profile(state))
    known = (model.profile, tuple(sorted(state.away)), state.active)
    current = cost_of(state, model, state.active)
    best = chosen(state, model, state.goal.latency_limit_s)
    if best is None:
        why = "the policy has no plan now, so the last one is kept"
        return Standing(*known, None, why)
    why, is_settled = _why(state, model, best, current)
    is_crowded = state.policy == score and state.arrivals.is_crowded
    return Standing(*known, best.plan, why, is_settled, is_crowded)


def _why(
    state: ControlState, model: CostModel, best: Cost, current: Cost | None
) -> tuple[str, bool]:
    """(why `best` is not in force, whether that stays so)."""
    if best.plan == state.active:
        return "", True
    if state.pending is not None:
        tiers = ", ".join(sorted(state.pending.waiting))
        return f"{state.pending.plan} is being prepared on {tiers}", False
    kept = _kept(state, best, candidate(state, model, current), current)
    if kept:
        return kept, True
    if not holds(state, best.plan, current):
        return "a figure that it rests on is being asked for again", False
    return "it is prepared next", False


def _kept(state: ControlState, best: Cost, entered: Cost | None, current: Cost | None) -> str:
    """Why the plan in force stays. entered: what would be switched to, with headroom."""
    refused, margin = state.refused, state.settings.min_gain
    if refused is not None and refused.plan == best.plan and state.now_s < refused.until_s:
        wait_s = refused.until_s - state.now_s
        return f"it could not be prepared, and is tried again in {wait_s:.0f} s"
    if entered is None or current is None or is_followed(state.policy):
        return ""
    if entered.plan == state.active:
        return f"its latency is within {margin:.0%} of the limit, which noise would break"
    if is_worth(state, entered, current):
        return ""
    gain = 1 - best.score / current.score if current.score > 0 else 0.0
    return (
        f"its score is {gain:.1%} lower, and a switch has to gain more than {margin:.0%} to be "
        "worth it"
    )
