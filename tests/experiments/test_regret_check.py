"""Predictions beside measurements, of recordings that are made up: no cluster."""

import numpy as np
import pytest

from edgesplit.core.control.event_file import EventLog
from edgesplit.core.control.replay import replay
from edgesplit.core.control.simulate import World, simulate
from edgesplit.core.control.state import Settings
from edgesplit.core.control.step import begin
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.policies.learning import is_followed
from edgesplit.core.policies.policy import FixedPlan
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from experiments.regret_check import GOALS, PLANS, InTurns, compared, requests_of

SIZES = (600_000, 400_000, 400_000, 200_000, 100_000, 50_000, 9000, 9000, 400)
GRAPH = Graph("eight", tuple("abcdefgh"), SIZES, (10,) * 8)
POWER = Power(5.0, 2.0, 1.5, 1.0)
PAIRS = [("end", "edge"), ("edge", "end"), ("edge", "cloud"), ("cloud", "edge")]


def profile(slowdown=1.0):
    """slowdown: of the end tier."""
    seconds = {"end": 0.01, "edge": 0.004, "cloud": 0.001}
    tiers = [Tier(name, (s,) * 8, POWER) for name, s in seconds.items()]
    tiers[0] = Tier("end", (0.01,) * 8, POWER, slowdown)
    return Profile(tuple(tiers), tuple(Link(*pair, 0.001, 4e7) for pair in PAIRS))


def requests(slowdown=1.0):
    """Of three sessions, one with each plan. slowdown: of the end tier where it runs all."""
    return [one for plan in PLANS for one in requests_of_one(plan, slowdown)]


def requests_of_one(plan, slowdown):
    begun = begin(GRAPH, profile(), Goal(), FixedPlan(plan), Settings(), 0.0)
    true = profile(slowdown if plan == PLANS[0] else 1.0)
    run = simulate(begun, World(true, noise=0.0, outliers=0.0, pause_s=0.02), 30.0,
                   np.random.default_rng(0))  # fmt: skip
    steps = replay(begun[0], run.events)
    entries = zip(run.events, (actions for _, actions in steps), strict=True)
    return requests_of(EventLog("0.1.0", "5e55", "w0", "", begun[0], tuple(entries)))


def test_without_noise_each_plan_is_predicted_as_it_is():
    rows = list(compared(GRAPH, requests()))
    assert len(rows) == len(PLANS) * (len(PLANS) - 1)
    assert all(row["requests"] > 30 for row in rows)
    assert max(abs(row["error"]) for row in rows) < 0.01
    by_pair = {(row["ran"], row["predicted"]): row for row in rows}
    one, other = by_pair[str(PLANS[0]), str(PLANS[1])], by_pair[str(PLANS[1]), str(PLANS[0])]
    assert one["ran_s"] == pytest.approx(other["measured_s"])


def test_what_was_not_the_same_for_both_shows_as_an_error():
    rows = compared(GRAPH, requests(slowdown=2.0))
    of_end = [row["error"] for row in rows if row["predicted"] == str(PLANS[0])]
    assert max(of_end) < -0.3


def test_the_policy_takes_the_goal_for_the_plan():
    assert [InTurns()(GRAPH, profile(), goal) for goal in GOALS] == list(PLANS)
    assert is_followed(InTurns())
