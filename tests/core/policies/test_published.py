"""Every published policy on random profiles: plans that the product can run, or a PlanError."""

import pickle
from dataclasses import replace

import numpy as np
import pytest

from edgesplit.core.cost import CostModel
from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.plan import Plan
from edgesplit.core.policies.named import policy_named
from edgesplit.core.policies.published import PUBLISHED
from edgesplit.core.power import Power
from edgesplit.core.profile import Link, Profile, Tier
from edgesplit.errors import PlanError

KINDS = ("conv2d", "relu", "max_pool2d", "linear", "add", "batch_norm")
LIMITS = (
    {},
    {"min_end_layers": 2},
    {"max_stages": 2},
    {"latency_limit_s": 0.05},
    {"memory_bytes": {"t0": 0}},
    {"memory_bytes": {"t0": 500, "t1": 900}},
    {"memory_bytes": {"t1": 0}, "min_end_layers": 1, "boundary": "gross"},
)


def problem(seed):
    """2 to 5 tiers, links missing, runtimes, memory limits; layers of a few kinds."""
    generator = np.random.default_rng(seed)
    n, tiers = int(generator.integers(1, 13)), int(generator.integers(2, 6))
    layers = tuple(f"m.{k}.{generator.choice(KINDS)}" for k in range(n))
    sizes = tuple(generator.integers(0, 2000, n + 1).tolist())
    weights = tuple(generator.integers(0, 300, n).tolist())
    macs = tuple(generator.integers(0, 10**6, n).tolist()) if seed % 3 else ()
    graph = Graph("random", layers, sizes, weights, macs)
    names = [f"t{k}" for k in range(tiers)]
    links = []
    for u in range(tiers):
        for v in range(u + 1, tiers):
            if generator.random() < 0.6:
                for pair in ((names[u], names[v]), (names[v], names[u])):
                    rate = float(generator.choice([1e2, 1e4, 1e6, np.inf]))
                    links.append(Link(*pair, float(generator.uniform(0, 0.1)), rate))
    found = tuple(tier(generator, name, n) for name in names)
    weights = [(0.6, 0.2, 0.2), (0.0, 0.0, 1.0), (1.0, 0.0, 0.0)][seed % 3]
    return graph, Profile(found, tuple(links)), Goal(*weights, **LIMITS[seed % len(LIMITS)])


def tier(generator, name, n):
    def row():
        return tuple(generator.uniform(0, 0.1, n).tolist())

    rows = (LayerTimes("onnx", row()),) if generator.random() < 0.5 else ()
    made = Tier(name, row(), Power(5.0, 2.0, 1.0, 0.5), layer_times=rows)
    made = replace(made, slowdown=float(generator.uniform(0.5, 5)))
    return made.on("onnx") if rows and generator.random() < 0.5 else made


@pytest.mark.parametrize("name", PUBLISHED)
@pytest.mark.parametrize("first", range(0, 210, 70))
def test_plans_that_can_run(name, first):
    policy = PUBLISHED[name].policy
    answered = 0
    for seed in range(first, first + 70):
        graph, profile, goal = problem(seed)
        try:
            plan = policy(graph, profile, goal)
        except PlanError:
            continue
        assert isinstance(plan, Plan)
        assert plan.check(graph, profile.names) is plan
        cost = CostModel(graph, profile, goal).cost(plan)
        assert np.isfinite(cost.latency_s)
        assert plan == policy(*problem(seed)[:3]), "the same question has the same answer"
        answered += 1
    assert answered >= 35


@pytest.mark.parametrize("name", PUBLISHED)
def test_named(name):
    known = PUBLISHED[name]
    assert policy_named(name, ("end", "edge")) is known.policy
    assert known.name == name
    assert known.source
    assert known.basis
    assert pickle.loads(pickle.dumps(known.policy)) == known.policy


@pytest.mark.parametrize("name", PUBLISHED)
def test_style_stands_where_the_source_was_not_read(name):
    was_read = PUBLISHED[name].basis.startswith(("the source", "the full text"))
    assert name.endswith("-style") != was_read
