"""JointDNN-style, cut by cut by hand; one crossing is what a plan can say of its path."""

from dataclasses import replace

import numpy as np
import pytest
from planner_cases import three_tiers, vgg_like
from two_tier_cases import chain_times, graph_and_profile

from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.jointdnn import JointDnn


def costs(graph, profile):
    """{plan: (seconds, joules of the mobile)}: watts are 6 computing, 2 sending, 1 receiving."""
    n, found = len(graph), {}
    for server in profile.names[1:]:
        device_s, server_s, upload_s = chain_times(graph, profile, server)
        reply_s = graph.output_bytes / profile.link(server, "end").bytes_per_s
        for cut in range(n):
            local_s, sent_s = sum(device_s[:cut]), upload_s[cut]
            seconds = local_s + sent_s + sum(server_s[cut:]) + reply_s
            joules = 6 * local_s + 2 * sent_s + reply_s
            found[f"end:0-{cut} | {server}:{cut}-{n}"] = (seconds, joules)
    found[f"end:0-{n}"] = (sum(device_s), 6 * sum(device_s))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_least_seconds(seed):
    graph, profile = graph_and_profile(seed, servers=2)
    known = costs(graph, profile)
    best = min(known, key=lambda plan: known[plan][0])
    assert JointDnn()(graph, profile, Goal()) == parse_plan(best)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("seed", range(20))
def test_least_joules_within_the_limit(seed, share):
    graph, profile = graph_and_profile(seed, servers=2)
    known = costs(graph, profile)
    seconds = sorted(cost[0] for cost in known.values())
    limit_s = seconds[int(share * (len(seconds) - 1))] * (1 + 1e-9)
    in_time = [plan for plan in known if known[plan][0] <= limit_s]
    best = min(in_time, key=lambda plan: known[plan][::-1])
    goal = Goal(latency_limit_s=limit_s)
    assert JointDnn("energy")(graph, profile, goal) == parse_plan(best)


def test_a_limit_that_no_cut_keeps_gives_the_fastest():
    graph, profile = graph_and_profile(0)
    goal = Goal(latency_limit_s=1e-9)
    assert JointDnn("energy")(graph, profile, goal) == JointDnn()(graph, profile, goal)


def test_a_path_to_and_fro_is_beyond_a_plan():
    """The mobile is quick at the ends, the cloud between: two crossings would take half of it."""
    graph, work = vgg_like()
    profile = three_tiers(work, 1e6, direct=False).without_tiers(["cloud"])
    end_s = np.where(np.arange(21) % 20 == 0, 0.0, 1.0)
    edge_s = np.where(np.arange(21) == 20, 1.0, 0.01)
    tiers = zip(profile.tiers, (end_s, edge_s), strict=True)
    profile = replace(profile, tiers=tuple(replace(t, layer_s=tuple(s)) for t, s in tiers))
    plan = JointDnn()(graph, profile, Goal())
    assert str(plan) == "end:0-1 | edge:1-21"
