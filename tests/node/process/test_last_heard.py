"""When sessions are silent, and that a process that was away itself blames nobody."""

import pytest

from edgesplit.node.process import last_heard
from edgesplit.node.process.last_heard import LastHeard


class _Clock:
    """Stands in for the time module."""

    now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> _Clock:
    made = _Clock()
    monkeypatch.setattr(last_heard, "time", made)
    return made


def _looked(heard: LastHeard, clock: _Clock, seconds: int) -> None:
    for _ in range(seconds):
        clock.now_s += 1.0
        heard.look()


def test_silent_only_after_its_time(clock: _Clock) -> None:
    heard = LastHeard(30.0, 1.0)
    heard.look()
    heard.of("cam")
    _looked(heard, clock, 30)
    assert not heard.is_silent("cam")
    _looked(heard, clock, 1)
    assert heard.is_silent("cam")
    heard.of("cam")
    assert not heard.is_silent("cam")


def test_time_away_counts_against_nobody(clock: _Clock) -> None:
    heard = LastHeard(30.0, 1.0)
    heard.look()
    heard.of("cam")
    clock.now_s += 500.0
    heard.look()
    assert not heard.is_silent("cam")
    _looked(heard, clock, 31)
    assert heard.is_silent("cam")


def test_time_away_takes_no_grace(clock: _Clock) -> None:
    heard = LastHeard(30.0, 1.0)
    heard.look()
    heard.of("slow", grace_s=300.0)
    clock.now_s += 60.0
    heard.look()
    _looked(heard, clock, 270)
    assert not heard.is_silent("slow")
    _looked(heard, clock, 1)
    assert heard.is_silent("slow")


def test_a_long_wait_before_the_first_look_is_no_absence(clock: _Clock) -> None:
    heard = LastHeard(30.0, 1.0)
    heard.of("cam")
    clock.now_s += 40.0
    heard.look()
    assert heard.is_silent("cam")


def test_what_has_ended_is_not_silent(clock: _Clock) -> None:
    heard = LastHeard(30.0, 1.0)
    heard.look()
    heard.of("cam")
    heard.forget("cam")
    _looked(heard, clock, 60)
    assert not heard.is_silent("cam")
