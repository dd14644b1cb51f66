"""ANS (muLinUCB): it finds the best cut, leaves it when it is no longer, and is a value."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from planner_cases import mobilenet_like, three_tiers, vgg_like
from served import served

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.plan import parse_plan
from edgesplit.core.policies.ans import Ans
from edgesplit.core.policies.cut_features import LARGEST, cut_features
from edgesplit.core.policies.learning import LearningPolicy

GRAPH, WORK = vgg_like()
# Poolings multiply nothing.
LAYERS = zip(GRAPH.layers, WORK, strict=True)
MACS = [0 if name.startswith("pool") else work for name, work in LAYERS]
GRAPH = replace(GRAPH, macs=tuple(MACS))
PROFILE = three_tiers(WORK, 50)
SLOW_EDGE = PROFILE.with_tier(replace(PROFILE.tier("edge"), slowdown=10.0))
GOAL = Goal()


def pair(wifi_mbit):
    """Two machines, as in the paper."""
    return three_tiers(WORK, wifi_mbit, direct=False).without_tiers(["cloud"])


def best_arm_s(model):
    """Seconds of the best plan with one cut."""
    n, direct = len(model.graph), model.profile.names[1:]
    texts = [f"end:0-{cut} | {server}:{cut}-{n}" for server in direct for cut in range(n)]
    return min(model.cost(parse_plan(text)).latency_s for text in (f"end:0-{n}", *texts))


def regrets(worlds, policy, graph=GRAPH, seed=1):
    """Relative regret of each request against the best cut of its world; plans; what is learned.

    The policy believes the first world all the time; what it sees is noisy by 5 %.
    """
    believed, generator = worlds[0], np.random.default_rng(seed)
    found, plans = [], []
    models = {id(world): CostModel(graph, world, GOAL) for world in worlds}
    best_s = {key: best_arm_s(model) for key, model in models.items()}
    for world in worlds:
        plan = policy(graph, believed, GOAL)
        found.append(models[id(world)].cost(plan).latency_s / best_s[id(world)] - 1)
        plans.append(plan)
        timings = served(graph, world, plan, lambda: generator.normal(1.0, 0.05))
        policy = policy.after(graph, believed, timings)
    return np.array(found), plans, policy


@pytest.mark.parametrize("wifi_mbit", [5, 50, 200])
@pytest.mark.parametrize("has_macs", [True, False])
def test_mean_regret_goes_to_0(wifi_mbit, has_macs):
    graph = GRAPH if has_macs else replace(GRAPH, macs=())
    found, *_ = regrets([three_tiers(WORK, wifi_mbit)] * 600, Ans(), graph)
    means = [found[:n].mean() for n in (50, 150, 300, 600)]
    assert means == sorted(means, reverse=True)
    assert means[-1] < 0.3 * means[0]
    assert found[300:].mean() < 0.01


def test_mobilenet_at_a_real_cut():
    graph, work = mobilenet_like()
    graph = replace(graph, macs=tuple(work))
    found, plans, _ = regrets([three_tiers(work, 200)] * 600, Ans(), graph)
    assert found[400:].mean() < 0.02
    assert str(plans[-1]) == "end:0-22 | edge:22-54"


def test_where_staying_is_best_it_leaves_now_and_then():
    """Every ceil(T^(1/4))-th request; T doubles when it is passed, and the count begins anew."""
    found, plans, _ = regrets([pair(0.1)] * 700, Ans())
    away = [n for n, plan in enumerate(plans, 1) if len(plan.stages) > 1 and n > 40]
    until_200 = [n for n in away if n <= 200]
    assert until_200 == list(range(44, 201, 4))
    assert [n for n in away if 201 <= n <= 601] == [201, *range(206, 602, 5)]
    assert found[40:].max() < 10


def test_it_leaves_a_server_that_slows_down():
    found, plans, _ = regrets([PROFILE] * 200 + [SLOW_EDGE] * 200, Ans())
    assert plans[199].route[-1] == "edge"
    assert plans[-1].route[-1] == "cloud"
    assert (found[210:] > 0.01).mean() < 0.02


def test_it_comes_home_from_a_link_that_slows_down():
    found, plans, _ = regrets([pair(50)] * 100 + [pair(0.5)] * 200, Ans())
    assert plans[99].route == ("end", "edge")
    near = {"end:0-21", "end:0-20 | edge:20-21", "end:0-19 | edge:19-21"}
    assert {str(plan) for plan in plans[-100:]} <= near
    assert found[-100:].mean() < 0.1  # what is left is forced exploration


def test_deterministic_and_a_value():
    first, second = (regrets([PROFILE] * 60, Ans(seed=3)) for _ in range(2))
    assert first[1] == second[1]
    policy = first[2]
    assert policy == second[2]
    assert pickle.loads(pickle.dumps(policy)) == policy
    assert isinstance(policy, LearningPolicy)


def test_the_first_diagonal_is_seeded_and_whole():
    one_cut = served(GRAPH, PROFILE, parse_plan("end:0-20 | edge:20-21"))
    [known] = Ans().after(GRAPH, PROFILE, one_cut).servers
    features = cut_features(GRAPH, PROFILE.tiers[0])[20]
    first = np.array(known.gram).reshape(7, 7) - np.outer(features, features)
    diagonal = np.round(np.diag(first), 3)
    assert set(diagonal) <= set(range(1, 9))
    assert known.moment == pytest.approx(features * one_cut[0].hop_s * 1e3)
    others = {Ans(seed).after(GRAPH, PROFILE, one_cut).servers for seed in range(5)}
    assert len(others) == 5


def test_what_has_no_single_cut_teaches_nothing():
    split = parse_plan("end:0-3 | edge:3-9 | cloud:9-21")
    for timings in (
        served(GRAPH, PROFILE, split),
        served(GRAPH, PROFILE, parse_plan("end:0-21")),
        (replace(served(GRAPH, PROFILE, parse_plan("end:0-21"))[0], failed_over="edge silent"),),
        (),
    ):
        assert Ans().after(GRAPH, PROFILE, timings) == Ans(frame=2)


def test_a_relay_is_on_the_way():
    chain = three_tiers(WORK, 50, direct=False)
    plan = parse_plan("end:0-0 | edge:0-0 | cloud:0-21")
    assert [s.server for s in Ans().after(GRAPH, chain, served(GRAPH, chain, plan)).servers] == [
        "cloud"
    ]


def test_features():
    features = cut_features(GRAPH, PROFILE.tiers[0])
    assert features.shape == (22, 7)
    assert features[-1].tolist() == [0.0] * 7
    assert features.max(axis=0).tolist() == pytest.approx([LARGEST] * 7)
    assert features[18, [0, 1]].tolist() == [0.0, 0.0]  # behind the convolutions
    assert features[0, 3] == LARGEST
    assert features[19, 3] == pytest.approx(LARGEST * 2 / 3)  # two of three linear layers
