"""experiments.throttle.compress: what can be done about a slower link, as things are believed."""

from itertools import product

from worlds import VGG, chain, throttled

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from experiments.throttle.compress import BEST, COMPRESS, MOVE, STAY, Sides

CODECS = tuple(
    CodecSizes(name, tuple(share * n for n in VGG.payload_bytes), (0.0,) * len(VGG.payload_bytes))
    for name, share in (("zstd", 0.5), ("lz4", 0.7))
)


def test_what_stays_is_compressed_as_well_as_it_can_be():
    profile, goal = throttled(chain(VGG)), Goal(min_end_layers=1)
    speeds = {
        tier.name: [CodecSpeed(codec.codec, 1e-4, 1e-10, 1e-4, 1e-10) for codec in CODECS]
        for tier in profile.tiers
    }
    profile = profile.with_codecs(CODECS, speeds)
    before = parse_plan("end:0-5 | edge:5-9 | cloud:9-16")
    plans = Sides((VGG, goal), before).plans(profile)
    model = CostModel(VGG, profile, goal)
    scores = {side: model.cost(plan).score for side, plan in plans.items()}
    assert plans[STAY] == before
    assert plans[COMPRESS].cuts == before.cuts
    each = [before.coded(pair) for pair in product(model.coding.names, repeat=2)]
    assert scores[COMPRESS] == min(model.cost(plan).score for plan in each)
    assert set(plans[MOVE].codecs) <= {"as-is"}
    assert scores[BEST] <= min(scores.values()) < scores[STAY]
