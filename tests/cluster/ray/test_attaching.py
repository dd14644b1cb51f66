"""A process's connection, recipes that move, and the watch over the head: without any cluster."""

import threading
import time
from types import SimpleNamespace

import pytest

from edgesplit.cluster.actors.call_log import ActorCallLog
from edgesplit.cluster.ray import head_watch, join
from edgesplit.cluster.ray.connection import CutOffError, RayConnection, RayConnections
from edgesplit.cluster.ray.environment import Before
from edgesplit.cluster.ray.head_probe import ClusterHere
from edgesplit.cluster.ray.head_watch import HeadWatch
from edgesplit.cluster.ray.join import Placement
from edgesplit.cluster.ray.shared_value import SharedValue
from edgesplit.errors import ClusterError

LIMIT_S = 10.0


class Here:
    """In place of Ray: in a cluster, in another one, or in none. put(): references are places."""

    def __init__(self):
        self.values = []
        self.join(1)

    def join(self, cluster_id):
        self._node = SimpleNamespace(cluster_id=bytes([cluster_id]))

    def leave(self):
        self._node = None

    def node(self):
        return self._node

    def address(self):
        return "1.2.3.4:6379"

    def node_id(self):
        return "n1"

    def put(self, value):
        self.values.append(value)
        return len(self.values) - 1


@pytest.fixture
def here():
    return Here()


def made(here, is_own_cluster=False):
    return RayConnection(True, is_own_cluster, Before(), here)


def test_nobody_uses_a_connection_that_is_over(here):
    connection = made(here)
    with connection.used():
        connection.check()
    connection.end(LIMIT_S)
    lost = r"head of the Ray cluster at 1\.2\.3\.4:6379 was lost"
    with pytest.raises(CutOffError, match=lost), connection.used():
        pass


def test_a_connection_ends_when_the_last_has_let_go(here):
    connection, entered, seen = made(here), threading.Event(), threading.Event()

    def use():
        with connection.used():
            entered.set()
            while not connection.is_closed:
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


def test_a_call_that_does_not_come_back_keeps_the_connection_from_ending(here):
    connection = made(here)
    with connection.used(), pytest.raises(ClusterError, match="has not come back for 0"):
        connection.end(0.0)
    connection.end(LIMIT_S)


def test_a_later_connection_of_rays_is_another_one(here):
    connecting = RayConnections(here)
    first = connecting.acquire(True, False, Before())
    assert connecting.acquire(False, False, Before()) is first
    here.join(1)  # the same cluster, joined anew
    assert first.is_closed
    second = connecting.acquire(True, False, Before())
    assert second is not first
    assert not connecting.release(first)  # whose end has been
    assert connecting.release(second)


def test_no_session_leaves_while_another_one_is_open(here):
    connecting = RayConnections(here)
    connection = connecting.acquire(True, False, Before())
    connecting.acquire(False, False, Before())
    assert not connecting.release(connection)
    assert connecting.release(connection)


def test_a_cluster_that_is_joined_again_in_vain_is_left(here, monkeypatch):
    def fails(*placed, is_new):
        raise ClusterError("no node answers")

    monkeypatch.setattr(join, "RAY_CONNECTIONS", RayConnections(here))
    monkeypatch.setattr(join, "join_at", lambda address: here.join(2))
    monkeypatch.setattr(join, "placement_of", fails)
    monkeypatch.setattr(join.ray, "shutdown", here.leave)
    lost = join.RAY_CONNECTIONS.acquire(True, False, Before())
    with pytest.raises(ClusterError, match="no node answers"):
        join.connect_again(Placement(lost, ("end",), False, {}))
    assert here.node() is None


def test_nothing_is_used_where_ray_is_in_no_cluster(here):
    connection = made(here)
    here.leave()
    with pytest.raises(CutOffError), connection.used():
        pass


class Actor:
    """Notes what it is told."""

    def __init__(self):
        self.told = []

    def __getattr__(self, method):
        return SimpleNamespace(remote=lambda *args: self.told.append((method, *args)))


def test_recipes_move_with_new_references(here):
    program, graph = SharedValue("program"), SharedValue("graph")
    old, new = Actor(), Actor()
    first = made(here)
    call_log = ActorCallLog({"end": old}, first)
    with first.sending():
        call_log.call("end", "load", "p", program)
        call_log.call("end", "measure_runtime", "w", "onnx", graph, None)
        call_log.call("end", "emulate", 2.0)
        call_log.call("end", "emulate", 3.0)
    assert old.told[:2] == [("load", "p", 0), ("measure_runtime", "w", "onnx", 1, None)]
    first.end(LIMIT_S)
    here.join(2)
    second = made(here)
    with second.sending():
        moved = list(call_log.moved({"end": new}, second).again("end"))
    assert [method for method, _ in moved] == ["load", "offer", "emulate"]
    assert new.told == [("load", "p", 2), ("offer", "w", "onnx", 3, None), ("emulate", 3.0)]
    assert here.values == ["program", "graph"] * 2


def test_a_reference_lasts_until_the_last_who_sends_is_done(here):
    connection, shared = made(here), SharedValue("program")
    with connection.sending():
        with connection.sending():
            assert connection.ref(shared) == 0
        assert connection.ref(shared) == 0
    with connection.sending():
        assert connection.ref(shared) == 1
    with pytest.raises(AssertionError, match=r"within sending\(\)"):
        connection.ref(shared)


class Head:
    """Stands in for the head: where it is, and which cluster it says it has."""

    def __init__(self, monkeypatch):
        self.is_away, self.asked = False, 0
        self.here = ClusterHere("01", frozenset({"n1", "n2"}), ("end",), True)
        monkeypatch.setattr(head_watch, "reach", self.reach)
        monkeypatch.setattr(head_watch, "cluster_here", self.ask)

    def reach(self, address):
        if self.is_away:
            raise ClusterError("no Ray head answers")

    def ask(self, address, timeout_s, stopped):
        self.asked += 1
        return self.here


@pytest.fixture
def head(monkeypatch):
    return Head(monkeypatch)


class Clock:
    """Stands still unless it is told to go on."""

    now_s = 1000.0

    def __call__(self):
        return self.now_s


def test_a_head_that_was_always_there_is_asked_nothing(here, head):
    watch, connection = HeadWatch(), made(here)
    assert not any(watch.is_another(connection, has_silent=False) for _ in range(100))
    assert head.asked == 0


def test_a_head_that_was_away_is_asked_who_it_is(here, head):
    clock = Clock()
    watch, connection = HeadWatch(clock), made(here)
    head.is_away = True
    with pytest.raises(ClusterError, match="no Ray head answers"):
        watch.is_another(connection, has_silent=False)
    head.is_away = False
    assert not watch.is_another(connection, has_silent=False)  # with its storage: the same
    assert head.asked == 1
    clock.now_s += 100
    assert not watch.is_another(connection, has_silent=False)
    assert head.asked == 1


def test_another_head_is_joined_once_this_host_has_a_node_there(here, head):
    clock = Clock()
    watch, connection = HeadWatch(clock), made(here)
    head.is_away = True
    with pytest.raises(ClusterError):
        watch.is_another(connection, has_silent=False)
    head.is_away, head.here = False, ClusterHere("02", frozenset(), (), False)
    with pytest.raises(ClusterError, match="tiers none: no node of this host has joined it yet"):
        watch.is_another(connection, has_silent=False)
    assert not watch.is_another(connection, has_silent=False)  # too early to ask again
    assert head.asked == 1
    clock.now_s += 5
    head.here = ClusterHere("02", frozenset({"n3"}), ("end",), True)
    assert watch.is_another(connection, has_silent=False)


def test_the_same_head_is_joined_anew_where_this_host_has_another_node_now(here, head):
    head.here = ClusterHere("01", frozenset({"n2", "n3"}), ("end",), True)
    assert HeadWatch().is_another(made(here), has_silent=True)


def test_silent_actors_are_a_reason_to_ask_though_less_and_less_often(here, head):
    clock = Clock()
    watch, connection = HeadWatch(clock), made(here)
    for _ in range(600):
        clock.now_s += 1
        assert not watch.is_another(connection, has_silent=True)
    assert 10 <= head.asked <= 16


def test_a_cluster_of_this_process_is_started_again_at_once(here, head):
    head.is_away = True
    assert HeadWatch().is_another(made(here, is_own_cluster=True), has_silent=False)
    assert head.asked == 0
