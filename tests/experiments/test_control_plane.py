"""Many loops on one core: samples are heard, a slower link is left, and waiting adds up."""

import pytest

from edgesplit.core.control.event import Observed
from experiments.control_plane.drive import Driver
from experiments.control_plane.session import PREPARE_S, opened


def test_requests_are_heard_and_a_slower_link_is_left():
    sessions = [opened(seed, 0.0) for seed in range(4)]
    assert all(session.state.active is not None for session in sessions)
    steady = Driver(sessions, 2.0).run(6.0, {})
    assert steady.requests == pytest.approx(4 * 2 * 6, abs=8)
    assert not steady.decided_s
    assert 0 < steady.cpu_s < 6.0
    plans = [session.state.active for session in sessions]
    changed = Driver(sessions, 2.0).run(12.0, dict.fromkeys(range(4), 1.0))
    moved = sum(s.state.active != plan for s, plan in zip(sessions, plans, strict=True))
    assert moved == len(changed.decided_s) >= 1
    assert all(seconds >= PREPARE_S for seconds in changed.decided_s)


def test_a_request_takes_what_its_links_take():
    session = opened(1, 0.0)
    quick = session.observed(1.0)
    assert session.slow_down()
    slow = session.observed(1.0)
    assert isinstance(slow, Observed)
    assert slow.timings[0].hop_s > 1.5 * quick.timings[0].hop_s
