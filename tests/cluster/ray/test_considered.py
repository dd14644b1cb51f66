"""Which nodes a session considers: what it names, its own first, the nearest of each role."""

import math
import socket
import threading

import pytest

from edgesplit.cluster.ray.considered import considered, round_trips_s
from edgesplit.cluster.ray.nodes import Node
from edgesplit.errors import ClusterError

ROLES = ("end", "edge", "cloud")


def node(name, ray_id=""):
    role = name.split("-")[0]
    return Node(name, role, ray_id or name, "10.0.0.1", 1)


def nodes(**counts):
    """So many of each role: `edge` where there is one, else edge-1, edge-2, ..."""
    return tuple(
        node(role if count == 1 else f"{role}-{n + 1}")
        for role, count in counts.items()
        for n in range(count)
    )


def names(found):
    return [one.name for one in found]


def unasked(_):
    raise AssertionError("no round trip has to be known")


def test_one_node_per_role_is_what_it_always_was():
    assert names(considered(ROLES, nodes(end=1, edge=1, cloud=1), "edge", unasked)) == list(ROLES)


def test_it_begins_at_its_own_node_and_leaves_other_ends_alone():
    there = nodes(end=3, edge=2, cloud=1)
    found = names(considered(ROLES, there, "end-2", unasked))
    assert found == ["end-2", "edge-1", "edge-2", "cloud"]


def test_names_are_taken_as_they_are():
    there = nodes(end=3, edge=2, cloud=1)
    found = considered(("end-3", "edge-2", "cloud"), there, "end-1", unasked)
    assert names(found) == ["end-3", "edge-2", "cloud"]


def test_of_a_hundred_edges_the_nearest_three_are_considered():
    asked = []

    def measure(given):
        asked.append(len(given))
        return {one.name: abs(int(one.name.split("-")[1]) - 50) * 1e-3 + 5e-3 for one in given}

    there = nodes(end=40, edge=100, cloud=2)
    found = names(considered(ROLES, there, "end-7", measure))
    assert found == ["end-7", "edge-50", "edge-49", "edge-51", "cloud-1", "cloud-2"]
    assert asked == [100]
    held = ["end-7", "edge-48", "edge-49", "edge-50", "cloud-1"]  # as near: they stay
    assert set(names(considered(ROLES, there, "end-7", measure, held))) >= {"edge-49", "edge-50"}


def test_what_is_missing_is_left_out():
    assert names(considered(ROLES, nodes(end=1, cloud=1), "end", unasked)) == ["end", "cloud"]
    assert considered(ROLES, nodes(edge=1), "edge", unasked) == ()


def test_several_that_could_hold_the_input_are_told_of():
    with pytest.raises(ClusterError, match=r"several nodes are 'end' \(end-1, end-2\)"):
        considered(ROLES, nodes(end=2, cloud=1), "cloud", unasked)


def test_round_trips_are_measured_and_a_silent_node_is_infinitely_far():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def accept():
            for _ in range(3):
                listener.accept()[0].close()

        accepting = threading.Thread(target=accept)
        accepting.start()
        here = Node("edge-1", "edge", "a", "127.0.0.1", 1, port)
        nowhere = Node("edge-2", "edge", "b", "127.0.0.1", 1, 1)
        found = round_trips_s([here, nowhere])
        accepting.join(10)
    assert 0 < found["edge-1"] < 5
    assert found["edge-2"] == math.inf
