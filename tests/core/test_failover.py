"""How long senders wait: by hand, nested, and never less than what they wait for may take."""

from dataclasses import replace

import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.failover import BUILD_S, FLOOR_S, SLOW_FACTOR, failover_timeouts
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier

POWER = Power(1.0, 1.0, 1.0, 1.0)
GRAPH = Graph("four", tuple("abcd"), (100, 100, 100, 100, 100), (1,) * 4)
PAIRS = [("end", "edge"), ("edge", "end"), ("edge", "cloud"), ("cloud", "edge")]
PROFILE = Profile(
    (
        Tier("end", (0.5,) * 4, POWER),
        Tier("edge", (0.1,) * 4, POWER),
        Tier("cloud", (0.01,) * 4, POWER),
    ),
    tuple(Link(*pair, 0.05, 1000.0) for pair in PAIRS),
)
HOP_S = 0.05 + 0.1 + 0.05 + 0.1  # there and back


def waits(text, goal=None, profile=PROFILE):
    return failover_timeouts(CostModel(GRAPH, profile, goal or Goal()), parse_plan(text))


def test_one_tier_is_waited_for_by_the_caller_alone():
    assert waits("end:0-4") == pytest.approx((SLOW_FACTOR * 2.0 + FLOOR_S,))


def test_each_patience_covers_the_next_tiers_own_fallback():
    caller, end, edge = waits("end:0-1 | edge:1-2 | cloud:2-4")
    assert edge == pytest.approx(SLOW_FACTOR * (HOP_S + 0.02) + FLOOR_S)
    assert end == pytest.approx(
        SLOW_FACTOR * (HOP_S + 0.1) + edge + SLOW_FACTOR * 0.2 + BUILD_S + FLOOR_S
    )
    assert caller == pytest.approx(SLOW_FACTOR * 0.5 + end + SLOW_FACTOR * 1.5 + BUILD_S + FLOOR_S)


def test_relays_wait_for_what_is_behind_them():
    caller, end, edge = waits("end:0-0 | edge:0-0 | cloud:0-4")
    assert edge == pytest.approx(SLOW_FACTOR * (HOP_S + 0.04) + FLOOR_S)
    assert caller > end > edge


@pytest.mark.parametrize(("limit_s", "floor_s"), [(None, 2.0), (9.0, 2.0), (0.7, 0.7), (0.1, 0.25)])
def test_a_latency_limit_lowers_the_floor_alone(limit_s, floor_s):
    (alone,) = waits("end:0-4", Goal(latency_limit_s=limit_s))
    assert alone == pytest.approx(SLOW_FACTOR * 2.0 + floor_s)


def test_a_link_that_is_not_known_leaves_the_floor():
    _, end = waits("end:0-0 | cloud:0-4")
    assert end == pytest.approx(SLOW_FACTOR * 0.04 + FLOOR_S)


def test_a_slowdown_counts():
    slow = PROFILE.with_tier(replace(PROFILE.tier("cloud"), slowdown=100.0))
    assert waits("end:0-0 | edge:0-0 | cloud:0-4", profile=slow)[2] > SLOW_FACTOR * 4.0
