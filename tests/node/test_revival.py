"""A silent peer is probed while somebody wants it, and threads end that have nothing to do."""

import math
import threading
import time

import pytest

from edgesplit.node import alarm, revival
from edgesplit.node.alarm import Alarm
from edgesplit.node.revival import Revival

LIMIT_S = 10.0


def eventually(condition):
    until_s = time.monotonic() + LIMIT_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.005)


class Peer:
    """is_back: what the next tries find."""

    def __init__(self):
        self.tries, self.is_back = 0, False

    def __call__(self):
        self.tries += 1
        return self.is_back


@pytest.fixture
def peer(monkeypatch):
    monkeypatch.setattr(revival, "RETRY_S", 0.01)
    return Peer()


def test_a_peer_is_down_until_it_answers(peer):
    made = Revival(peer)
    assert not made.is_down()
    made.put_down()
    made.put_down()
    eventually(lambda: peer.tries > 2)
    assert made.is_down()
    peer.is_back = True
    eventually(lambda: not made.is_down())
    tries = peer.tries
    made.put_down()
    eventually(lambda: peer.tries > tries and not made.is_down())
    made.close()


def test_a_peer_that_nobody_wants_is_left_alone_until_somebody_does(peer, monkeypatch):
    monkeypatch.setattr(revival, "_FORGET_S", 0.05)
    made = Revival(peer)
    before = threading.active_count()
    made.put_down()
    eventually(lambda: peer.tries > 2 and threading.active_count() == before)
    peer.is_back = True
    assert made.is_down()
    eventually(lambda: not made.is_down())


def test_closed_means_no_more_tries(peer):
    made = Revival(peer)
    made.close()
    made.put_down()
    assert made.is_down()
    assert peer.tries == 0


def test_an_alarm_with_nothing_to_do_has_no_thread_until_something_is_due(monkeypatch):
    monkeypatch.setattr(alarm, "_IDLE_S", 0.05)
    looks = []
    made = Alarm(lambda: looks.append(time.perf_counter()) or math.inf, "test-alarm")

    def runs():
        return any(thread.name == "test-alarm" for thread in threading.enumerate())

    for count in (1, 2):
        made.by(time.perf_counter() + 0.02)
        eventually(lambda count=count: len(looks) == count)
        eventually(lambda: not runs())
    made.by(time.perf_counter() + 60.0)
    assert runs()
    made.stop(LIMIT_S)
    assert not runs()
