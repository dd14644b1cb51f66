"""Graph, plan, goal and profile: what they accept, what they refuse, and what the error says."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.plan import Plan, Stage, parse_plan, plan_along
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import GoalError, PlanError, ProfileError, UnknownNameError
from experiments.shared.exhaustive import every_plan, simple_routes

POWER = Power(1.0, 1.0, 1.0, 1.0)
END, EDGE, CLOUD = (Tier(name, (1.0, 1.0), POWER) for name in ("end", "edge", "cloud"))
ONNX = LayerTimes("onnx", (0.5, 0.25), "measured", 1e-6)
PAIR = (Link("end", "edge", 0.0, 1.0), Link("edge", "end", 0.0, 1.0))
GRAPH = Graph("g", ("a", "b"), (3, 2, 1), (0, 0))


NAMES = st.from_regex(r"[A-Za-z0-9_-]{1,12}", fullmatch=True) | st.sampled_from(["torch", "onnx"])


@given(st.lists(st.tuples(st.integers(0, 9), NAMES), min_size=1, max_size=6))
def test_plan_text_round_trip(parts):
    lengths, runtimes = zip(*parts, strict=True)
    edges = [sum(lengths[:i]) for i in range(1, len(lengths))]
    names = [f"tier-{i}.x" for i in range(len(lengths))]
    plan = plan_along(names, edges, sum(lengths))
    assert set(plan.runtimes.values()) == {"torch"}
    plan = plan.on(dict(zip(names, runtimes, strict=True)))
    assert parse_plan(str(plan)) == plan
    assert parse_plan(str(plan).replace(" ", "")) == plan
    expected = [r if n else "torch" for n, r in parts]
    assert list(plan.runtimes.values()) == expected


def test_plan_parts():
    plan = parse_plan("end:0-12 | edge:12-12|cloud:12-38")
    assert plan.route == ("end", "edge", "cloud")
    assert (plan.cuts, plan.n_layers) == ((12, 12), 38)
    assert [len(stage) for stage in plan.stages] == [12, 0, 26]


@pytest.mark.parametrize(
    ("text", "shown", "runtimes"),
    [
        ("end[onnx]:0-12|edge:12-38", "end[onnx]:0-12 | edge:12-38", ["onnx", "torch"]),
        (" end [ onnx ] : 0 - 2 ", "end[onnx]:0-2", ["onnx"]),
        ("end[torch]:0-2", "end:0-2", ["torch"]),
        ("end[torch-channels-last]:0-2", "end[torch-channels-last]:0-2", ["torch-channels-last"]),
        # a tier that runs nothing has no runtime to choose
        ("end[onnx]:0-0 | edge[a_1]:0-2", "end:0-0 | edge[a_1]:0-2", ["torch", "a_1"]),
    ],
)
def test_runtimes_in_a_plan(text, shown, runtimes):
    plan = parse_plan(text)
    assert str(plan) == shown
    assert plan.runtimes == dict(zip(plan.route, runtimes, strict=True))
    assert parse_plan(shown) == plan


def test_a_plan_in_other_runtimes():
    plan = parse_plan("end[onnx]:0-1 | edge:1-1 | cloud:1-2")
    assert str(plan.on({"cloud": "cuda", "edge": "onnx"})) == (
        "end[onnx]:0-1 | edge:1-1 | cloud[cuda]:1-2"
    )
    assert plan.on({}) == plan
    offered = {"end": ("torch", "onnx"), "edge": ("onnx",), "cloud": ("torch",)}
    assert plan.check_runtimes(offered) is plan
    with pytest.raises(PlanError, match=r"'end' has no runtime 'onnx'; it has torch: .*'end:0-1'"):
        plan.check_runtimes({**offered, "end": ("torch",)})


@pytest.mark.parametrize("runtime", ["", "on nx", "onnx]", "onnx\n", "é"])
def test_runtime_names(runtime):
    for start in (0, 2):  # also where it would run nothing
        with pytest.raises(PlanError, match="use letters, digits"):
            Stage("end", start, 2, runtime)
    with pytest.raises(ProfileError, match="use letters, digits"):
        LayerTimes(runtime, (1.0,))
    with pytest.raises(ProfileError, match="use letters, digits"):
        Tier("end", (1.0,), POWER, runtime=runtime)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not a plan"),
        ("end", "'end' should look like"),
        ("end:0-2 |", "is not a plan"),
        ("end[]:0-2", r"'end\[\]:0-2' should look like 'end:0-12' or 'end\[onnx\]:0-12'"),
        ("end[o.x]:0-2", "should look like"),
        ("end[onnx:0-2", "should look like"),
        ("[onnx]:0-2", "should look like"),
        ("end[onnx]:0-2 | end:2-3", "appears twice"),
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
        (("g", ("a",), (1, 1), (1,), (-1,)), "negative size"),
        (("g", ("a",), (1, 1), (1,), (math.nan,)), "no number"),
        (("g", ("a",), (1, 1), (1,), (1, 2)), "multiply-adds of 2; expected as many, or none"),
        (("g", ("a",), (1, 1), (1,), 7), "macs of numbers"),
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
        ({"load": -0.1}, "weights of pressures must be .*load=-0.1"),
        ({"temperature": float("nan")}, "weights of pressures must be"),
        ({"memory": float("inf")}, "weights of pressures must be"),
        ({"memory": True}, "weights of pressures must be"),
        ({"load": "0.1"}, "weights of pressures must be"),
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
        (lambda: LayerTimes("onnx", (-1.0,)), "layer seconds"),
        (lambda: LayerTimes("onnx", (1.0,), error=float("inf")), "error must be finite"),
        (lambda: LayerTimes("onnx", (1.0,), error=-1e-6), "error must be finite"),
        (lambda: replace(END, layer_times=(LayerTimes("torch", (1.0, 1.0)),)), "layer times twice"),
        (lambda: replace(END, layer_times=(ONNX, ONNX)), "layer times twice"),
        (
            lambda: replace(END, layer_times=(LayerTimes("onnx", (1.0,)),)),
            "has 2 layers, its layer times in 'onnx' 1",
        ),
        (lambda: END.without_layer_times("torch"), "no layer times but those of 'torch'"),
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
    assert profile.entry_tier == "end"
    assert profile.with_tier(replace(EDGE, slowdown=2.0)).tier("edge").slowdown == 2.0
    assert profile.with_link(Link("end", "edge", 0.5, 1.0)).link("end", "edge").latency_s == 0.5
    assert profile.without(["edge"]).links == ()
    assert profile.link("edge", "moon") is None
    with pytest.raises(UnknownNameError, match="no tier 'moon'; known: end, edge"):
        profile.tier("moon")


def test_rows_of_a_tier():
    tier = (
        replace(END, provenance="timed")
        .with_layer_times(LayerTimes("onnx", (9.0, 9.0)))
        .with_layer_times(ONNX)
    )
    assert tier.runtimes == ("torch", "onnx")
    assert tier.times_in("onnx") == ONNX
    assert tier.times_in("torch") == LayerTimes("torch", (1.0, 1.0), "timed")
    assert (ONNX.total_s, tier.quickest_runtime) == (0.75, "onnx")
    with pytest.raises(UnknownNameError, match="'end' has no runtime 'cuda'; it has torch, onnx"):
        tier.on("cuda")
    used = tier.on("onnx")
    assert (used.runtime, used.layer_s, used.provenance, used.error) == (
        "onnx", (0.5, 0.25), "measured", 1e-6,
    )  # fmt: skip
    assert used.runtimes == ("onnx", "torch")
    assert used.on("torch") == tier
    assert used.layer_s_in("torch") == (1.0, 1.0)
    assert used.with_layer_times(LayerTimes("onnx", (2.0, 2.0))).layer_s == (2.0, 2.0)


def test_a_row_that_is_gone():
    tier = END.with_layer_times(ONNX).with_layer_times(LayerTimes("compile", (0.5, 0.1)))
    assert tier.layer_times[0].runtime == "compile"
    assert tier.without_layer_times("onnx").runtimes == ("torch", "compile")
    left = tier.without_layer_times("torch")
    assert (left.runtimes, left.layer_s) == (("compile", "onnx"), (0.5, 0.1))
    with pytest.raises(UnknownNameError, match="no runtime 'cuda'"):
        tier.without_layer_times("cuda")


def test_rows_of_a_profile():
    profile = Profile((END.with_layer_times(ONNX), EDGE), PAIR)
    assert profile.runtimes == {"end": "torch", "edge": "torch"}
    assert profile.offered == {"end": ("torch", "onnx"), "edge": ("torch",)}
    assert profile.on({"end": "onnx"}).runtimes == {"end": "onnx", "edge": "torch"}
    assert profile.on({"end": "onnx"}).on({"end": "torch"}) == profile
    with pytest.raises(UnknownNameError, match="'edge' has no runtime 'onnx'; it has torch"):
        profile.on({"edge": "onnx"})
    with pytest.raises(UnknownNameError, match="no tier 'moon'"):
        profile.on({"moon": "torch"})


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
