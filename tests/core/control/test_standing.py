"""What is said of the plan in force, at every moment that a user may ask in."""

from dataclasses import replace

import pytest
from control_cases import make_ready, of_kind, request, started
from worlds import GOAL, MOBILE, chain, row_of

from edgesplit.core.control.event import LayerTimesMeasured, Prepare, PrepareFailed, Tick, TierLost
from edgesplit.core.control.standing import standing
from edgesplit.core.control.state import Settings, current_profile
from edgesplit.core.control.step import begin, step
from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import FixedPlan, score
from edgesplit.errors import PlanError

CHAIN = chain(MOBILE)
QUICK = row_of(CHAIN, "end", 0.1)  # all on the end is the best plan then
END_ONNX = parse_plan("end[onnx]:0-16")


def told(state, goal=GOAL):
    stands = standing(state)
    return explain(MOBILE, stands.profile, goal, stands)


def test_before_the_first_plan_is_ready():
    state, (prepare,) = begin(MOBILE, CHAIN, GOAL, score, Settings(), 0.0)
    stands = standing(state)
    assert (stands.active, stands.chosen, stands.is_settled) == (None, prepare.plan, False)
    assert "is being prepared on" in stands.why
    assert str(told(state)).splitlines()[1].startswith("not in force: ")
    assert told(state).running is None


def test_the_best_plan_is_in_force():
    stands = standing(started(graph=MOBILE))
    assert stands.active == stands.chosen == score(MOBILE, CHAIN, GOAL)
    assert (stands.why, stands.is_settled) == ("", True)
    text = str(told(started(graph=MOBILE)))
    assert text.splitlines()[0] == f"{MOBILE.name}: {stands.active}"
    assert "in force" not in text


def test_a_better_plan_is_being_prepared_then_in_force():
    state, actions = step(started(graph=MOBILE), LayerTimesMeasured(1.0, "end", QUICK))
    assert of_kind(actions, Prepare) == [Prepare(END_ONNX)]
    stands = standing(state)
    assert (stands.chosen, stands.is_settled) == (END_ONNX, False)
    assert stands.why == "end[onnx]:0-16 is being prepared on end"
    text = str(told(state))
    assert text.splitlines()[0] == f"{MOBILE.name}: {END_ONNX}"
    assert f"in force       {stands.active}" in text
    state, _ = make_ready(state, END_ONNX, 1.2)
    assert standing(state).why == ""


def test_a_plan_that_could_not_be_prepared():
    state, _ = step(started(graph=MOBILE), LayerTimesMeasured(1.0, "end", QUICK))
    state, _ = step(state, PrepareFailed(1.5, END_ONNX, "end"))
    stands = standing(state)
    assert stands.why == "it could not be prepared, and is tried again in 10 s"
    assert stands.is_settled
    state, _ = step(state, Tick(8.5))
    assert standing(state).why.endswith("in 3 s")


def test_a_gain_below_the_margin_keeps_the_plan():
    state, actions = started(graph=MOBILE), ()
    for factor in (0.99, 0.97, 0.95):
        state, more = step(state, LayerTimesMeasured(1.0, "end", row_of(CHAIN, "end", factor)))
        actions += more
    assert not of_kind(actions, Prepare)
    stands = standing(state)
    assert stands.chosen != stands.active
    assert stands.why.endswith("lower, and a switch has to gain more than 5% to be worth it")
    assert stands.is_settled
    found = told(state)
    assert found.chosen.plan == found.decision.cost.plan == stands.chosen
    assert found.running.plan == stands.active
    assert found.as_dict()["why_not_running"] == stands.why


def test_a_plan_too_near_the_limit_is_not_entered():
    state, _ = step(started(graph=MOBILE), LayerTimesMeasured(1.0, "end", QUICK))
    state = replace(state, pending=None)
    latency_s = CostModel(MOBILE, current_profile(state), GOAL).cost(END_ONNX).latency_s
    active_s = CostModel(MOBILE, current_profile(state), GOAL).cost(state.active).latency_s
    assert latency_s < active_s, "else the limit is broken by what runs"
    limited = replace(GOAL, latency_limit_s=1.01 * latency_s)
    stands = standing(replace(state, goal=limited))
    assert stands.chosen == END_ONNX
    assert not stands.is_settled, "what runs breaks the limit, so that the switch is worth it"


def test_a_policy_of_its_own_is_what_is_chosen():
    plan = parse_plan("end:0-16")
    state = started(policy=FixedPlan(plan), graph=MOBILE)
    found = told(state)
    assert found.chosen.plan == plan
    assert str(found).splitlines()[0].endswith(": end:0-16")
    assert found.decision.cost.plan != plan
    assert f"best score     {found.decision.cost.plan}" in str(found)


def test_a_policy_without_a_plan_keeps_the_last_one():
    is_out = []

    def moody(graph, profile, goal):
        if is_out:
            raise PlanError("no idea")
        return score(graph, profile, goal)

    state = started(policy=moody, graph=MOBILE)
    is_out.append(True)
    stands = standing(state)
    assert (stands.chosen, stands.is_settled) == (None, True)
    assert "the policy has no plan now" in stands.why
    assert told(state).chosen == told(state).decision.cost


def test_a_tier_that_is_lost_is_in_no_plan_that_is_chosen():
    state = started(graph=MOBILE)
    lost = next(tier for tier in state.active.route if tier != "end")
    state, _ = step(state, TierLost(1.0, lost))
    stands = standing(state)
    assert lost not in stands.chosen.route
    assert not stands.is_settled
    found = told(state)
    assert found.chosen == found.decision.cost
    assert found.running is None
    assert f"left out, since they failed: {lost}" in str(found)


@pytest.mark.parametrize("at_s", [1.0, 30.0])
def test_asking_changes_nothing(at_s):
    state = started(graph=MOBILE)
    state, _ = step(state, request(state.active, CHAIN, at_s))
    before = state
    standing(state)
    assert state == before
