"""A process's connection, recipes that move, and the watch over the head: without any cluster."""

import threading
import time
from types import SimpleNamespace

import pytest
import ray
from ray._private import worker

from edgesplit.cluster import head_watch
from edgesplit.cluster.connection import Connecting, Connection, CutOffError
from edgesplit.cluster.head import ClusterHere
from edgesplit.cluster.head_watch import HeadWatch
from edgesplit.cluster.parcel import Parcel
from edgesplit.cluster.recipe import Recipes
from edgesplit.errors import ClusterError

LIMIT_S = 10.0


def node(cluster_id):
    return SimpleNamespace(cluster_id=bytes([cluster_id]))


@pytest.fixture
def joined(monkeypatch):
    """joined(cluster_id) makes Ray seem to be in that cluster; None: in none."""

    def join(cluster_id):
        there = None if cluster_id is None else node(cluster_id)
        monkeypatch.setattr(worker, "global_worker", SimpleNamespace(node=there))
        monkeypatch.setattr(ray, "is_initialized", lambda: there is not None)

    monkeypatch.setattr(
        ray,
        "get_runtime_context",
        lambda: SimpleNamespace(gcs_address="1.2.3.4:6379", get_node_id=lambda: "n1"),
    )
    join(1)
    return join


def made(**more):
    return Connection(**{"is_ours": True, "is_own_cluster": False, **more})


def test_nobody_uses_a_connection_that_is_over(joined):
    connection = made()
    with connection.used():
        connection.check()
    connection.end(LIMIT_S)
    lost = r"head of the Ray cluster at 1\.2\.3\.4:6379 was lost"
    with pytest.raises(CutOffError, match=lost), connection.used():
        pass


def test_a_connection_ends_when_the_last_has_let_go(joined):
    connection, entered, seen = made(), threading.Event(), threading.Event()

    def use():
        with connection.used():
            entered.set()
            while not connection.is_over:
                time.sleep(0.001)
            with pytest.raises(CutOffError), connection.used():
                pass  # nobody is let in any more, also not who is in already
            seen.set()

    user = threading.Thread(target=use)
    user.start()
    assert entered.wait(LIMIT_S)
    connection.end(LIMIT_S)
    assert seen.is_set()
    user.join(LIMIT_S)


def test_a_call_that_does_not_come_back_keeps_the_connection_from_ending(joined):
    connection = made()
    with connection.used(), pytest.raises(ClusterError, match="has not come back for 0"):
        connection.end(0.0)
    connection.end(LIMIT_S)


def test_a_later_connection_of_rays_is_another_one(joined):
    connecting = Connecting()
    first = connecting.entered(True)
    assert connecting.entered(False) is first
    joined(1)  # the same cluster, joined anew
    assert first.is_over
    second = connecting.entered(True)
    assert second is not first
    assert not connecting.left(first)  # whose end has been
    assert connecting.left(second)


def test_no_session_leaves_while_another_one_is_open(joined):
    connecting = Connecting()
    connection = connecting.entered(True)
    connecting.entered(False)
    assert not connecting.left(connection)
    assert connecting.left(connection)


def test_nothing_is_used_where_ray_is_in_no_cluster(joined):
    connection = made()
    joined(None)
    with pytest.raises(CutOffError), connection.used():
        pass


class Actor:
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, method):
        return SimpleNamespace(remote=lambda *args: self.told.append((method, *args)))


@pytest.fixture
def store(monkeypatch):
    """What was put into Ray's store, oldest first; references are their places."""
    values = []
    monkeypatch.setattr(ray, "put", lambda value: values.append(value) or len(values) - 1)
    return values


def test_recipes_move_with_new_references(joined, store):
    program, graph = Parcel("program"), Parcel("graph")
    old, new = Actor(), Actor()
    first = made()
    recipes = Recipes({"end": old}, first)
    with first.sending():
        recipes.call("end", "load", "p", program)
        recipes.call("end", "row", "w", "onnx", graph, None)
        recipes.call("end", "emulate", 2.0)
        recipes.call("end", "emulate", 3.0)
    assert old.told[:2] == [("load", "p", 0), ("row", "w", "onnx", 1, None)]
    first.end(LIMIT_S)
    joined(2)
    second = made()
    with second.sending():
        moved = list(recipes.moved({"end": new}, second).again("end"))
    assert [method for method, _ in moved] == ["load", "offer", "emulate"]
    assert new.told == [("load", "p", 2), ("offer", "w", "onnx", 3, None), ("emulate", 3.0)]
    assert store == ["program", "graph"] * 2


def test_a_reference_lasts_until_the_last_who_sends_is_done(joined, store):
    connection, parcel = made(), Parcel("program")
    with connection.sending():
        with connection.sending():
            assert connection.ref(parcel) == 0
        assert connection.ref(parcel) == 0
    with connection.sending():
        assert connection.ref(parcel) == 1
    with pytest.raises(AssertionError, match=r"within sending\(\)"):
        connection.ref(parcel)


class Head:
    """Stands in for the head: where it is, and which cluster it says it has."""

    def __init__(self, monkeypatch, clock):
        self.is_away, self.asked = False, 0
        self.here = ClusterHere("01", frozenset({"n1", "n2"}), ("end",), True)
        monkeypatch.setattr(head_watch, "reach", self.reach)
        monkeypatch.setattr(head_watch, "cluster_here", self.ask)
        monkeypatch.setattr(head_watch.time, "monotonic", clock)

    def reach(self, address):
        if self.is_away:
            raise ClusterError("no Ray head answers")

    def ask(self, address, timeout_s, stopped):
        self.asked += 1
        return self.here


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(s=1000.0)
    head = Head(monkeypatch, lambda: now.s)
    return now, head


def test_a_head_that_was_always_there_is_asked_nothing(joined, clock):
    _, head = clock
    watch, connection = HeadWatch(), made()
    assert not any(watch.is_another(connection, has_silent=False) for _ in range(100))
    assert head.asked == 0


def test_a_head_that_was_away_is_asked_who_it_is(joined, clock):
    now, head = clock
    watch, connection = HeadWatch(), made()
    head.is_away = True
    with pytest.raises(ClusterError, match="no Ray head answers"):
        watch.is_another(connection, has_silent=False)
    head.is_away = False
    assert not watch.is_another(connection, has_silent=False)  # with its storage: the same
    assert head.asked == 1
    now.s += 100
    assert not watch.is_another(connection, has_silent=False)
    assert head.asked == 1


def test_another_head_is_joined_once_this_host_has_a_node_there(joined, clock):
    now, head = clock
    watch, connection = HeadWatch(), made()
    head.is_away = True
    with pytest.raises(ClusterError):
        watch.is_another(connection, has_silent=False)
    head.is_away, head.here = False, ClusterHere("02", frozenset(), (), False)
    with pytest.raises(ClusterError, match="tiers none: no node of this host has joined it yet"):
        watch.is_another(connection, has_silent=False)
    assert not watch.is_another(connection, has_silent=False)  # too early to ask again
    assert head.asked == 1
    now.s += 5
    head.here = ClusterHere("02", frozenset({"n3"}), ("end",), True)
    assert watch.is_another(connection, has_silent=False)


def test_the_same_head_is_joined_anew_where_this_host_has_another_node_now(joined, clock):
    _, head = clock
    head.here = ClusterHere("01", frozenset({"n2", "n3"}), ("end",), True)
    assert HeadWatch().is_another(made(), has_silent=True)


def test_silent_actors_are_a_reason_to_ask_though_less_and_less_often(joined, clock):
    now, head = clock
    watch, connection = HeadWatch(), made()
    for _ in range(600):
        now.s += 1
        assert not watch.is_another(connection, has_silent=True)
    assert 10 <= head.asked <= 16


def test_a_cluster_of_this_process_is_started_again_at_once(joined, clock):
    _, head = clock
    head.is_away = True
    assert HeadWatch().is_another(made(is_own_cluster=True), has_silent=False)
    assert head.asked == 0
