"""Names of a cluster's nodes: made-up answers of ray.nodes(), and a real one."""

import ray
from hypothesis import given
from hypothesis import strategies as st
from labelled_cluster import NODE, labelled_cluster

from edgesplit.cluster.ray.nodes import Node, nodes_of
from edgesplit.core.plan import is_tier_name

ID = "07ac31be00"


def row(ray_id=ID, cpus=4.0, **labels):
    return {
        "NodeID": ray_id,
        "NodeManagerAddress": "10.0.0.5",
        "Resources": {"CPU": cpus, "memory": 1e9},
        "Labels": {"ray.io/node-id": ray_id, **labels},
    }


def names(*rows):
    """{Ray's id: name}"""
    return {node.ray_id: node.name for node in nodes_of(rows)}


def test_a_node_as_its_labels_have_it():
    found = nodes_of([row(tier="edge", node="edge-2")])
    selector = {"node": "edge-2"}
    assert found == (Node("edge-2", "edge", ID, "10.0.0.5", 4, 0, selector),)
    for labels, selector in (
        ({"tier": "edge"}, {"tier": "edge"}),
        ({"tier": "edge", "node": "edge"}, {"node": "edge"}),
    ):
        assert nodes_of([row(**labels)])[0].selector == selector
    two = nodes_of([row("aa11", tier="edge"), row("bb22", tier="edge")])
    assert [one.selector for one in two] == [{"ray.io/node-id": "aa11"}, {"ray.io/node-id": "bb22"}]


def test_a_cluster_of_one_node_per_tier_is_called_as_before():
    rows = [row("aa11", tier="cloud"), row("bb22", tier="end"), row("cc33", tier="edge")]
    assert [(n.name, n.role) for n in nodes_of(rows)] == [
        ("cloud", "cloud"),
        ("edge", "edge"),
        ("end", "end"),
    ]


def test_a_node_without_cpus_for_ray_has_one():
    assert [n.cpus for n in nodes_of([row(cpus=0.0, tier="end"), row("b" * 10, 0.5)])] == [1, 1]


def test_nodes_without_a_name_of_their_own_are_told_apart():
    assert names(row("07ac31", tier="edge"), row("9be002", tier="edge"), row("11", tier="end")) == {
        "07ac31": "edge-07ac",
        "9be002": "edge-9be0",
        "11": "end",
    }


def test_as_many_digits_as_it_takes():
    rows = [row("07ac31", tier="edge"), row("07ac32", tier="edge"), row("9be002", tier="edge")]
    assert sorted(names(*rows).values()) == ["edge-07ac31", "edge-07ac32", "edge-9be0"]


def test_one_name_for_two_roles_is_nobodys():
    rows = [row("07ac31", tier="end", node="box"), row("9be002", tier="edge", node="box")]
    assert sorted(names(*rows).values()) == ["edge-9be0", "end-07ac"]


def test_a_name_that_another_node_was_given_is_not_made_up():
    rows = [row("07ac31", tier="edge"), row("9be002", tier="edge")]
    rows.append(row("cc", tier="edge", node="edge-07ac"))
    assert sorted(names(*rows).values()) == ["edge-07ac", "edge-07ac3", "edge-9be0"]


def test_a_node_without_labels_has_a_name_too():
    (found,) = nodes_of([row()])
    assert (found.name, found.role) == ("node-07ac", "")


LABELS = st.fixed_dictionaries(
    {},
    optional={
        "tier": st.sampled_from(["edge", "end", "edge-00"]),
        "node": st.sampled_from(["edge", "edge-2", "edge-0000", "edge-00-1100"]),
    },
)
IDS = st.text("01", min_size=8, max_size=8)


@given(rows=st.lists(st.builds(lambda i, labels: row(i, **labels), IDS, LABELS),
                     max_size=9, unique_by=lambda r: r["NodeID"]), seed=st.randoms())  # fmt: skip
def test_every_node_has_a_name_that_no_other_has_in_any_order(rows, seed):
    found = nodes_of(rows)
    assert len({node.name for node in found}) == len(rows)
    assert all(is_tier_name(node.name) for node in found)
    assert {node.ray_id for node in found} == {r["NodeID"] for r in rows}
    seed.shuffle(rows)
    assert nodes_of(rows) == found


def test_the_nodes_of_a_real_cluster():
    with labelled_cluster("cloud", "edge") as cluster:
        second = cluster.add_node(**NODE, labels={"tier": "edge", "node": "edge-2"})
        cluster.wait_for_nodes()
        ray.init(address=cluster.address, logging_level="error")
        found = nodes_of(node for node in ray.nodes() if node["Alive"])
        assert [(n.name, n.role, n.cpus) for n in found] == [
            ("cloud", "cloud", 1),
            ("edge", "edge", 1),
            ("edge-2", "edge", 1),
        ]
        assert found[2].ray_id == second.node_id
