"""Random planning problems with codecs and lossy runtimes, and every plan of them."""

from dataclasses import replace
from itertools import product

from hypothesis import strategies as st
from planner_problems import problems

from edgesplit.core.cost import CostModel
from edgesplit.core.payload_codec import AS_IS, PICTURE, CodecSizes, CodecSpeed, is_lossy
from edgesplit.core.profile import Link, Profile
from edgesplit.errors import PlanError
from experiments.shared.exhaustive import every_plan

CODECS = ("zstd", "int8", "float16")

losses = st.sampled_from((None, 0.0, 0.004, 0.01, 0.3))
row_losses = st.sampled_from((None, 0.004, 0.3, float("inf")))
coding_s = st.sampled_from((0.0, 0.0, 0.01, 0.1))


@st.composite
def coded_problems(draw, most_rows=1, most_codecs=2):
    """(graph, profile, goal): some tiers know some of the codecs; runtimes may be lossy."""
    graph, profile, goal = draw(problems(most_rows=most_rows + 1, has_prices=True))
    if draw(st.sampled_from((True, True, False))):  # payloads travel, and weigh much
        graph, profile, goal = _on_the_move(graph, profile, goal)
    names = draw(st.permutations(CODECS))[:most_codecs]
    codecs = [draw(codec_sizes(name, graph.payload_bytes)) for name in names]
    speeds = {tier.name: draw(tier_speeds(names)) for tier in profile.tiers}
    profile = profile.with_codecs(codecs, speeds)
    for tier in profile.tiers:
        rows = tuple(replace(r, loss=draw(row_losses)) for r in tier.layer_times[:most_rows])
        profile = profile.with_tier(replace(tier, layer_times=rows))
    most = draw(st.sampled_from((None, 0.01, 0.01)))
    return graph, profile, replace(goal, max_accuracy_loss=most)


@st.composite
def pictured_problems(draw, most_rows=1, most_codecs=1):
    """The same, whose requests come as picture files; the first tier can always decode them."""
    graph, profile, goal = draw(coded_problems(most_rows, most_codecs))
    share = draw(st.sampled_from((0.0, 0.1, 0.5, 1.0)))
    nowhere = (float("inf"),) * len(graph)
    sizes = CodecSizes(
        PICTURE, (share * graph.payload_bytes[0], *nowhere), (0.0,) * (len(graph) + 1)
    )
    speeds = {}
    for number, tier in enumerate(profile.tiers):
        speed = CodecSpeed(PICTURE, 0.0, 0.0, *(draw(coding_s) for _ in range(2)))
        can = number == 0 or draw(st.sampled_from((True, True, False)))
        speeds[tier.name] = (*tier.codec_speeds, *([speed] if can else []))
    return graph, profile.with_codecs((*profile.codecs, sizes), speeds), goal


def _on_the_move(graph, profile, goal):
    """A slow first tier with links to the others, all of them slow."""
    sizes = tuple(5 + n for n in graph.payload_bytes[:-1])
    graph = replace(graph, payload_bytes=(*sizes, graph.payload_bytes[-1]))
    first, *others = profile.tiers
    slow = replace(first, layer_s=tuple(30.0 + s for s in first.layer_s))
    links = [replace(link, bytes_per_s=min(link.bytes_per_s, 10.0)) for link in profile.links]
    there = {link.pair for link in links}
    for other in others:
        pairs = ((first.name, other.name), (other.name, first.name))
        links += [Link(*pair, 0.01, 1.0) for pair in pairs if pair not in there]
    profile = Profile((slow, *others), tuple(links))
    return graph, profile, replace(goal, min_end_layers=0, memory_bytes={})


@st.composite
def codec_sizes(draw, name, raw):
    shares = [draw(st.sampled_from((0.1, 0.25, 0.5, 1.0, float("inf")))) for _ in raw]
    found = [draw(losses) if is_lossy(name) else 0.0 for _ in raw]
    sizes = [s if s == float("inf") else s * n for s, n in zip(shares, raw, strict=True)]
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
