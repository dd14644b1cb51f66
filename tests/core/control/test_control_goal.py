"""A goal that changes while requests flow: the plan follows, and says why."""

from dataclasses import replace

import pytest
from control_cases import make_ready, of_kind, started
from worlds import GOAL, VGG, chain

from edgesplit.core.control.event import Activate, GoalChanged, Prepare, PrepareFailed, Tick
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin, step
from edgesplit.core.goal import Goal
from edgesplit.core.policies.policy import score
from edgesplit.errors import EventError

LATENCY = Goal(end_energy=0.0, total_energy=0.0, latency=1.0)
TOTAL = Goal(end_energy=0.0, total_energy=1.0, latency=0.0)


def plan_for(goal):
    return started(goal=goal).active


def test_the_plan_follows_at_once_and_says_why():
    assert plan_for(GOAL) != plan_for(TOTAL)
    state, actions = step(started(), GoalChanged(1.0, TOTAL))
    assert actions == (Prepare(plan_for(TOTAL)),)
    state, actions = make_ready(state, plan_for(TOTAL), 1.1)
    (activated,) = of_kind(actions, Activate)
    assert activated.reason.startswith("another goal: score ")
    state, actions = step(state, Tick(2.5))
    assert actions == ()
    _, actions = step(state, GoalChanged(3.0, GOAL))
    assert of_kind(actions, Prepare) == [Prepare(plan_for(GOAL))]


def test_the_same_plan_stays_without_a_word():
    state = started()
    limited = replace(GOAL, latency_limit_s=100.0)
    state, actions = step(state, GoalChanged(1.0, limited))
    assert (state.goal, actions) == (limited, ())


def test_what_was_prepared_or_refused_for_the_old_goal_counts_no_more():
    state, _ = begin(VGG, chain(VGG), GOAL, score, Settings(), 0.0)
    state, actions = step(state, GoalChanged(0.1, TOTAL))
    assert of_kind(actions, Prepare) == [Prepare(plan_for(TOTAL))]
    state, _ = step(state, PrepareFailed(0.2, plan_for(TOTAL), "end"))
    assert state.refused is not None
    state, actions = step(state, GoalChanged(0.3, TOTAL))
    assert of_kind(actions, Prepare) == [Prepare(plan_for(TOTAL))]


def test_a_limit_that_the_plan_breaks_is_kept_to():
    state = started(goal=TOTAL)  # its plan takes 0.400 s
    limited = replace(TOTAL, latency_limit_s=0.36)
    state, actions = step(state, GoalChanged(1.0, limited))
    (prepare,) = of_kind(actions, Prepare)
    _, actions = make_ready(state, prepare.plan, 1.1)
    assert "limit 0.360 s" in of_kind(actions, Activate)[0].reason


def test_joules_are_counted_one_way():
    state = started()
    with pytest.raises(EventError, match="counted marginal here"):
        step(state, GoalChanged(1.0, replace(GOAL, boundary="gross")))
