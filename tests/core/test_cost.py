"""The cost model by hand: two layers, two tiers, every figure worked out on paper.

end: layers of 1 and 2 s at slowdown 2, 5 W compute, 2 W send, 1 W receive, 0.5 W wait.
edge: 0.5 and 0.25 s; 10, 3, 4 and 1 W. Out 0.1 s + 100 B/s, back 0.2 s + 40 B/s.
"""

import numpy as np
import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, ScoreReference, Tier
from edgesplit.errors import PlanError, ProfileError, UnknownNameError

GRAPH = Graph("two", ("a", "b"), (100, 50, 20), (7, 9))
PROFILE = Profile(
    (
        Tier("end", (1.0, 2.0), Power(5.0, 2.0, 1.0, 0.5), slowdown=2.0),
        Tier("edge", (0.5, 0.25), Power(10.0, 3.0, 4.0, 1.0)),
    ),
    (Link("end", "edge", 0.1, 100.0), Link("edge", "end", 0.2, 40.0)),
)


def cost(plan, profile=PROFILE, **goal):
    return CostModel(GRAPH, profile, Goal(**goal)).cost(parse_plan(plan))


@pytest.mark.parametrize(
    ("plan", "boundary", "latency_s", "compute_s", "end_j", "total_j"),
    [
        ("end:0-2", "marginal", 6.0, 6.0, 30.0, 30.0),
        # The other tier waits: 6 s x 1 W.
        ("end:0-2", "gross", 6.0, 6.0, 30.0, 36.0),
        # 2 + 0.25 s compute; 0.5 s out, 0.5 s back, 0.3 s delay.
        ("end:0-1 | edge:1-2", "marginal", 3.55, 2.25, 11.5, 17.5),
        # Waits: end 0.25 + 0.3 s x 0.5 W; edge 2 + 0.3 s x 1 W.
        ("end:0-1 | edge:1-2", "gross", 3.55, 2.25, 11.775, 20.075),
        # 0.75 s compute; 1 s out, 0.5 s back, 0.3 s delay.
        ("end:0-0 | edge:0-2", "marginal", 2.55, 0.75, 2.5, 15.5),
        ("end:0-0 | edge:0-2", "gross", 2.55, 0.75, 3.025, 16.325),
    ],
)
def test_hand_computed(plan, boundary, latency_s, compute_s, end_j, total_j):
    found = cost(plan, boundary=boundary)
    figures = (found.latency_s, found.compute_s, found.end_energy_j, found.total_energy_j)
    assert figures == pytest.approx((latency_s, compute_s, end_j, total_j), rel=1e-12)


def test_score_is_relative_to_all_on_end():
    assert cost("end:0-2").score == pytest.approx(1.0)
    expected = 0.6 * 11.5 / 30 + 0.2 * 17.5 / 30 + 0.2 * 3.55 / 6
    assert cost("end:0-1 | edge:1-2").score == pytest.approx(expected)


def test_busy_seconds_beside_a_request_add_their_joules_above_idle_to_a_score():
    model = CostModel(GRAPH, PROFILE, Goal(end_energy=0.5, total_energy=0.25, latency=0.25))
    # All on end: 30 J of either. The end is idle at 0 W.
    assert model.busy_score("end", "transmit", 3.0) == pytest.approx(6.0 * (0.5 + 0.25) / 30)
    assert model.busy_score("edge", "compute", 3.0) == pytest.approx(30.0 * 0.25 / 30)


def test_given_norms_stay_fixed():
    profile = Profile(PROFILE.tiers, PROFILE.links, ScoreReference(10.0, 20.0, 2.0))
    expected = 0.6 * 30 / 10 + 0.2 * 30 / 20 + 0.2 * 6 / 2
    assert cost("end:0-2", profile).score == pytest.approx(expected)


@pytest.mark.parametrize(
    ("plan", "goal", "feasible"),
    [
        ("end:0-2", {"latency_limit_s": 6.0}, True),
        ("end:0-2", {"latency_limit_s": 5.99}, False),
        ("end:0-1 | edge:1-2", {"min_end_layers": 1}, True),
        ("end:0-0 | edge:0-2", {"min_end_layers": 1}, False),
        ("end:0-1 | edge:1-2", {"memory_bytes": {"edge": 9}}, True),
        ("end:0-1 | edge:1-2", {"memory_bytes": {"edge": 8}}, False),
        ("end:0-2", {"memory_bytes": {"end": 15}}, False),
    ],
)
def test_feasible(plan, goal, feasible):
    assert cost(plan, **goal).feasible is feasible


def test_arrays_and_plan_cost_agree():
    model = CostModel(GRAPH, PROFILE, Goal(boundary="gross"))
    np.testing.assert_allclose(model.compute.latency_s, [[0, 2, 6], [0, 0.5, 0.75]])
    np.testing.assert_allclose(model.transfer.latency_s[0, 0, 1], [1.8, 1.3, 1.0])
    assert np.isinf(model.transfer.latency_s[0, 0, 0]).all()


def test_errors():
    alone = Profile(PROFILE.tiers, ())
    with pytest.raises(PlanError, match="no link end->edge"):
        cost("end:0-1 | edge:1-2", alone)
    with pytest.raises(PlanError, match="stops at layer 3"):
        cost("end:0-3")
    with pytest.raises(PlanError, match="min_end_layers is 3"):
        CostModel(GRAPH, PROFILE, Goal(min_end_layers=3))
    with pytest.raises(ProfileError, match="profile has 2 layers"):
        CostModel(Graph("one", ("a",), (1, 1), (1,)), PROFILE, Goal())
    with pytest.raises(UnknownNameError, match="'moon'"):
        cost("end:0-2", memory_bytes={"moon": 1})
