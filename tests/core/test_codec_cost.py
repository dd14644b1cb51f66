"""Plans with codecs by hand: the two layers and tiers of test_cost.py, and what is refused."""

from dataclasses import replace

import pytest

from edgesplit.core.codec_candidates import LossCandidate, next_to_measure
from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.failover import FLOOR_S, SLOW_FACTOR, failover_timeouts
from edgesplit.core.fleet.pressure import Pressure
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.hedge import hedge_rules
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.policies.policy import FixedPlan, only
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.core.scatter import assumed_scatter
from edgesplit.errors import PlanError, ProfileError

INF = float("inf")
GRAPH = Graph("two", ("a", "b"), (100, 50, 20), (7, 9))
BARE = Profile(
    (
        Tier("end", (1.0, 2.0), Power(5.0, 2.0, 1.0, 0.5), slowdown=2.0),
        Tier("edge", (0.5, 0.25), Power(10.0, 3.0, 4.0, 1.0)),
    ),
    (Link("end", "edge", 0.1, 100.0), Link("edge", "end", 0.2, 40.0)),
)
# On the end 0.1 s + 2 ms/byte, twice that at its slowdown; on the edge 0.05 s + 1 ms/byte.
SPEEDS = {
    "end": [CodecSpeed(name, 0.1, 0.002, 0.3, 0.004) for name in ("zstd", "int8")],
    "edge": [CodecSpeed(name, 0.2, 0.003, 0.05, 0.001) for name in ("zstd", "int8")],
}
CODECS = (
    CodecSizes("zstd", (INF, 20.0, 20.0), (0.0, 0.0, 0.0)),
    CodecSizes("int8", (25.0, 12.5, 5.0), (None, 0.004, 0.004)),
)
PROFILE = BARE.with_codecs(CODECS, SPEEDS)
CODED = "end:0-1 |zstd| edge:1-2"
GRANTED = {"max_accuracy_loss": 0.005}


def cost(plan, profile=PROFILE, **goal):
    return CostModel(GRAPH, profile, Goal(**goal)).cost(parse_plan(plan))


@pytest.mark.parametrize(
    ("boundary", "end_j", "total_j"),
    # End: 2 + 0.4 s x 5 W, 0.2 s x 2 W out, 0.5 s x 1 W back. Edge: 0.35 s x 10 W, 0.2 s x 4 W,
    # 0.5 s x 3 W. Waits: end 0.35 + 0.3 s x 0.5 W; edge 2.4 + 0.3 s x 1 W.
    [("marginal", 12.9, 18.7), ("gross", 13.225, 21.725)],
)
def test_a_coded_hop_by_hand(boundary, end_j, total_j):
    # 2 + 0.25 s of layers; 0.4 s to write, 0.1 s to read; 0.2 s out, 0.5 s back, 0.3 s delay.
    found = cost(CODED, boundary=boundary)
    assert found.latency_s == pytest.approx(3.75, rel=1e-12)
    assert (found.compute_s, found.codec_s) == pytest.approx((2.25, 0.5))
    assert (found.end_energy_j, found.total_energy_j) == pytest.approx((end_j, total_j))
    assert found.loss == 0.0


def test_coding_is_priced_like_computing():
    edge = replace(PROFILE.tier("edge"), pressure=Pressure(2.0))
    pressed = PROFILE.with_tier(edge)
    price = 0.1 * 2.0 * (0.25 + 0.1) / 6.0
    found = cost(CODED, pressed)
    assert found.price == pytest.approx(price)
    assert found.score == pytest.approx(cost(CODED).score + price)


def test_without_codecs_nothing_is_coded():
    assert cost("end:0-1 | edge:1-2") == cost("end:0-1 | edge:1-2", BARE)
    assert cost("end:0-1 | edge:1-2").codec_s == 0.0


def test_a_tiers_seconds_scatter_together():
    """Quantile of a coded plan: layers and codecs of a tier are one part."""
    scatter = assumed_scatter(0.2)
    tiers = tuple(replace(tier, scatter=scatter) for tier in PROFILE.tiers)
    profile = replace(PROFILE, tiers=tiers)
    goal = {"latency_limit_s": 9.0, "probability": 0.9}
    found = cost(CODED, profile, **goal)
    slow = replace(profile.tier("end"), layer_s=(1.2, 2.0)), profile.tier("edge")
    slower = replace(profile, tiers=(slow[0], replace(slow[1], layer_s=(0.5, 0.35))))
    links = tuple(
        replace(link, bytes_per_s=r) for link, r in zip(slower.links, (250.0, 40.0), strict=True)
    )
    same = cost("end:0-1 | edge:1-2", replace(slower, links=links), **goal)
    assert found.quantile_s == pytest.approx(same.quantile_s)


def test_uncertainty_counts_codecs_as_computing():
    only_compute = tuple(tuple(float(i == j == 0) for j in range(5)) for i in range(5))
    power = Power(5.0, 2.0, 1.0, 0.5, covariance=only_compute)
    profile = PROFILE.with_tier(replace(PROFILE.tier("end"), power=power))
    assert cost(CODED, profile).end_energy_u_j == pytest.approx(2.4)


@pytest.mark.parametrize(
    ("plan", "goal", "told"),
    [
        ("end:0-1 |lz4| edge:1-2", {}, "nothing was measured of codec 'lz4'"),
        ("end:0-0 |zstd| edge:0-2", {}, "'zstd' fits no payload there"),
        ("end:0-1 |int8| edge:1-2", {}, "nothing lossy is granted"),
        ("end:0-1 |int8| edge:1-2", {"max_accuracy_loss": 0.001}, r"costs up to 0.004 .*=0.001 is"),
        ("end:0-0 |int8| edge:0-2", GRANTED, "is not measured yet"),
    ],
)
def test_a_codec_that_may_not_be_used_is_refused(plan, goal, told):
    with pytest.raises(PlanError, match=told):
        cost(plan, **goal)
    policy = FixedPlan(parse_plan(plan))
    if "measured" in told:  # and may be yet
        assert policy(GRAPH, PROFILE, Goal(**goal)).codecs == ("as-is",)
        return
    with pytest.raises(PlanError, match=told):
        policy(GRAPH, PROFILE, Goal(**goal))


def test_a_fixed_plan_waits_for_its_codec_only():
    policy, granted = FixedPlan(parse_plan("end:0-1 |int8| edge:1-2")), Goal(**GRANTED)
    assert policy(GRAPH, BARE, granted) == parse_plan("end:0-1 | edge:1-2")
    assert policy(GRAPH, PROFILE, granted) == policy.plan
    with pytest.raises(PlanError, match="nothing lossy is granted"):
        policy(GRAPH, BARE, Goal())
    lossless = FixedPlan(parse_plan(CODED))
    assert lossless(GRAPH, BARE, Goal()) == parse_plan("end:0-1 | edge:1-2")
    assert lossless(GRAPH, PROFILE, Goal()) == lossless.plan
    with pytest.raises(PlanError, match="stops at layer 3"):
        FixedPlan(parse_plan("end:0-1 |int8| edge:1-3"))(GRAPH, BARE, granted)


def test_a_tier_that_does_not_know_a_codec_is_named():
    with pytest.raises(PlanError, match="tier 'edge' does not write or read 'zstd'; it knows: non"):
        cost(CODED, BARE.with_codecs(CODECS, {"end": SPEEDS["end"]}))


def test_a_granted_codec_costs_its_loss():
    assert cost("end:0-1 |int8| edge:1-2", **GRANTED).loss == 0.004


def lossy_row(loss, runtime="onnx-int8"):
    end = PROFILE.tier("end").with_layer_times(LayerTimes(runtime, (0.1, 0.2), loss=loss))
    return PROFILE.with_tier(end)


def test_a_lossy_runtime_counts_where_it_is_granted_only():
    plan = "end[onnx-int8]:0-2"
    assert cost(plan, lossy_row(0.004), **GRANTED).latency_s == pytest.approx(0.6)
    for profile, goal, told in (
        (lossy_row(0.004), {}, "nothing lossy is granted"),
        (lossy_row(0.3), GRANTED, "costs up to 0.3"),
        (lossy_row(INF), GRANTED, "not measured yet"),
    ):
        with pytest.raises(PlanError, match=told):
            cost(plan, profile, **goal)
        assert choose(CostModel(GRAPH, profile, Goal(**goal))).plan.runtimes["end"] == "torch"
    chosen = choose(CostModel(GRAPH, lossy_row(0.004), Goal(0.0, 0.0, 1.0, **GRANTED))).plan
    assert chosen == parse_plan(plan)


def test_two_lossy_parts_are_refused():
    with pytest.raises(PlanError, match=r"2 lossy parts .* leave it at one"):
        cost("end[onnx-int8]:0-1 |int8| edge:1-2", lossy_row(0.001), **GRANTED)


def test_a_lossy_runtime_stays_lossy_when_it_is_in_use():
    tier = lossy_row(0.25).tier("end")
    assert tier.on("onnx-int8").loss == 0.25
    assert tier.on("onnx-int8").on("torch") == tier
    assert tier.quickest_runtime == "torch"
    more = tier.with_layer_times(LayerTimes("onnx", (3.0, 3.0)))
    assert more.without_layer_times("torch").runtime == "onnx"
    profile = PROFILE.with_tier(tier.without_layer_times("torch"))
    model = CostModel(GRAPH, profile, Goal(min_end_layers=1))
    with pytest.raises(PlanError, match="lossy runtimes only"):
        choose(model)


@pytest.mark.parametrize("loss", [-0.1, float("nan"), "much"])
def test_a_loss_that_is_none_is_refused(loss):
    with pytest.raises(ProfileError, match="loss must be 0 or more"):
        LayerTimes("onnx-int8", (1.0,), loss=loss)


def test_a_codec_given_twice_is_refused():
    with pytest.raises(ProfileError, match="given twice"):
        PROFILE.with_codecs(CODECS[:1] * 2, {})
    with pytest.raises(ProfileError, match="speeds twice"):
        PROFILE.with_codecs(CODECS, {"end": SPEEDS["end"][:1] * 2})


QUICK = {
    name: [CodecSpeed(codec, 0.0, 1e-5, 0.0, 1e-5) for codec in ("zstd", "int8")]
    for name in ("end", "edge")
}
CHEAP = BARE.with_codecs(CODECS, QUICK)
TIME = Goal(0.0, 0.0, 1.0)


def test_the_cheapest_codec_is_chosen_with_the_cut():
    assert choose(CostModel(GRAPH, CHEAP, TIME)).plan == parse_plan("end:0-0 | edge:0-2")
    granted = replace(TIME, max_accuracy_loss=0.005)
    assert choose(CostModel(GRAPH, CHEAP, granted)).plan == parse_plan("end:0-0 | edge:0-2")
    known = CHEAP.with_codecs([CODECS[0], replace(CODECS[1], loss=(0.001, 0.1, 0.1))], {})
    assert choose(CostModel(GRAPH, known, granted)).plan == parse_plan("end:0-0 |int8| edge:0-2")
    assert only("edge")(GRAPH, known, granted) == parse_plan("end:0-0 |int8| edge:0-2")
    assert only("edge")(GRAPH, known, TIME) == parse_plan("end:0-0 | edge:0-2")


def test_what_would_be_worth_measuring():
    granted = replace(TIME, max_accuracy_loss=0.005)
    found = next_to_measure(GRAPH, CHEAP, granted)
    assert found == LossCandidate(parse_plan("end:0-0 |int8| edge:0-2"), "end", "int8", 0)
    assert next_to_measure(GRAPH, CHEAP, TIME) is None
    for loss in (0.001, 0.3):  # measured, whether granted or not
        known = CHEAP.with_codecs([replace(CODECS[1], loss=(loss, 0.3, 0.3))], {})
        assert next_to_measure(GRAPH, known, granted) is None
    little = CHEAP.with_codecs([replace(CODECS[1], payload_bytes=(99.0, 50.0, 20.0))], {})
    assert next_to_measure(GRAPH, little, granted) is None  # 0.4 % less latency


def test_a_runtime_worth_measuring():
    end = BARE.tier("end").with_layer_times(LayerTimes("onnx-int8", (0.01, 0.02), loss=INF))
    profile = BARE.with_tier(end)
    granted = replace(TIME, max_accuracy_loss=0.005)
    plan = parse_plan("end[onnx-int8]:0-2")
    assert next_to_measure(GRAPH, profile, granted) == LossCandidate(plan, "end", "onnx-int8")
    assert next_to_measure(GRAPH, profile, TIME) is None


def test_waits_cover_coding_and_the_coded_bytes():
    model, plan = CostModel(GRAPH, PROFILE, Goal()), parse_plan(CODED)
    # The edge's 0.25 s, and the hop: 0.4 + 0.2 + 0.5 + 0.3 + 0.1 s.
    assert failover_timeouts(model, plan)[1] == pytest.approx(SLOW_FACTOR * 1.75 + FLOOR_S)
    gone = CostModel(GRAPH, BARE, Goal())  # the codec was dropped meanwhile: as it is, 1.3 s
    assert failover_timeouts(gone, plan)[1] == pytest.approx(SLOW_FACTOR * 1.55 + FLOOR_S)


def test_an_answer_is_expected_once_the_payload_is_written_and_sent():
    rules = hedge_rules(CostModel(GRAPH, PROFILE, Goal(latency_limit_s=9.0)), parse_plan(CODED))
    # Delay, reply, reading and the edge's layers; what is left of 9 s after 2 s and 0.4 s.
    assert rules[1].answer_s == pytest.approx(0.3 + 0.5 + 0.1 + 0.25)
    assert rules[1].limit_s == pytest.approx(9.0 - 2.4)
    assert hedge_rules(CostModel(GRAPH, BARE, Goal()), parse_plan(CODED))[1] is None


def test_explain_shows_what_travels_how_and_why_not_otherwise():
    known = CHEAP.with_codecs([CODECS[0], replace(CODECS[1], loss=(0.001, 0.1, 0.1))], {})
    found = explain(GRAPH, known, replace(TIME, max_accuracy_loss=0.005))
    text = str(found)
    assert text.startswith("two: end:0-0 |int8| edge:0-2")
    assert "payloads: cut 0 as int8, 0.0 kB instead of 0.1 kB, 3.00 ms to write and read" in text
    assert "costs at most 0.10% of the accuracy: the upper end of the interval" in text
    assert "codec zstd is not used: it does not pay" in text
    hop = found.as_dict()["codecs"]["hops"][0]
    assert (hop["codec"], hop["bytes"], hop["sent_bytes"]) == ("int8", 100.0, 25.0)
    assert found.as_dict()["chosen"]["loss"] == 0.001


def test_explain_says_what_the_best_plan_without_codecs_would_cost():
    known = CHEAP.with_codecs([CODECS[0], replace(CODECS[1], loss=(0.001, 0.1, 0.1))], {})
    found = explain(GRAPH, known, replace(TIME, max_accuracy_loss=0.005))
    plain = choose(CostModel(GRAPH, BARE, TIME)).cost
    assert found.without_codecs.plan == plain.plan
    assert found.without_codecs.latency_s == pytest.approx(plain.latency_s)
    assert found.without_codecs.score > found.chosen.score
    assert "\nwithout codecs end:0-0 | edge:0-2" in str(found)
    assert found.as_dict()["without_codecs"]["plan"] == str(plain.plan)
    assert explain(GRAPH, BARE, TIME).without_codecs is None
    assert explain(GRAPH, BARE, TIME).as_dict()["without_codecs"] is None


@pytest.mark.parametrize(
    ("profile", "goal", "told"),
    [
        (CHEAP, {}, "int8 is not used: it is lossy, and the goal grants no max_accuracy_loss"),
        (
            CHEAP,
            {"max_accuracy_loss": 1e-3},
            "int8 is not used: it costs 0.40% of the accuracy at least where that is measured, "
            "0.10% is granted",
        ),
        (
            CHEAP.with_codecs([replace(CODECS[1], loss=(None,) * 3)], {}),
            GRANTED,
            "int8 is not used: what it costs in accuracy is measured only where it would pay",
        ),
        (
            BARE.with_codecs(CODECS, {"end": SPEEDS["end"]}),
            GRANTED,
            "zstd is not used: no two tiers with a link between them can both write and read it",
        ),
    ],
)
def test_explain_says_why_a_codec_is_not_used(profile, goal, told):
    assert f"codec {told}" in str(explain(GRAPH, profile, replace(TIME, **goal)))


def test_explain_says_that_the_accuracy_limits():
    known = CHEAP.with_codecs([replace(CODECS[1], loss=(0.01, 0.1, 0.1))], {})
    limited = explain(GRAPH, known, TIME).limited_by
    assert limited.startswith("that nothing lossy is granted; without, end:0-0 |int8| edge:0-2")
    assert limited.endswith("and cost up to 1.00% of the accuracy")


@pytest.mark.parametrize(
    ("cuts", "encode_s", "decode_s"),
    # 50 bytes at cut 1: 0.2 s to encode besides 0.2, of which they take half, and 0.05 s to decode
    # besides 0.05, of which they take twice as much. A speed that was measured at cut 0, whose
    # efforts are 2 and 4, has these in it already.
    [((), 0.3, 0.15), ((1,), 0.4, 0.1), ((0,), 0.25, 0.075), ((0, 1), 0.28, 0.05 + 0.1 / 3)],
)
def test_a_payload_takes_its_effort_against_that_of_the_payloads_measured(cuts, encode_s, decode_s):
    sizes = replace(CODECS[0], effort=((2.0, 4.0), (0.5, 2.0), (1.0, 1.0)))
    speeds = {name: [replace(one, cuts=cuts) for one in some] for name, some in SPEEDS.items()}
    found = cost(CODED, BARE.with_codecs([sizes], speeds))
    assert found.codec_s == pytest.approx(encode_s + decode_s)


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"effort": ((1.0, 1.0),)}, "effort has 1 values, expected none or one per cut, 3"),
        ({"effort": ((1.0, 1.0), (0.0, 1.0), (1.0, 1.0))}, "efforts must be above 0"),
        ({"spread_bytes": (1.0,)}, "spread_bytes has 1 values"),
    ],
)
def test_figures_per_cut_are_checked(given, what):
    with pytest.raises(ProfileError, match=what):
        replace(CODECS[0], **given)
