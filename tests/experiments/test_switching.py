"""What counts as around a switch, and a few real ones under load."""

import pytest

from experiments.switching import Request, compared, distance_s, run


@pytest.mark.parametrize(
    ("at_s", "expected"), [(0.0, 1.0), (1.25, 0.25), (1.75, 0.25), (2.0, 0.0), (9.0, 7.0)]
)
def test_the_nearest_switch_counts(at_s, expected):
    assert distance_s(at_s, [1.0, 1.5, 2.0]) == expected


def test_near_and_far_are_of_one_plan():
    far, between, near = [0.1, 0.5, 1.5, 2.0, 3.0], [0.75, 1.25], [0.95, 1.0, 1.05]
    requests = [Request(at_s, 0.001, "a") for at_s in far]
    requests += [Request(at_s, 0.009, "a") for at_s in between]
    requests += [Request(at_s, 0.003, "a") for at_s in near]
    requests += [Request(1.0, 5.0, "b")]
    row = compared("a", requests, [1.0])
    assert (row["near"], row["far"]) == (3, 5)
    assert row["added_s"] == pytest.approx(0.002)
    assert compared("b", requests, [1.0]) is None


def test_switches_under_load_lose_nothing():
    summary, rows = run(switches=4, callers=4)
    assert summary["switches"] >= 4
    assert (summary["lost"], summary["wrong"], summary["errors"]) == (0, 0, 0)
    assert summary["requests"] > 100
    assert len(rows) == 2
