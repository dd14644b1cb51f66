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
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.policy import fixed
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from experiments.regret_check import PLANS, compared

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


def log_of(plan, slowdown=1.0):
    """A session with that plan. slowdown: of the end tier, which its profile does not know."""
    begun = begin(GRAPH, profile(), Goal(), fixed(parse_plan(plan)), Settings(), 0.0)
    world = World(profile(slowdown), noise=0.0, outliers=0.0, pause_s=0.02)
    run = simulate(begun, world, 12.0, np.random.default_rng(0))
    steps = replay(begun[0], run.events)
    entries = zip(run.events, (actions for _, actions in steps), strict=True)
    return EventLog("0.1.0", "5e55", "w0", plan, begun[0], tuple(entries))


def test_without_noise_each_plan_is_predicted_as_it_is():
    rows = compared({plan: log_of(plan) for plan in PLANS})
    assert len(rows) == len(PLANS) * (len(PLANS) - 1)
    assert all(row["requests"] > 30 for row in rows)
    assert max(abs(row["error"]) for row in rows) < 0.01
    by_pair = {(row["recorded"], row["predicted"]): row for row in rows}
    one = by_pair[PLANS[0], PLANS[1]]
    other = by_pair[PLANS[1], PLANS[0]]
    assert one["recorded_s"] == pytest.approx(other["measured_s"])


def test_what_the_model_does_not_know_shows_as_an_error():
    logs = {plan: log_of(plan) for plan in PLANS}
    slower = log_of(PLANS[0], slowdown=2.0)
    rows = compared(logs | {PLANS[0]: slower})
    of_end = [row["error"] for row in rows if row["predicted"] == PLANS[0]]
    assert max(of_end) < -0.3
