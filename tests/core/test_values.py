"""Graph, plan, goal and profile: what they accept, what they refuse, and what the error says."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesplit.core.exhaustive import every_plan, simple_routes
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import Plan, Stage, parse_plan, plan_along
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import GoalError, PlanError, ProfileError, UnknownNameError

POWER = Power(1.0, 1.0, 1.0, 1.0)
END, EDGE, CLOUD = (Tier(name, (1.0, 1.0), POWER) for name in ("end", "edge", "cloud"))
PAIR = (Link("end", "edge", 0.0, 1.0), Link("edge", "end", 0.0, 1.0))
GRAPH = Graph("g", ("a", "b"), (3, 2, 1), (0, 0))


@given(st.lists(st.integers(0, 9), min_size=1, max_size=6))
def test_plan_text_round_trip(lengths):
    edges = [sum(lengths[:i]) for i in range(1, len(lengths))]
    plan = plan_along([f"tier-{i}.x" for i in range(len(lengths))], edges, sum(lengths))
    assert parse_plan(str(plan)) == plan
    assert parse_plan(str(plan).replace(" ", "")) == plan


def test_plan_parts():
    plan = parse_plan("end:0-12 | edge:12-12|cloud:12-38")
    assert plan.route == ("end", "edge", "cloud")
    assert (plan.cuts, plan.n_layers) == ((12, 12), 38)
    assert [len(stage) for stage in plan.stages] == [12, 0, 26]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a plan"),
        ("end", "'end' should look like"),
        ("end:0-2 |", "is not a plan"),
        ("end:1-2", "should start at layer 0"),
        ("end:0-2 | edge:3-4", "should start at layer 2"),
        ("end:0-2 | edge:2-1", "not run backwards"),
        ("end:0-2 | end:2-3", "appears twice"),
    ],
)
def test_plan_errors(text, said):
    with pytest.raises(PlanError, match=said):
        parse_plan(text)


def test_plan_without_stages():
    with pytest.raises(PlanError, match="at least one stage"):
        Plan(())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("end:0-1 | moon:1-2", "no tier 'moon'"),
        ("edge:0-2", "must begin at 'end'"),
        ("end:0-3", "stops at layer 3"),
    ],
)
def test_plan_check(text, said):
    with pytest.raises(PlanError, match=said):
        parse_plan(text).check(GRAPH, ["end", "edge"])
    assert Plan((Stage("end", 0, 2),)).check(GRAPH, ["end"]).route == ("end",)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (("g", (), (1,), ()), "no layers"),
        (("g", ("a",), (1,), (0,)), "expected n, n \\+ 1 and n"),
        (("g", ("a",), (1, 1), ()), "expected n, n \\+ 1 and n"),
        (("g", ("a",), (1, -1), (0,)), "negative size"),
        (("g", ("a",), (1, 1), (-1,)), "negative size"),
    ],
)
def test_graph_errors(fields, said):
    with pytest.raises(PlanError, match=said):
        Graph(*fields)


def test_graph_fingerprint_ignores_sizes():
    assert replace(GRAPH, payload_bytes=(30, 20, 10)).fingerprint == GRAPH.fingerprint
    assert replace(GRAPH, layers=("b", "a")).fingerprint != GRAPH.fingerprint


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"end_energy": 0.7}, "sum to 1.1"),
        ({"end_energy": -0.6, "total_energy": 1.4}, ">= 0"),
        ({"latency": float("nan")}, "finite"),
        ({"latency_limit_s": 0.0}, "above 0"),
        ({"latency_limit_s": float("inf")}, "above 0"),
        ({"min_end_layers": -1}, "whole number >= 0"),
        ({"min_end_layers": 1.5}, "whole number >= 0"),
        ({"latency_limit_s": "x"}, "above 0"),
        ({"memory_bytes": 5}, "0 or more"),
        ({"memory_bytes": {"end": "x"}}, "0 or more"),
        ({"memory_bytes": {"end": -1}}, "0 or more"),
        ({"boundary": "net"}, "'marginal' or 'gross'"),
    ],
)
def test_goal_errors(fields, said):
    with pytest.raises(GoalError, match=said):
        Goal(**fields)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: Power(-1.0, 1.0, 1.0, 1.0), "finite watts"),
        (lambda: Power(float("inf"), 1.0, 1.0, 1.0), "finite watts"),
        (lambda: Tier("t", (-1.0,), POWER), "layer seconds"),
        (lambda: Tier("t", (1.0,), POWER, slowdown=0.0), "slowdown"),
        (lambda: Link("a", "b", -1.0, 1.0), "latency"),
        (lambda: Link("a", "b", 0.0, 0.0), "rate"),
        (lambda: Profile((), ()), "names must be there"),
        (lambda: Profile((END, END), ()), "differ"),
        (lambda: Profile((END, Tier("edge", (1.0,), POWER)), ()), "different layer counts"),
        (lambda: Profile((END, EDGE), (*PAIR, PAIR[0])), "given twice"),
        (lambda: Profile((END,), PAIR), "link end->edge: tiers are end"),
        (lambda: Profile((END, EDGE), PAIR[:1]), "has no reverse"),
        (lambda: Profile((END,), (Link("end", "end", 0.0, 1.0),)), "link end->end"),
    ],
)
def test_profile_errors(make, said):
    with pytest.raises(ProfileError, match=said):
        make()


def test_profile_changes():
    profile = Profile((END, EDGE), PAIR)
    assert profile.source == "end"
    assert profile.with_tier(replace(EDGE, slowdown=2.0)).tier("edge").slowdown == 2.0
    assert profile.with_link(Link("end", "edge", 0.5, 1.0)).link("end", "edge").latency_s == 0.5
    assert profile.without(["edge"]).links == ()
    assert profile.link("edge", "moon") is None
    with pytest.raises(UnknownNameError, match="no tier 'moon'; known: end, edge"):
        profile.tier("moon")


def test_every_plan():
    ring = Profile(
        (END, EDGE, CLOUD),
        tuple(
            Link(a, b, 0.0, 1.0)
            for a in ("end", "edge", "cloud")
            for b in ("end", "edge", "cloud")
            if a != b
        ),
    )
    assert len(list(simple_routes(ring))) == 5
    plans = [str(plan) for plan in every_plan(GRAPH, ring)]
    assert len(set(plans)) == len(plans) == 1 + 2 * 3 + 2 * 6
