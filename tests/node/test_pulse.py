"""When a peer counts as silent, when a request as late: exact times, no waiting."""

import math

import pytest

from edgesplit.node.pulse import STUBBORN, Pulse


def test_nobody_waits_so_nothing_is_due():
    assert Pulse().next_s() == math.inf
    pulse = Pulse()
    pulse.expect("for ever", 0.0, 5.0)
    assert pulse.next_s() == math.inf


def test_it_is_asked_at_half_the_patience_and_silent_at_the_whole():
    pulse = Pulse()
    assert pulse.expect("a", 2.0, 10.0) == 11.0
    assert (pulse.ask_s, pulse.silent_s) == (11.0, 12.0)
    pulse.asked(11.0)
    assert (pulse.ask_s, pulse.silent_s) == (math.inf, 12.0)
    pulse.heard(11.2)  # the echo
    assert (pulse.ask_s, pulse.silent_s) == (12.2, 13.2)


def test_what_was_heard_before_the_request_does_not_count():
    pulse = Pulse()
    pulse.heard(1.0)
    pulse.asked(1.5)
    pulse.expect("a", 2.0, 10.0)
    assert (pulse.ask_s, pulse.silent_s) == (11.0, 12.0)


def test_the_longest_patience_of_those_who_wait_counts():
    pulse = Pulse()
    pulse.expect("long", 8.0, 0.0)
    pulse.expect("short", 1.0, 1.0)
    assert pulse.silent_s == 8.0
    pulse.forget("long")
    assert pulse.silent_s == 2.0
    pulse.forget("short")
    assert pulse.silent_s == math.inf


@pytest.mark.parametrize(("ahead", "late_s"), [(0, STUBBORN * 2.0), (3, STUBBORN * 2.0 * 4)])
def test_a_living_peer_has_time_for_those_ahead_too(ahead, late_s):
    pulse = Pulse()
    for n in range(ahead):
        pulse.expect(f"ahead {n}", 0.0, 0.0)
    pulse.expect("a", 2.0, 0.0)
    assert pulse.late(late_s - 0.01) == []
    assert pulse.late(late_s) == ["a"]
