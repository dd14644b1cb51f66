"""Random planning problems with codecs and lossy runtimes, and every plan of them."""

from dataclasses import replace
from itertools import product

from hypothesis import strategies as st
from planner_problems import problems

from edgesplit.core.cost import CostModel
from edgesplit.core.payload_codec import AS_IS, CodecSizes, CodecSpeed, is_lossy
from edgesplit.errors import PlanError
from experiments.shared.exhaustive import every_plan

CODECS = ("zstd", "int8", "float16")

losses = st.sampled_from((None, 0.0, 0.004, 0.01, 0.3))
row_losses = st.sampled_from((None, 0.004, 0.3, float("inf")))
coding_s = st.sampled_from((0.0, 0.05, 0.2))


@st.composite
def coded_problems(draw, most_rows=1, most_codecs=2):
    """(graph, profile, goal): some tiers know some of the codecs; runtimes may be lossy."""
    graph, profile, goal = draw(problems(most_rows=most_rows + 1, has_prices=True))
    names = draw(st.permutations(CODECS))[:most_codecs]
    codecs = [draw(codec_sizes(name, graph.payload_bytes)) for name in names]
    speeds = {tier.name: draw(tier_speeds(names)) for tier in profile.tiers}
    profile = profile.with_codecs(codecs, speeds)
    for tier in profile.tiers:
        rows = tuple(replace(r, loss=draw(row_losses)) for r in tier.layer_times[:most_rows])
        profile = profile.with_tier(replace(tier, layer_times=rows))
    return graph, profile, replace(goal, max_accuracy_loss=draw(st.sampled_from((None, 0.01))))


@st.composite
def codec_sizes(draw, name, raw):
    shares = [draw(st.sampled_from((0.1, 0.25, 0.5, 1.0, float("inf")))) for _ in raw]
    found = [draw(losses) if is_lossy(name) else 0.0 for _ in raw]
    sizes = [share if share == float("inf") else share * n for share, n in zip(shares, raw)]
    return CodecSizes(name, tuple(sizes), tuple(found))


@st.composite
def tier_speeds(draw, names):
    known = [name for name in names if draw(st.sampled_from((True, True, True, False)))]
    return tuple(CodecSpeed(name, *(draw(coding_s) for _ in range(4))) for name in known)


def all_coded_costs(problem):
    """Of every plan in every choice of codecs that the model accepts."""
    model, found = CostModel(*problem), []
    codecs = (AS_IS, *(one.codec for one in problem[1].codecs))
    for plan in every_plan(*problem[:2]):
        for choice in product(codecs, repeat=len(plan.stages) - 1):
            try:
                found.append(model.cost(plan.coded(choice)))
            except PlanError:
                continue
    return found
