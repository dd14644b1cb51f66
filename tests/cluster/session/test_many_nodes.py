"""Several nodes of one role: a session considers them, and uses those that join while it runs."""

import contextlib

import pytest
import torch
from labelled_cluster import NODE, labelled_cluster
from waiting import until

from edgesplit import Config, EdgeSplit
from edgesplit.errors import ClusterError, PlanError
from experiments.shared.small_net import small_net

CONFIG = Config(threads=1, runtimes=("torch",), meters={"edge": "fixed:7", "edge-2": "fixed:8"})
N = 8


@pytest.fixture(scope="module")
def cluster():
    with labelled_cluster("end", "cloud") as running:
        for name in ("edge-1", "edge-2"):
            running.add_node(**NODE, labels={"tier": "edge", "node": name})
        running.wait_for_nodes()
        yield running


@pytest.fixture(scope="module")
def x():
    return torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def split(cluster, x):
    with EdgeSplit(small_net(), address=cluster.address, config=CONFIG) as running:
        running.infer(x)
        yield running


@contextlib.contextmanager
def joined(cluster, name):
    """One more edge node meanwhile."""
    node = cluster.add_node(**NODE, labels={"tier": "edge", "node": name})
    try:
        cluster.wait_for_nodes()
        yield node
    finally:
        if node in cluster.list_all_nodes():
            cluster.remove_node(node)


def test_plans_name_nodes_and_every_one_gives_the_same_bits(split, x):
    assert split.profile.names[0] == "end"
    assert set(split.profile.names) >= {"end", "edge-1", "edge-2", "cloud"}
    whole = split.infer_on(f"end:0-{N}", x)
    for plan in (
        "end:0-3 | edge-2:3-8",
        "end:0-2 | edge-1:2-4 | cloud:4-8",
        "end:0-1 | edge-1:1-3 | edge-2:3-5 | cloud:5-8",
    ):
        assert torch.equal(split.infer_on(plan, x), whole)
        assert [timing.tier for timing in split.last_record.timings] == [
            stage.partition(":")[0].strip() for stage in plan.split("|")
        ]


def test_what_is_given_for_a_role_holds_for_its_nodes_and_a_name_goes_first(split):
    watts = {tier.name: tier.power.compute_w for tier in split.profile.tiers}
    assert (watts["edge-1"], watts["edge-2"]) == (7.0, 8.0)


def test_a_plan_has_no_more_stages_than_allowed(cluster, x):
    config = Config(threads=1, runtimes=("torch",), max_stages=1)
    with EdgeSplit(small_net(), address=cluster.address, config=config) as one:
        one.infer(x)
        assert str(one.plan) == f"end:0-{N}"


def test_a_policy_of_a_role_takes_one_of_its_nodes(cluster, x):
    for policy, nodes in {"edge-only": ("edge-1", "edge-2"), "edge-2-only": ("edge-2",)}.items():
        with EdgeSplit(small_net(), policy=policy, address=cluster.address, config=CONFIG) as fixed:
            fixed.infer(x)
            assert fixed.plan.route[-1] in nodes


def test_a_node_that_joins_is_used_and_one_that_leaves_is_done_without(cluster, split, x):
    whole = split.infer_on(f"end:0-{N}", x)
    with pytest.raises(PlanError, match="edge-9"):
        split.infer_on("end:0-3 | edge-9:3-8", x)
    with joined(cluster, "edge-9") as node:
        until(lambda: "edge-9" in split.profile.names, 90)
        assert torch.equal(split.infer_on("end:0-3 | edge-9:3-8", x), whole)
        assert split.last_record.why == ""
        cluster.remove_node(node)
        assert torch.equal(split.infer_on("end:0-3 | edge-9:3-8", x), whole)
        assert split.last_record.why
    assert torch.equal(split.infer(x), whole)


def test_several_that_could_hold_the_input_are_named(cluster):
    with (
        pytest.raises(ClusterError, match=r"several nodes are 'edge' \(edge-1, edge-2\)"),
        EdgeSplit(
            small_net(), address=cluster.address, config=Config(tiers=("edge", "cloud"))
        ) as none,
    ):
        none.infer(torch.zeros(1, 3, 32, 32))
    config = Config(tiers=("edge-2", "cloud"), threads=1, runtimes=("torch",))
    with EdgeSplit(small_net(), address=cluster.address, config=config) as named:
        named.infer(torch.zeros(1, 3, 32, 32))
        assert named.profile.names == ("edge-2", "cloud")
