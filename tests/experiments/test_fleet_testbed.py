"""The fleet on the testbed: what is due when, shares, scores and verdicts. No testbed is made."""

import numpy as np
import pytest
from click.testing import CliRunner

from edgesplit.testbed.blueprint import read_blueprint
from experiments.fleet.__main__ import main
from experiments.fleet.bed import HOSTS_FILE, NAME, told
from experiments.fleet.sending import due_times, jain
from experiments.fleet.testbed_picture import draw_testbed
from experiments.fleet.turns import (
    ALIKE,
    ALONE,
    APPROACHES,
    FLOODED,
    FleetTurns,
    favourite,
    floods_of,
    score,
    sides,
    verdicts,
)

REFERENCE = {"end_energy_j": 2.0, "total_energy_j": 4.0, "latency_s": 0.5}


def row(**given):
    compute_s = {given.get("device", "end-1"): 0.1, "edge-1": 0.3}
    base = {"due_s": 0.0, "done_s": 1.0, "latency_s": 1.0, "error": "", "plan": "p"}
    base |= {"end_energy_j": 1.0, "total_energy_j": 4.0, "compute_s": compute_s}
    return base | {"device": "end-1", "model": "alexnet", "score": 1.0} | given


def test_requests_are_due_evenly_or_as_a_poisson_process_of_the_seed():
    assert due_times(4.0, 1.0, None) == [0.0, 0.25, 0.5, 0.75]
    assert len(due_times(1 / 0.3, 3.0, None)) == 10
    drawn = due_times(50.0, 40.0, np.random.default_rng(3))
    assert drawn == due_times(50.0, 40.0, np.random.default_rng(3))
    assert drawn == sorted(drawn)
    assert max(drawn) < 40.0
    assert len(drawn) == pytest.approx(2000, rel=0.1)


@pytest.mark.parametrize(
    ("shares", "index"), [([2, 2, 2], 1.0), ([1, 0, 0], 1 / 3), ([1, 2], 0.9), ([0, 0], 1.0)]
)
def test_jain(shares, index):
    assert jain(shares) == pytest.approx(index)


def test_the_favourite_edge():
    whole_s = {"end-1": 0.5, "edge-1": 0.2, "edge-2": 0.1, "cloud": 0.05}
    base = {"whole_s": whole_s, "layers": 9}
    plans = ["end-1:0-0 | edge-2:0-2 | edge-1:2-9", "end-2:0-3 | edge-2:3-4 | edge-1:4-9"]
    assert favourite([base | {"best": plan} for plan in plans]) == "edge-1"
    assert favourite([base | {"best": "end-1:0-9"}]) == "edge-2"  # the fastest


def test_score_of_a_request_and_of_one_that_failed():
    assert score(row(), REFERENCE) == pytest.approx(0.6 * 0.5 + 0.2 * 1.0 + 0.2 * 2.0)
    failed = row(error="DeadlineExceeded", end_energy_j=None, total_energy_j=None, latency_s=10.0)
    assert score(failed, REFERENCE) == pytest.approx(0.6 + 0.2 + 0.2 * 20.0)


def played():
    requests = [
        row(approach=name, round=0, score=mean, latency_s=mean, error="late" if k == 0 else "")
        for name, mean in zip(APPROACHES, (1.0, 2.0, 1.5), strict=True)
        for k in range(4)
    ]
    floods = [row(state=ALONE, round=0), row(state=FLOODED, round=0, latency_s=1.1)]
    floods += [row(state=ALIKE, round=0, device=f"end-{k}") for k in (1, 2, 3)]
    return FleetTurns("edge-1", (1.0, 1.0, 1.0), requests, floods, [])


def test_figures_and_verdicts():
    found = sides(played().requests)
    assert [one["mean_score"] for one in found] == [1.0, 2.0, 1.5]
    assert [one["failed"] for one in found] == [1, 1, 1]
    assert found[0]["computed"] == pytest.approx({"end": 0.4, "edge-1": 1.2})
    floods = floods_of(played().floods)
    assert floods["rise"] == pytest.approx(0.1)
    assert floods["computed_s"] == pytest.approx({"end-1": 0.3, "end-2": 0.3, "end-3": 0.3})
    assert [reached for _, reached in verdicts(found, floods)] == [False, False, True, True]
    found[2]["p99_s"] = 0.7 * found[1]["p99_s"] - 1e-9
    assert next(verdicts(found, floods))[1] is True


def test_the_picture(tmp_path):
    found = {"approaches": sides(played().requests), "floods": floods_of(played().floods)}
    draw_testbed(tmp_path / "x.png", played(), found)
    assert (tmp_path / "x.png").stat().st_size > 10_000


def test_the_hosts_of_the_file_fit_on_two_cores():
    blueprint = read_blueprint(str(HOSTS_FILE), NAME)
    assert sum(blueprint.cores.values()) < 2
    assert [host.role for host in blueprint.hosts] == ["end"] * 3 + ["edge"] * 2 + ["cloud"]
    assert "1.65 in all" in told(blueprint)


def test_a_wrong_scene_is_told(tmp_path):
    found = CliRunner().invoke(main, ["--scene", "moon", "--out", str(tmp_path)])
    assert found.exit_code == 2
    assert "testbed" in found.output
