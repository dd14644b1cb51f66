"""Neurosurgeon's rule, cut by cut by hand; and what it does where others would act."""

from dataclasses import replace

import numpy as np
import pytest
from planner_cases import three_tiers, vgg_like
from two_tier_cases import POWER, chain_times, graph_and_profile

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.neurosurgeon import Neurosurgeon
from edgesplit.core.policies.regression import regressed_s
from edgesplit.core.profile import Profile, Tier
from edgesplit.errors import PlanError

KNOWS = Neurosurgeon(predictor="profile")


def totals(graph, profile, server):
    """Of each cut the device's, the upload's and the server's seconds."""
    device_s, server_s, upload_s = chain_times(graph, profile, server)
    for cut in range(len(graph) + 1):
        sent_s = upload_s[cut] if cut < len(graph) else 0.0
        yield cut, sum(device_s[:cut]), sent_s, sum(server_s[cut:])


@pytest.mark.parametrize("seed", range(40))
def test_the_cut_of_least_latency(seed):
    graph, profile = graph_and_profile(seed, servers=2)
    found = {}
    for server in profile.names[1:]:
        for cut, device_s, sent_s, server_s in totals(graph, profile, server):
            plan = f"end:0-{cut} | {server}:{cut}-8" if cut < 8 else "end:0-8"
            found[plan] = device_s + sent_s + server_s
    assert KNOWS(graph, profile, Goal()) == parse_plan(min(found, key=found.get))


@pytest.mark.parametrize("seed", range(40))
def test_the_cut_of_least_energy_of_the_device(seed):
    graph, profile = graph_and_profile(seed)
    found = {
        cut: 6.0 * device_s + 2.0 * sent_s
        for cut, device_s, sent_s, _ in totals(graph, profile, "server-0")
    }
    plan = Neurosurgeon("energy", "profile")(graph, profile, Goal())
    assert plan.stages[0].stop == min(found, key=found.get)


def test_of_equal_energies_the_quicker_server():
    graph, profile = graph_and_profile(3, servers=2)
    link = profile.link("end", "server-0")
    profile = profile.with_link(replace(link, target="server-1"))
    slow = Profile(
        tuple(replace(t, slowdown=9.0 if t.name == "server-0" else 1.0) for t in profile.tiers),
        profile.links,
    )
    slow = slow.with_tier(replace(slow.tier("end"), slowdown=99.0))
    assert Neurosurgeon("energy")(graph, slow, Goal()).route == ("end", "server-1")


def test_watts_are_those_of_the_boundary():
    """An idle draw of 4 W makes computing cheap beside sending, unless it counts itself."""
    graph = Graph("two", ("a", "b"), (100, 100, 10), (1, 1))
    _, profile = graph_and_profile(0, n=2)
    tiers = (
        Tier("end", (1.0, 1.0), replace(POWER, compute_w=5.0, transmit_w=6.0, idle_w=4.0)),
        Tier("server-0", (0.1, 0.1), POWER),
    )
    link = profile.link("end", "server-0")
    profile = replace(profile, tiers=tiers).with_link(replace(link, bytes_per_s=80.0))
    policy = Neurosurgeon("energy")
    assert policy(graph, profile, Goal()).route == ("end",)  # 2 x 1 W against 1.25 s x 2 W
    assert policy(graph, profile, Goal(boundary="gross")).route == ("end", "server-0")


def test_only_the_servers_load_counts_by_regression():
    graph, work = vgg_like()
    profile = three_tiers(work, 50)
    plan = Neurosurgeon()(graph, profile, Goal())
    hot = profile.with_tier(replace(profile.tier("end"), slowdown=5.0))
    assert Neurosurgeon()(graph, hot, Goal()) == plan
    busy = profile
    for name in ("edge", "cloud"):
        busy = busy.with_tier(replace(profile.tier(name), slowdown=1000.0))
    assert plan.route != ("end",)
    assert Neurosurgeon()(graph, busy, Goal()) == parse_plan("end:0-21")


def test_relays_where_no_link_is_direct():
    graph, work = vgg_like()
    profile = three_tiers(work, 500, direct=False)
    slow = profile.with_tier(replace(profile.tier("edge"), slowdown=1e4))
    plan = KNOWS(graph, slow, Goal())
    assert plan.route == ("end", "edge", "cloud")
    assert len(plan.stages[1]) == 0


def test_the_goals_limits():
    graph, profile = graph_and_profile(1)
    assert KNOWS(graph, profile, Goal(min_end_layers=5)).stages[0].stop >= 5
    assert KNOWS(graph, profile, Goal(max_stages=1)).route == ("end",)
    assert KNOWS(graph, profile, Goal(memory_bytes={"server-0": 20})).stages[0].stop >= 6
    assert KNOWS(graph, profile, Goal(memory_bytes={"end": 30})).stages[0].stop <= 3
    with pytest.raises(PlanError, match="cannot be cut in two within memory_bytes"):
        KNOWS(graph, profile, Goal(memory_bytes={"end": 30, "server-0": 20}))
    alone = profile.without(["server-0"])
    assert KNOWS(graph, alone, Goal()) == parse_plan("end:0-8")


def layers_of(kind, layer_s, macs):
    n = len(macs)
    graph = Graph(kind, tuple(f"{kind}{k}" for k in range(n)), (8,) * (n + 1), (1,) * n, macs)
    return graph, Profile((Tier("end", layer_s, POWER),), ())


def test_a_line_is_found():
    macs = (100, 700, 300, 900, 400)
    graph, profile = layers_of("conv", tuple(0.1 + 1e-3 * m for m in macs), macs)
    assert regressed_s(graph, profile)[0] == pytest.approx(profile.tiers[0].layer_s)


def test_a_plateau_is_found():
    """Seconds that grow with the logarithm: no line comes as near."""
    macs = (10, 100, 1000, 10_000, 100_000)
    layer_s = tuple(0.1 + 0.2 * float(np.log1p(m)) for m in macs)
    graph, profile = layers_of("conv", layer_s, macs)
    assert regressed_s(graph, profile)[0] == pytest.approx(layer_s)


def test_few_layers_are_their_mean():
    graph, profile = layers_of("linear", (1.0, 3.0), (10, 20))
    assert regressed_s(graph, profile)[0] == pytest.approx([2.0, 2.0])


def test_of_vgg_the_sums_come_near():
    """Seconds in proportion to multiply-adds; the graph's weights stand in where it has none."""
    graph, work = vgg_like()
    profile = three_tiers(work, 50)
    for known in (graph, replace(graph, macs=tuple(work))):
        predicted = regressed_s(known, profile)
        measured = np.array([tier.layer_s for tier in profile.tiers])
        assert predicted.sum(axis=1) == pytest.approx(measured.sum(axis=1), rel=0.02)
    assert predicted[:, 1] == pytest.approx(measured[:, 1], rel=0.02)
