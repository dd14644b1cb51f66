"""Timings that the cost model says tiers would have measured: as a request without noise."""

import math

import pytest
from control_cases import request
from worlds import GOAL, VGG, chain, slowed, throttled

from edgesplit.core.cost import CostModel
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.shadow.modelled_timings import modelled_timings
from edgesplit.core.tier_timing import transfers
from edgesplit.errors import PlanError

TRUE = throttled(slowed(chain(VGG), "edge", 2.0), 5e6)
PLANS = ["end:0-16", "end:0-4 | edge:4-16", "end:0-0 | edge:0-0 | cloud:0-16"]


@pytest.mark.parametrize("text", PLANS)
def test_a_request_without_noise(text):
    plan = parse_plan(text)
    model = CostModel(VGG, TRUE, GOAL)
    found = modelled_timings(model, plan)
    expected = request(plan, TRUE, 0.0).timings
    assert [t.tier for t in found] == [t.tier for t in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.start, one.stop, one.sent_bytes) == (other.start, other.stop, other.sent_bytes)
        assert one.compute_s == pytest.approx(other.compute_s)
        assert one.own_s == pytest.approx(other.own_s)
        assert one.hop_s == pytest.approx(other.hop_s)
    cost = model.cost(plan)
    assert found[0].own_s == pytest.approx(cost.latency_s)
    watts = {tier.name: tier.power.compute_w for tier in TRUE.tiers}
    assert sum(t.energy_j for t in found) == pytest.approx(
        sum(watts[t.tier] * t.compute_s for t in found)
    )


def test_codecs_are_work_of_both_tiers():
    cuts = len(VGG.payload_bytes)
    halves = CodecSizes("zstd", tuple(size / 2 for size in VGG.payload_bytes), (0.0,) * cuts)
    speed = CodecSpeed("zstd", 1e-3, 1e-9, 2e-3, 1e-9)
    profile = TRUE.with_codecs([halves], {name: [speed] for name in TRUE.names})
    plan = parse_plan("end:0-4 | edge:4-16").coded(["zstd"])
    model = CostModel(VGG, profile, GOAL)
    found = modelled_timings(model, plan)
    assert found[0].own_s == pytest.approx(model.cost(plan).latency_s)
    assert sum(t.codec_s for t in found) == pytest.approx(model.cost(plan).codec_s)
    [transfer] = transfers(found)
    assert transfer.sent_bytes == VGG.payload_bytes[4] // 2
    assert transfer.gap_s == math.inf


def test_a_plan_that_cannot_run_is_told():
    with pytest.raises(PlanError, match="no link end->cloud"):
        modelled_timings(CostModel(VGG, TRUE, GOAL), parse_plan("end:0-4 | cloud:4-16"))
