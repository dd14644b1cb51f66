"""Clusters of several forms, emulated on one machine: planned, and run along every route."""

import itertools

import pytest
import torch

from edgesplit import Config, EdgeSplit, Emulation, LinkShape
from edgesplit.core.plan import plan_along
from experiments.shared.small_net import small_net

LINK = LinkShape(40e6, 0.0005)
X = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(3))
# Links of each, both ways; the first tier holds the input.
TOPOLOGIES = {
    "chain": ["end-1 edge-1", "edge-1 cloud"],
    "star": ["end-1 edge-1", "end-1 edge-2", "end-1 cloud"],
    "two edges in a row": ["end-1 edge-1", "edge-1 edge-2", "edge-2 cloud"],
    "mesh": ["end-1 edge-1", "end-1 edge-2", "edge-1 edge-2", "edge-1 cloud", "edge-2 cloud"],
    "edge without cloud": ["end-1 edge-1"],
    "two edges beside each other": ["end-1 edge-1", "end-1 edge-2"],
}


@pytest.fixture(scope="module", autouse=True)
def _cluster():
    """Kept between the sessions."""
    with EdgeSplit(small_net(), config=Config(threads=1, runtimes=("torch",))) as split:
        split.open()
        yield


def routes(pairs):
    """Every way from the first tier on, without visiting one twice."""
    onward = {}
    for one, other in pairs:
        onward.setdefault(one, []).append(other)
        onward.setdefault(other, []).append(one)

    def beyond(route):
        yield route
        for tier in onward[route[-1]]:
            if tier not in route:
                yield from beyond((*route, tier))

    return [route for route in beyond(("end-1",)) if len(route) > 1]


@pytest.mark.parametrize("links", TOPOLOGIES.values(), ids=TOPOLOGIES)
def test_every_route_is_run_and_the_best_is_planned(links):
    pairs = [tuple(link.split()) for link in links]
    tiers = tuple(dict.fromkeys(itertools.chain(*pairs)))
    shapes = {way: LINK for pair in pairs for way in (pair, pair[::-1])}
    config = Config(
        tiers=tiers,
        threads=1,
        runtimes=("torch",),
        emulation=Emulation({"end-1": 5.0, "edge-1": 2.0}, shapes),
    )
    with EdgeSplit(small_net(), config=config) as split:
        split.infer(X)
        assert set(split.profile.names) == set(tiers)
        assert {(link.source, link.target) for link in split.profile.links} == set(shapes)
        n = len(split.graph)
        whole = split.infer_on(f"end-1:0-{n}", X)
        assert torch.equal(split.infer(X), whole)
        for route in routes(pairs):
            for first in (0, 3):
                cuts = [min(n, first + k) for k in range(len(route) - 1)]
                plan = plan_along(list(route), cuts, n)
                assert torch.equal(split.infer_on(str(plan), X), whole), plan
        assert split.plan.route in [("end-1",), *routes(pairs)]
