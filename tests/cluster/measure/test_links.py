"""Which links a session has, from what made-up actors say of reaching each other."""

import itertools

import pytest

from edgesplit.cluster.actors.workload import TierHandle
from edgesplit.cluster.measure.links import LinkWarning, probe_links
from edgesplit.core.profile import Link
from edgesplit.errors import ClusterError

TIERS = ("end", "edge", "cloud")
PAIRS = list(itertools.permutations(TIERS, 2))


class Method:
    def __init__(self, answer):
        self.remote = answer


class Actor:
    """Answers at once. reaches: per target what it says at its first try, its second, ..."""

    def __init__(self, incarnations=("one",), **reaches):
        which = itertools.chain(incarnations, itertools.repeat(incarnations[-1]))
        says = {tier: itertools.chain(a, itertools.repeat(a[-1])) for tier, a in reaches.items()}
        self.incarnation = Method(lambda: next(which))
        self.reaches = Method(lambda there, timeout_s: next(says[there[0]]) if says else True)
        self.link = Method(lambda there, n_bytes, timeout_s: Link(self.tier, there[0], 0.001, 1e6))


def links(**actors):
    actors = {tier: actors.get(tier, Actor()) for tier in TIERS}
    handles = {tier: TierHandle(actor, f"{tier}:1") for tier, actor in actors.items()}
    for tier, actor in actors.items():
        actor.tier = tier
    found = probe_links(handles, PAIRS, "emulated, ", lambda call, what: call)
    assert {link.provenance for link in found} <= {"emulated, given"}
    return {link.pair for link in found}


def test_all_that_reach_each_other():
    assert links() == set(PAIRS)


def test_a_way_without_the_way_back_is_no_link():
    """A reply has to come back."""
    with pytest.warns(LinkWarning, match="from edge to cloud, so"):
        found = links(edge=Actor(end=[True], cloud=[False]))
    assert found == set(PAIRS) - {("edge", "cloud"), ("cloud", "edge")}


def test_a_tier_that_stood_still_is_tried_again():
    assert links(edge=Actor(end=[True], cloud=[False, True])) == set(PAIRS)


def test_the_silence_of_a_tier_that_was_started_again_says_nothing_of_its_links():
    with pytest.raises(ClusterError, match="ended while links were probed"):
        links(edge=Actor(end=[True], cloud=[False, True]), cloud=Actor(["one", "other"]))
