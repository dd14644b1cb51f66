"""SPINN-style: objectives in the order of the goal's weights, cuts behind activations."""

import pickle
from dataclasses import replace

import pytest
from planner_cases import three_tiers, vgg_like
from served import served
from two_tier_cases import chain_times, graph_and_profile

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.payload_codec import CodecSizes, CodecSpeed
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.spinn import TOLERANCE, Spinn
from edgesplit.errors import PlanError

GRAPH, WORK = vgg_like()
PROFILE = three_tiers(WORK, 50)
LATENCY = Goal(0.0, 0.0, 1.0)
WEIGHTS = ((0.0, 0.0, 1.0), (0.6, 0.1, 0.3), (0.3, 0.0, 0.7), (0.1, 0.8, 0.1))


@pytest.mark.parametrize("weights", WEIGHTS)
@pytest.mark.parametrize("share", [None, 0.2, 0.6])
@pytest.mark.parametrize("seed", range(5))
def test_each_objective_chooses_among_the_nearly_best_of_those_before(weights, share, seed):
    graph, profile = graph_and_profile(seed, servers=2)
    known = figures(graph, profile)
    limit_s = None if share is None else sorted(c[2] for c in known.values())[int(20 * share)]
    goal = Goal(*weights, latency_limit_s=limit_s)
    kept = [plan for plan in known if limit_s is None or known[plan][2] <= limit_s]
    for weight, at in sorted(zip(weights, range(3), strict=True), reverse=True):
        if weight:
            best = min(known[plan][at] for plan in kept)
            kept = [plan for plan in kept if known[plan][at] <= best * (1 + TOLERANCE)]
            last = min(kept, key=lambda plan: known[plan][at])
    assert str(Spinn()(graph, profile, goal)) == last


def figures(graph, profile):
    """{plan: (joules of the device, of all, seconds)}; watts are 6 computing and 2 sending."""
    n, found = len(graph), {}
    for server in profile.names[1:]:
        device_s, server_s, upload_s = chain_times(graph, profile, server)
        ping_s = sum(profile.link(*way).latency_s for way in (("end", server), (server, "end")))
        for cut in range(n):
            local_s, sent_s, remote_s = sum(device_s[:cut]), upload_s[cut], sum(server_s[cut:])
            end_j = 6 * local_s + 2 * sent_s
            seconds = local_s + sent_s + remote_s + ping_s
            found[f"end:0-{cut} | {server}:{cut}-{n}"] = (end_j, end_j + 6 * remote_s, seconds)
    local_s = sum(device_s)
    return found | {f"end:0-{n}": (6 * local_s, 6 * local_s, local_s)}


def test_none_within_the_limit_is_the_fastest():
    goal = Goal(0.6, 0.2, 0.2, latency_limit_s=1e-6)
    assert Spinn()(GRAPH, PROFILE, goal) == Spinn()(GRAPH, PROFILE, LATENCY)


def test_the_goals_limits():
    assert Spinn()(GRAPH, PROFILE, Goal(0.0, 0.0, 1.0, max_stages=1)) == parse_plan("end:0-21")
    none = Goal(memory_bytes={"end": 0, "edge": 0, "cloud": 0})
    with pytest.raises(PlanError, match="cannot be cut in two"):
        Spinn()(GRAPH, PROFILE, none)


def test_cuts_are_behind_activations():
    """Where names tell any: here the least payload is behind a pooling, and is passed by."""
    names = [name.replace("conv", "relu") for name in GRAPH.layers]
    graph = replace(GRAPH, layers=tuple(names))
    goal = Goal(0.0, 0.0, 1.0, min_end_layers=1)
    slow = three_tiers(WORK, 2).without_tiers(["cloud"])
    slow = slow.with_tier(replace(slow.tier("end"), slowdown=50.0))
    free, tied = (Spinn()(one, slow, goal).cuts[0] for one in (GRAPH, graph))
    assert GRAPH.layers[free - 1].startswith("pool")
    assert names[tied - 1].startswith("relu")


def test_times_are_scaled_by_the_last_runs():
    on_edge = parse_plan("end:0-0 | edge:0-21")
    slow = PROFILE.with_tier(replace(PROFILE.tier("edge"), slowdown=30.0))
    assert Spinn()(GRAPH, PROFILE, LATENCY).route[-1] == "edge"
    policy = Spinn().after(GRAPH, PROFILE, served(GRAPH, slow, on_edge))
    assert policy(GRAPH, PROFILE, LATENCY).route[-1] == "cloud"
    assert pickle.loads(pickle.dumps(policy)) == policy


def test_payloads_are_quantised_where_that_is_offered():
    raw = GRAPH.payload_bytes
    sizes = CodecSizes("int8+lz4", tuple(n / 8 for n in raw), (0.001,) * len(raw))
    speed = CodecSpeed("int8+lz4", 0.0, 1e-10, 0.0, 1e-10)
    offered = three_tiers(WORK, 5).with_codecs([sizes], {"end": [speed], "edge": [speed]})
    granted = replace(LATENCY, max_accuracy_loss=0.01)
    plan = Spinn()(GRAPH, offered, granted)
    assert plan.codecs == ("int8+lz4",)
    assert CostModel(GRAPH, offered, granted).cost(plan).feasible
    assert set(Spinn()(GRAPH, offered, LATENCY).codecs) <= {"as-is"}
    assert set(Spinn()(GRAPH, three_tiers(WORK, 5), granted).codecs) <= {"as-is"}
