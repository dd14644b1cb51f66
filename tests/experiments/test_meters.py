"""A quick run of the comparison of meters: what it writes, and that it tells good from bad."""

import json

import pytest
from click.testing import CliRunner

from experiments.meters.__main__ import INFERENCES, METHODS, main

KEYS = [
    "device", "method", "inferences", "relative_error_mean", "relative_error_std",
    "relative_u_k2", "inside_k2",
]  # fmt: skip


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    folder = tmp_path_factory.mktemp("meters")
    ran = CliRunner().invoke(main, ["--quick", "--out", str(folder)], catch_exceptions=False)
    assert ran.exit_code == 0
    return folder, ran.output


@pytest.fixture(scope="module")
def rows(outcome):
    return json.loads((outcome[0] / "summary.json").read_text())["rows"]


def row_of(rows, device, method, inferences):
    (found,) = [
        row for row in rows
        if row["device"] == device and method in row["method"] and row["inferences"] == inferences
    ]  # fmt: skip
    return found


def test_what_is_written(outcome, rows):
    folder, output = outcome
    assert list(rows[0]) == KEYS
    # 12 W is assumed of the Pi only.
    assert len(rows) == 2 * len(INFERENCES) * (len(METHODS) + len(METHODS) - 1)
    assert (folder / "meters.csv").read_text().count("\n") == len(rows) + 1
    assert (folder / "meters.png").stat().st_size > 10_000
    assert "| device | method | n = 1 | n = 10 | n = 100 | n = 1,000 |" in output
    assert "simulated device" in output


def test_a_fixed_power_is_off_by_the_same_factor(rows):
    # 12 W against 0.6 * 7 + 0.2 * 4.5 + 0.2 * 3.2 = 5.74 W.
    for inferences in INFERENCES:
        found = row_of(rows, "Pi-like, 20 ms", "12 W", inferences)
        assert found["relative_error_mean"] == pytest.approx(12 / 5.74 - 1)
        assert found["relative_u_k2"] is None


def test_two_readings_of_a_mean_see_what_ran_before(rows):
    # 20 ms at 30 W: 10 W before it, 10.4 W after it.
    found = row_of(rows, "GPU-like, 20 ms", "(P0 + P1)/2", 1)
    assert found["relative_error_mean"] == pytest.approx(10.2 / 30 - 1, abs=0.01)


def test_ours_gets_better_with_the_length(rows):
    for method in ("1 ms", "counter, 100 ms", "power samples"):
        long = row_of(rows, "GPU-like, 20 ms", method, 1000)
        assert abs(long["relative_error_mean"]) < 0.005
        assert long["relative_u_k2"] < 0.02
    short = row_of(rows, "GPU-like, 20 ms", "counter, 100 ms", 1)
    assert short["relative_u_k2"] > 0.5
