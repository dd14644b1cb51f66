"""Requests that come as picture files, by hand: who decodes them, and what travels until then."""

from dataclasses import replace

import pytest
from test_codec_cost import BARE, GRAPH

from edgesplit.core.cost import CostModel
from edgesplit.core.explain import explain
from edgesplit.core.failover import FLOOR_S, SLOW_FACTOR, failover_timeouts
from edgesplit.core.goal import Goal
from edgesplit.core.hedge import hedge_rules
from edgesplit.core.payload_codec import PICTURE, CodecSizes, CodecSpeed, is_lossy
from edgesplit.core.plan import parse_plan
from edgesplit.core.planner.choose import choose
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Tier
from edgesplit.errors import PlanError, ProfileError

INF = float("inf")
TIME = Goal(0.0, 0.0, 1.0)
SIZES = CodecSizes(PICTURE, (25.0, INF, INF), (0.0,) * 3, spread_bytes=(4.0, 0.0, 0.0))
# To decode the 100 bytes of cut 0: 1.4 s on the end at its slowdown, 0.15 s on the edge.
SPEEDS = {
    "end": [CodecSpeed(PICTURE, 0.0, 0.0, 0.3, 0.004)],
    "edge": [CodecSpeed(PICTURE, 0.0, 0.0, 0.05, 0.001)],
}
PROFILE = BARE.with_codecs([SIZES], SPEEDS)
FILE_SENT = "end:0-0 |picture| edge:0-2"
# A chain: nothing leads from the end to the cloud but over the edge.
CLOUD = Tier("cloud", (0.1, 0.1), Power(10.0, 3.0, 4.0, 1.0))
CHAIN = BARE.with_added(
    CLOUD, [Link("edge", "cloud", 0.1, 100.0), Link("cloud", "edge", 0.2, 40.0)]
).with_codecs([SIZES], {**SPEEDS, "cloud": [CodecSpeed(PICTURE, 0.0, 0.0, 0.5, 0.0)]})


def cost(plan, profile=PROFILE, **goal):
    return CostModel(GRAPH, profile, Goal(**goal)).cost(parse_plan(plan))


@pytest.mark.parametrize(
    ("plan", "latency_s", "codec_s"),
    [
        ("end:0-2", 6.0 + 1.4, 1.4),
        ("end:0-1 | edge:1-2", 2.0 + 1.4 + 0.5 + 0.5 + 0.3 + 0.25, 1.4),
        ("end:0-0 | edge:0-2", 1.4 + 1.0 + 0.5 + 0.3 + 0.75, 1.4),
        (FILE_SENT, 0.25 + 0.5 + 0.3 + 0.75 + 0.15, 0.15),
    ],
)
def test_whoever_needs_the_pixels_decodes(plan, latency_s, codec_s):
    found = cost(plan)
    assert (found.latency_s, found.codec_s) == pytest.approx((latency_s, codec_s))
    assert found.loss == 0.0
    bare = cost(plan.replace(" |picture|", " |"), BARE)
    assert found.compute_s == pytest.approx(bare.compute_s)


def test_decoding_is_charged_as_computing():
    bare, found = cost("end:0-2", BARE), cost("end:0-2")
    assert found.end_energy_j == pytest.approx(bare.end_energy_j + 1.4 * 5.0)
    bare, found = cost("end:0-0 | edge:0-2", BARE), cost("end:0-0 | edge:0-2")
    assert found.end_energy_j == pytest.approx(bare.end_energy_j + 1.4 * 5.0)
    assert found.total_energy_j == pytest.approx(bare.total_energy_j + 1.4 * 5.0)


def test_a_relay_passes_the_file_on_undecoded():
    links_s = 2 * (0.25 + 0.5 + 0.3)
    whole = cost("end:0-0 |picture| edge:0-0 |picture| cloud:0-2", CHAIN)
    assert whole.latency_s == pytest.approx(links_s + 0.2 + 0.5)
    assert whole.codec_s == pytest.approx(0.5)
    halfway = cost("end:0-0 |picture| edge:0-0 | cloud:0-2", CHAIN)
    assert halfway.latency_s == pytest.approx(links_s + 0.75 + 0.2 + 0.15)
    assert choose(CostModel(GRAPH, CHAIN, TIME)).plan == parse_plan(FILE_SENT)
    slow = CHAIN.with_tier(replace(CHAIN.tier("edge"), slowdown=9.0))
    assert choose(CostModel(GRAPH, slow, TIME)).plan == whole.plan


@pytest.mark.parametrize(
    ("plan", "profile", "told"),
    [
        ("end:0-1 |picture| edge:1-2", PROFILE, "end has no picture's file to send on"),
        ("end:0-0 | edge:0-0 |picture| cloud:0-2", CHAIN, "edge has no picture's file to send"),
        ("end:0-1 | edge:1-1 |picture| cloud:1-2", CHAIN, "edge has no picture's file to send"),
        (FILE_SENT, BARE, "nothing was measured of codec 'picture'"),
        (FILE_SENT, PROFILE.with_codecs([SIZES], {"end": []}), "'end' does not write or read"),
        (FILE_SENT, PROFILE.with_codecs([SIZES], {"edge": []}), "'edge' does not write or read"),
    ],
)
def test_what_has_no_file_is_refused(plan, profile, told):
    with pytest.raises(PlanError, match=told):
        cost(plan, profile)


def test_without_a_first_tier_that_decodes_requests_come_as_they_are():
    blind = CHAIN.with_codecs([SIZES], {"end": []})
    assert cost("end:0-2", blind) == cost("end:0-2", BARE)
    with pytest.raises(PlanError, match="tier 'end' takes no pictures as files"):
        cost("end:0-0 | edge:0-0 |picture| cloud:0-2", blind)
    assert "codec picture is not used: end takes no pictures as files" in str(
        explain(GRAPH, blind, TIME)
    )


def test_a_picture_loses_nothing_and_is_of_cut_0():
    assert not is_lossy(PICTURE)
    with pytest.raises(ProfileError, match="fits cut 0 only"):
        CodecSizes(PICTURE, (25.0, 25.0, INF), (0.0,) * 3)


@pytest.mark.parametrize(
    ("spread", "what"),
    [
        ((1.0,), "spread_bytes has 1 values"),
        ((-1.0, 0.0, 0.0), "deviations of bytes must be 0"),
        (("1", 0.0, 0.0), "deviations of bytes must be 0"),
    ],
)
def test_a_spread_is_one_deviation_per_cut(spread, what):
    with pytest.raises(ProfileError, match=what):
        CodecSizes("zstd", (25.0, 20.0, INF), (0.0,) * 3, spread_bytes=spread)


def test_waits_cover_decoding():
    model = CostModel(GRAPH, PROFILE, TIME)
    hop_s, edge_s = 0.25 + 0.5 + 0.3, 0.75
    found = failover_timeouts(model, parse_plan(FILE_SENT))
    assert found[1] == pytest.approx(SLOW_FACTOR * (hop_s + edge_s + 0.15) + FLOOR_S)
    rules = hedge_rules(model, parse_plan(FILE_SENT))
    assert rules[1].answer_s == pytest.approx(0.5 + 0.3 + 0.75 + 0.15)
    assert hedge_rules(model, parse_plan("end:0-2"))[0].answer_s == pytest.approx(7.4)


def test_explain_says_who_decodes_and_how_files_spread():
    text = str(explain(GRAPH, PROFILE, TIME))
    assert text.startswith("two: end:0-0 |picture| edge:0-2")
    assert "payloads: cut 0 as picture, 0.0 kB (± 0.0 kB) instead of 0.1 kB; codecs take" in text
    assert "pictures come as files; edge decodes them, 150.00 ms each" in text
    found = explain(GRAPH, PROFILE, TIME).as_dict()["codecs"]
    assert found["decoding"] == {"tier": "edge", "s": pytest.approx(0.15)}
    assert found["hops"][0]["spread_bytes"] == 4.0
    assert "pictures" not in str(explain(GRAPH, BARE, TIME))
    bare = explain(GRAPH, PROFILE, TIME).without_codecs  # the end decodes then
    assert bare.plan == parse_plan("end:0-0 | edge:0-2")
    assert bare.latency_s == pytest.approx(cost("end:0-0 | edge:0-2").latency_s)
