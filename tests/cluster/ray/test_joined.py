"""A labelled Ray cluster of three nodes on this machine, joined by address."""

import pytest
import ray
import torch
from inside_session import actor_of
from labelled_cluster import labelled_cluster

from edgesplit import Config, EdgeSplit
from edgesplit.cluster.ray.join import connect
from edgesplit.errors import ClusterError
from experiments.shared.small_net import small_net


@pytest.fixture(scope="module")
def cluster():
    with labelled_cluster("end", "edge", "cloud") as running:
        yield running


def test_actors_land_on_their_tiers_and_the_result_is_right(cluster):
    def node_id(actor):
        return ray.get_runtime_context().get_node_id()

    model, x = small_net(), torch.randn(1, 3, 32, 32)
    with EdgeSplit(model, address=cluster.address, config=Config(threads=1)) as split:
        split.infer(x)
        y = split.infer_on("end:0-3 | edge:3-5 | cloud:5-8", x)
        with torch.no_grad():
            assert torch.allclose(y, model.eval()(x), rtol=1e-5, atol=1e-6)
        assert not split.records()["emulated"].any()
        assert all(tier.provenance.startswith("measured 2") for tier in split.profile.tiers)
        tier_of_node = {node["NodeID"]: node["Labels"]["tier"] for node in ray.nodes()}
        for tier in ("end", "edge", "cloud"):
            node = ray.get(actor_of(split, tier).__ray_call__.remote(node_id), timeout=30)
            assert tier_of_node[node] == tier


def test_a_missing_tier_names_the_labels_that_were_found(cluster):
    with pytest.raises(ClusterError, match=r"no node for tier fog.*\['cloud', 'edge', 'end'\]"):
        connect(cluster.address, ("end", "fog"))


def test_an_address_where_nothing_listens_is_an_error_soon():
    if ray.is_initialized():
        ray.shutdown()
    with pytest.raises(ClusterError, match=r"no Ray head answers at '127\.0\.0\.1:1'"):
        EdgeSplit(small_net(), address="127.0.0.1:1").open()
