"""Edgent-style without exits: Neurosurgeon's cut, but for loads, which it does not see."""

from dataclasses import replace

import pytest
from planner_cases import three_tiers, vgg_like
from two_tier_cases import graph_and_profile

from edgesplit.core.goal import Goal
from edgesplit.core.policies.edgent import Edgent
from edgesplit.core.policies.neurosurgeon import Neurosurgeon


def unloaded(profile):
    return replace(profile, tiers=tuple(replace(tier, slowdown=1.0) for tier in profile.tiers))


@pytest.mark.parametrize("seed", range(20))
def test_without_load_it_is_neurosurgeon(seed):
    graph, profile = graph_and_profile(seed, servers=2)
    plan = Edgent()(graph, profile, Goal())
    assert plan == Neurosurgeon()(graph, unloaded(profile), Goal())


def test_a_deadline_changes_nothing():
    graph, work = vgg_like()
    profile = three_tiers(work, 50)
    plans = [Edgent()(graph, profile, Goal(latency_limit_s=limit)) for limit in (None, 1e-6, 9.0)]
    assert plans[0] == plans[1] == plans[2]


def test_it_follows_the_bandwidth():
    graph, work = vgg_like()
    slow, quick = (three_tiers(work, mbit).without_tiers(["cloud"]) for mbit in (0.5, 500))
    assert Edgent()(graph, slow, Goal()).route == ("end",)
    assert Edgent()(graph, quick, Goal()).route == ("end", "edge")
