"""Growth of memory from what was seen of processes that come and go."""

import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.chaos.footprint import Footprint, growth


def rows(pid, begin_s, level, per_minute, noise, count=60):
    draw = np.random.default_rng(pid)
    return [
        {
            "at_s": begin_s + 5.0 * k,
            "process": "segment actors",
            "pid": pid,
            "rss_bytes": level + per_minute * (5.0 * k) / 60 + draw.normal(0, noise),
            "threads": 7,
            "fds": 20,
        }
        for k in range(count)
    ]


@pytest.mark.parametrize("per_minute", [0.0, 1e6])
def test_the_slope_of_the_longest_lived_is_found_within_its_error(per_minute):
    short = rows(1, 0.0, 1e8, 9e9, 1e5, count=20)
    (found,) = growth(short + rows(2, 150.0, 3e8, per_minute, 1e5))
    assert (found["lived_s"], found["threads_per_minute"]) == (295.0, pytest.approx(0, abs=1e-9))
    u = found["rss_bytes_per_minute_u"]
    assert 0 < u < 1e5
    assert abs(found["rss_bytes_per_minute"] - per_minute) < 4 * u


def test_what_happens_in_the_first_half_of_a_life_does_not_count():
    early = rows(1, 0.0, 1e8, 6e7, 0.0, count=30)
    later = rows(1, 150.0, 2e8, 0.0, 0.0, count=31)
    (found,) = growth(early + later)
    assert found["rss_bytes_per_minute"] == pytest.approx(0, abs=1.0)


def test_a_process_that_was_hardly_seen_is_left_out():
    assert growth(rows(1, 0.0, 1e8, 0.0, 1.0, count=3)) == []
    assert growth([]) == []


def test_it_sees_this_process_and_nothing_else_of_its_children(monkeypatch):
    monkeypatch.setattr("experiments.chaos.footprint.PERIOD_S", 0.05)
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        with Footprint() as seen:
            while len(seen.rows) < 3:
                assert child.poll() is None
                time.sleep(0.01)
    finally:
        child.kill()
        child.communicate(timeout=10)
    assert {row["process"] for row in seen.rows} == {"caller"}
    assert all(row["rss_bytes"] > 1e6 and row["threads"] > 0 for row in seen.rows)
