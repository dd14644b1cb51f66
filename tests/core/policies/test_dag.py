"""Minimum cuts of small graphs, against every split there is."""

from itertools import product

import numpy as np
import pytest

from edgesplit.core.policies.dag import Dag
from edgesplit.core.policies.max_flow import FlowNetwork
from edgesplit.errors import PlanError


def random_dag(generator, n):
    """Vertex 0 is the input; each other one follows one or more before it."""
    arcs = set()
    for v in range(1, n):
        for u in generator.choice(v, generator.integers(1, min(v, 3) + 1), replace=False).tolist():
            arcs.add((u, v))
    times = generator.integers(0, 10, (3, n)).astype(float)
    times[:2, 0] = 0.0
    edge, cloud, upload = (tuple(row.tolist()) for row in times)
    return Dag(edge, cloud, upload, tuple(sorted(arcs)))


def every_split(dag):
    """Vertices on the edge, the input among them, with nothing that comes back."""
    for bits in product((True, False), repeat=len(dag) - 1):
        side = frozenset([0, *(v for v, kept in enumerate(bits, 1) if kept)])
        if all(u in side or v not in side for u, v in dag.arcs):
            yield side


@pytest.mark.parametrize("seed", range(60))
def test_the_cheapest_of_all_splits(seed):
    generator = np.random.default_rng(seed)
    dag = random_dag(generator, int(generator.integers(2, 10)))
    for edge, cloud in ((1.0, 1.0), (4.0, 0.5), (0.125, 2.0)):

        def weighed(side, edge=edge, cloud=cloud):
            edge_s, upload_s, cloud_s = dag.seconds(side)
            return edge * edge_s + upload_s + cloud * cloud_s

        found = dag.cheapest(edge, cloud)
        assert found in set(every_split(dag))
        assert weighed(found) == pytest.approx(min(map(weighed, every_split(dag))))


def test_an_upload_counts_once():
    """The input goes to both branches for 4; cut for each of them it would be 8, and stay."""
    fork = Dag((0, 3, 3, 0), (0, 0, 0, 0), (4, 9, 9, 0), ((0, 1), (0, 2), (1, 3), (2, 3)))
    assert fork.seconds(fork.cheapest()) == (0, 4, 0)


def test_nothing_comes_back():
    """Vertex 1 is slow on the edge, 2 in the cloud; there and back would cost nothing."""
    dag = Dag((0, 9, 0), (0, 0, 9), (0, 0, 0), ((0, 1), (1, 2)))
    assert sum(dag.seconds(dag.cheapest())) == 9


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (((), (), (), ()), "three times, given 0"),
        (((1,), (1, 2), (1,), ()), "given 1, 2 and 1"),
        (((1, 1), (1, 1), (1, 1), ((1, 0),)), r"to a later one of 2, given \(1, 0\)"),
        (((1, 1), (1, 1), (1, 1), ((1, 2),)), "to a later one"),
    ],
)
def test_what_is_no_graph(fields, said):
    with pytest.raises(PlanError, match=said):
        Dag(*fields)


def test_what_cannot_be_cut():
    inf = float("inf")
    with pytest.raises(OverflowError, match="may not be cut"):
        FlowNetwork(3, [(0, 1, inf), (1, 2, inf)]).source_side(0, 2)
    assert FlowNetwork(4, [(0, 1, 2.0), (1, 2, 1.0)]).source_side(0, 2) == {0, 1}
    assert FlowNetwork(3, [(0, 1, 2.0)]).source_side(0, 2) == {0, 1}
