"""One direction of an emulated link, by the numbers: rates that change, frames for nobody."""

import math

import pytest

from edgesplit.node.tier.emulate import LinkShape
from edgesplit.node.tier.lane import OPEN, EmulatedLink, Held


class Link:
    is_closed = False


def frame(n_bytes, link=None):
    return Held(n_bytes, link or Link(), lambda: None)


def left(lane, now_s):
    return [(due_s, held.n_bytes) for due_s, held in lane.leaving(now_s)]


@pytest.fixture
def lane():
    made = EmulatedLink()
    made.reshape(LinkShape(100.0, 0.5), 0.0)
    return made


def test_frames_follow_each_other_and_their_latency_overlaps(lane):
    lane.add(frame(200), 0.0)
    lane.add(frame(100), 1.0)
    assert lane.next_s() == 2.0
    assert left(lane, 1.9) == []
    assert left(lane, 3.0) == [(2.5, 200), (3.5, 100)]
    assert lane.next_s() == math.inf
    lane.add(frame(50), 10.0)
    assert left(lane, 11.0) == [(11.0, 50)]


def test_a_new_rate_holds_for_what_is_left_of_the_first_frame_and_for_all_others(lane):
    lane.add(frame(1000), 0.0)
    lane.add(frame(1000), 0.0)
    lane.reshape(LinkShape(400.0), 2.0)
    assert lane.next_s() == 4.0
    assert left(lane, 6.5) == [(4.0, 1000), (6.5, 1000)]


def test_a_link_that_is_shaped_no_more_lets_all_go_at_once(lane):
    lane.add(frame(1000), 0.0)
    lane.add(frame(1000), 0.0)
    lane.reshape(OPEN, 1.0)
    assert left(lane, 1.0) == [(1.0, 1000), (1.0, 1000)]


def test_what_goes_to_a_closed_connection_takes_no_time(lane):
    gone = Link()
    lane.add(frame(1000, gone), 0.0)
    lane.add(frame(1000, gone), 0.0)
    lane.add(frame(100), 0.0)
    assert left(lane, 1.0) == []
    gone.is_closed = True
    assert left(lane, 1.0) == []
    assert lane.next_s() == 2.0
    assert left(lane, 2.0) == [(2.5, 100)]
    assert len(lane) == 0


def test_what_is_left_of_a_frame_counts_those_before_it(lane):
    first, second = frame(200), frame(100)
    lane.add(first, 0.0)
    lane.add(second, 0.0)
    assert (lane.left_bytes(first, 1.0), lane.left_bytes(second, 1.0)) == (100.0, 200.0)
    assert left(lane, 2.0) == [(2.5, 200)]
    assert (lane.left_bytes(first, 2.0), lane.left_bytes(second, 2.5)) == (0.0, 50.0)


def test_a_frame_that_is_withdrawn_makes_room_for_the_next(lane):
    first, second, third = frame(200), frame(100), frame(50)
    for one in (first, second, third):
        lane.add(one, 0.0)
    assert lane.withdraw(first, 1.0)  # half of it was on its way, and never arrives
    assert lane.withdraw(third, 1.0)
    assert left(lane, 9.0) == [(2.5, 100)]
    assert not lane.withdraw(second, 9.0)
