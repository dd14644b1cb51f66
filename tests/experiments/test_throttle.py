"""The throttle experiment from the command line, for real: embedded cluster, a tiny model."""

import csv
import json

import pytest
from click.testing import CliRunner

from experiments.shared.resume import FILE
from experiments.throttle.__main__ import main

OPTIONS = ["--quick", "--model", "tiny_net:make", "--runs", "1", "--steady-minutes", "0.04"]


def run(folder, *options):
    return CliRunner().invoke(main, ["--out", str(folder), *OPTIONS, *options])


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("throttle") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        return folder, run(folder)


def test_the_summary(played):
    folder, outcome = played
    assert outcome.exit_code == 0, outcome.output
    told = json.loads((folder / "summary.json").read_text())
    keys = {"direction", "adapt_s", "adapt_requests", "payload_bytes_before"}
    keys |= {"payload_bytes_after", "failed"}
    assert [row["direction"] for row in told["runs"]] == ["throttle", "restore"]
    assert all(keys <= row.keys() for row in told["runs"])
    assert not any(row["failed"] for row in told["runs"])
    assert told["steady_switches"] == len(told["steady"]["switches"])
    assert told["steady"]["redraws"] >= 1
    assert told["steady"]["requests"] > 0
    assert 20e6 < told["steady"]["least_bytes_per_s"] < told["steady"]["most_bytes_per_s"] + 1
    assert set(told["medians"]) == {"throttle", "restore"}
    assert len(told["targets"]) == 4
    assert (told["energy"], told["boundary"]) == ("modelled", "marginal")


def test_the_requests(played):
    folder, _ = played
    with (folder / "requests.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["run"] for row in rows} == {"0", "steady"}
    assert {row["phase"] for row in rows} == {"nominal", "throttled", "restored", "steady"}
    own = [row for row in rows if row["run"] == "0"]
    times = [float(row["sent_s"]) for row in own]
    assert times == sorted(times)
    assert all(sum(row["phase"] == phase for row in own) >= 5 for phase in ("nominal", "throttled"))
    assert all(float(row["latency_s"]) > 0 for row in rows)
    assert (folder / "throttle.png").stat().st_size > 10_000


def test_again_plays_nothing(played):
    folder, _ = played
    before = (folder / FILE).read_bytes(), (folder / "summary.json").read_bytes()
    outcome = run(folder)
    assert outcome.exit_code == 0, outcome.output
    assert ((folder / FILE).read_bytes(), (folder / "summary.json").read_bytes()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scene", "cluster"], "cannot hold links to a rate"),
        (["--throttled", "slow"], "given 'slow'"),
        (["--runs", "0"], "0 is not in the range x>=1"),
        (["--model", "vgg61"], "no model 'vgg61'"),
    ],
)
def test_it_refuses_at_the_start(tmp_path, options, message):
    outcome = run(tmp_path / "out", *options)
    assert outcome.exit_code in (1, 2)
    assert message in outcome.output
