"""When a peer counts as silent, when a request as late, and when it is taken back.

Exact times, given as arguments; where threads try again, conditions are waited for.
"""

import math
import threading
import time

import pytest
from faults import until

from edgesplit.node.transport import peer as peer_module
from edgesplit.node.transport.peer import STUBBORN_FACTOR, Peer, Watchdog

LIMIT_S = 10.0


class User:
    """Notes what the peer has it do; answers: what the next tries find."""

    def __init__(self):
        self.done, self.tries, self.answers = [], 0, False
        self.peer = Peer(self)

    def ask(self):
        self.done.append("ask")

    def free(self, request_ids):
        self.done.append((sorted(request_ids), self.peer.is_down()))

    def is_back(self):
        self.tries += 1
        return self.answers


class Link:
    """A connection; notes whether the peer was down when it was given up."""

    def __init__(self, user):
        self._user = user

    def give_up(self):
        self._user.done.append(("give up", self._user.peer.is_down()))


@pytest.fixture
def user():
    made = User()
    yield made
    made.peer.close()


@pytest.fixture
def peer(user):
    return user.peer


def test_nobody_waits_so_nothing_is_due(peer):
    assert peer.next_s() == math.inf
    peer.expect("for ever", 0.0, 5.0)
    assert peer.next_s() == math.inf


def test_it_is_asked_at_half_the_failover_timeout_and_silent_at_the_whole(user, peer):
    assert peer.expect("a", 2.0, 10.0) == 11.0
    assert (peer.ask_s, peer.silent_s) == (11.0, 12.0)
    assert peer.look(10.9) == 11.0
    assert user.done == []
    assert peer.look(11.0) == 12.0
    assert user.done == ["ask"]
    assert (peer.ask_s, peer.silent_s) == (math.inf, 12.0)
    peer.heard(11.2)  # the echo
    assert (peer.ask_s, peer.silent_s) == (12.2, 13.2)


def test_one_that_is_suspected_is_asked_at_once_and_silent_when_patience_ends(user, peer):
    peer.expect("a", 20.0, 10.0)
    assert peer.suspect(1.0, 10.5) == 10.5
    assert peer.look(10.5) == 11.5
    assert user.done == ["ask"]
    assert peer.suspect(1.0, 10.9) == 11.5  # for the time counts from the first suspicion on
    assert peer.suspect(1.0, 11.2) == 11.5
    peer.look(11.5)
    assert user.done == ["ask", (["a"], True)]


def test_a_sign_of_life_ends_the_suspicion_and_it_is_not_asked_all_the_time(user, peer):
    peer.expect("a", 20.0, 10.0)
    peer.look(peer.suspect(1.0, 10.5))
    peer.heard(10.6)  # the echo
    assert (peer.ask_s, peer.silent_s) == (20.6, 30.6)
    assert peer.suspect(1.0, 10.9) == 20.6
    assert peer.suspect(1.0, 11.1) == 11.1
    peer.look(11.1)
    assert user.done == ["ask", "ask"]
    assert peer.silent_s == 12.1


def test_who_comes_while_it_is_suspected_waits_no_longer_than_its_patience(user, peer):
    peer.expect("a", 20.0, 10.0)
    peer.look(peer.suspect(1.0, 10.5))
    peer.forget("a")  # answered elsewhere
    assert peer.next_s() == math.inf
    assert peer.expect("b", 20.0, 11.2) <= 11.2
    assert peer.look(11.2) == 11.5
    peer.look(11.5)
    assert user.done == ["ask", "ask", (["b"], True)]


@pytest.mark.parametrize("then_s", [11.2, 13.4])
def test_it_is_not_put_down_for_a_suspicion_that_it_was_not_asked_about(user, peer, then_s):
    peer.expect("a", 20.0, 10.0)
    peer.suspect(1.0, 10.5)
    peer.forget("a")  # before the watchdog has looked
    assert peer.expect("b", 20.0, then_s) == then_s + 10.0
    assert peer.look(then_s) == then_s + 10.0
    assert user.done == []


def test_a_suspicion_of_long_ago_is_forgotten(user, peer):
    peer.expect("a", 20.0, 10.0)
    peer.look(peer.suspect(1.0, 10.5))
    peer.forget("a")
    assert peer.expect("b", 20.0, 300.0) == 310.0
    assert peer.look(300.1) == 310.0
    assert user.done == ["ask"]


def test_a_suspicion_is_nothing_where_nobody_may_fail_over(user, peer):
    peer.expect("for ever", 0.0, 10.0)
    assert peer.suspect(1.0, 10.5) == math.inf
    assert peer.look(20.0) == math.inf
    assert user.done == []


def test_what_was_heard_before_the_request_does_not_count(user, peer):
    peer.expect("before", 0.8, 1.0)
    peer.heard(1.0)
    peer.look(1.5)
    assert user.done == ["ask"]
    peer.forget("before")
    peer.expect("a", 2.0, 10.0)
    assert (peer.ask_s, peer.silent_s) == (11.0, 12.0)


def test_the_longest_timeout_of_those_who_wait_counts(peer):
    peer.expect("long", 8.0, 0.0)
    peer.expect("short", 1.0, 1.0)
    assert peer.silent_s == 8.0
    peer.forget("long")
    assert peer.silent_s == 2.0
    peer.forget("short")
    assert peer.silent_s == math.inf


@pytest.mark.parametrize(
    ("ahead", "late_s"), [(0, STUBBORN_FACTOR * 2.0), (3, STUBBORN_FACTOR * 2.0 * 4)]
)
def test_a_living_peer_has_time_for_those_ahead_too(user, peer, ahead, late_s):
    for n in range(ahead):
        peer.expect(f"ahead {n}", 0.0, 0.0)
    peer.expect("a", 2.0, 0.0)
    peer.heard(late_s - 0.5)
    peer.look(late_s - 0.01)
    assert user.done == []
    peer.look(late_s)
    assert user.done == [(["a"], False)]
    assert peer.next_s() == math.inf


def test_a_silent_peer_is_down_before_anybody_is_freed(user, peer):
    link = Link(user)
    peer.add(link)
    peer.expect("a", 2.0, 0.0)
    peer.expect("b", 0.0, 1.0)
    assert peer.look(2.0) == math.inf
    assert user.done == [(["a", "b"], True), ("give up", True)]
    assert peer.look(3.0) == math.inf, "nobody waits any more"
    assert len(user.done) == 2


# Taken back


@pytest.fixture
def _quick(monkeypatch):
    monkeypatch.setattr(peer_module, "RETRY_S", 0.01)


@pytest.mark.usefixtures("_quick")
def test_a_peer_is_down_until_it_answers(user, peer):
    assert not peer.is_down()
    peer.put_down()
    peer.put_down()
    until(lambda: user.tries > 2)
    assert peer.is_down()
    user.answers = True
    until(lambda: not peer.is_down())
    tries = user.tries
    peer.put_down()
    until(lambda: user.tries > tries and not peer.is_down())


@pytest.mark.usefixtures("_quick")
def test_a_peer_that_nobody_wants_is_left_alone_until_somebody_does(user, peer, monkeypatch):
    monkeypatch.setattr(peer_module, "_FORGET_S", 0.05)
    before = threading.active_count()
    peer.put_down()
    until(lambda: user.tries > 2 and threading.active_count() == before)
    user.answers = True
    assert peer.is_down()
    until(lambda: not peer.is_down())


def test_closed_means_no_more_tries(user, peer):
    peer.close()
    peer.put_down()
    assert peer.is_down()
    assert user.tries == 0


def test_a_watchdog_with_nothing_to_do_has_no_thread_until_something_is_due(monkeypatch):
    monkeypatch.setattr(peer_module, "_IDLE_S", 0.05)
    looks = []
    made = Watchdog(lambda: looks.append(time.perf_counter()) or math.inf, "test-watchdog")

    def runs():
        return any(thread.name == "edgesplit-test-watchdog" for thread in threading.enumerate())

    for count in (1, 2):
        made.by(time.perf_counter() + 0.02)
        until(lambda count=count: len(looks) == count)
        until(lambda: not runs())
    made.by(time.perf_counter() + 60.0)
    assert runs()
    made.stop(LIMIT_S)
    assert not runs()
