"""The paper table from the command line, for real: embedded cluster, a model of milliseconds."""

import csv
import gzip
import json

import pytest
from click.testing import CliRunner

from experiments.paper_table.__main__ import main, wanted_of
from experiments.paper_table.approaches import APPROACHES
from experiments.shared.resume import FILE

OPTIONS = ["--models", "tiny_net:make", "--requests", "3", "--repetitions", "2"]
PLANS = 1 + 7 + 28  # six layers over one, two and three tiers of a chain


def run(folder, *options):
    return CliRunner().invoke(
        main, ["--quick", "--oracle", "all", "--out", str(folder), *OPTIONS, *options]
    )


@pytest.fixture(scope="module")
def played(tmp_path_factory):
    folder = tmp_path_factory.mktemp("table") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("RAY_ADDRESS", raising=False)
        return folder, run(folder)


def table(path):
    open_text = gzip.open if path.suffix == ".gz" else open
    with open_text(path, "rt") as file:
        return list(csv.DictReader(file))


def test_the_summary(played):
    folder, outcome = played
    assert outcome.exit_code == 0, outcome.output
    told = json.loads((folder / "summary.json").read_text())
    assert (told["energy"], told["boundary"]) == ("modelled", "marginal")
    assert "emulated" in told["provenance"]
    assert told["oracle"] == "every plan"
    assert [row["approach"] for row in told["rows"]] == list(APPROACHES)
    for row in told["rows"]:
        for key in ("latency_s", "energy_j", "end_energy_j"):
            assert row[f"{key}_mean"] > 0
            assert row[f"{key}_std"] >= 0
        assert (row["requests"], row["failed"]) == (6, 0)
        assert row["plan"].startswith("end:")
        assert row["runtimes"] == "torch"
    assert {row["score"] for row in told["rows"] if row["approach"] == "end-only"} == {1.0}
    assert {row["regret"] for row in told["rows"] if row["approach"] == "oracle"} == {0.0}
    assert len(told["targets"]) == 5


def test_the_tables(played):
    folder, _ = played
    assert len(table(folder / "repetitions.csv")) == 2 * len(APPROACHES)
    requests = table(folder / "requests.csv.gz")
    assert len(requests) == 6 * len(APPROACHES)
    assert len({row["plan"] for row in requests if row["approach"] == "static-middle"}) == 1
    oracle = table(folder / "oracle.csv")
    assert len({row["plan"] for row in oracle if row["measured_in"] == "all"}) == PLANS
    assert sum(row["measured_in"] == "final" for row in oracle) == 8
    assert (folder / "paper_table.md").read_text().count("| tiny_net:make | adaptive |") == 1
    for name in ("paper_table.png", "distribution.png"):
        assert (folder / name).stat().st_size > 10_000


def test_again_measures_nothing(played):
    folder, _ = played
    before = (folder / FILE).read_bytes(), (folder / "summary.json").read_bytes()
    outcome = run(folder)
    assert outcome.exit_code == 0, outcome.output
    assert ((folder / FILE).read_bytes(), (folder / "summary.json").read_bytes()) == before


def test_other_settings_are_refused(played):
    folder, _ = played
    outcome = run(folder, "--goal", "0.2", "0.2", "0.6")
    assert outcome.exit_code == 1
    assert "goal was [0.6, 0.2, 0.2], now [0.2, 0.2, 0.6]" in outcome.output


def test_an_interrupted_run_goes_on(played, tmp_path, monkeypatch):
    """Cut off in the middle of the last repetition's line: only that is measured again."""
    folder, _ = played
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    lines = (folder / FILE).read_bytes().splitlines(keepends=True)
    (tmp_path / FILE).write_bytes(b"".join(lines[:-1]) + lines[-1][:100])
    outcome = run(tmp_path)
    assert outcome.exit_code == 0, outcome.output
    again = (tmp_path / FILE).read_bytes().splitlines(keepends=True)
    assert again[:-1] == lines[:-1]
    assert again[-1] != lines[-1]
    assert json.loads(again[-1])["repetition"] == 1
    assert table(tmp_path / "oracle.csv") == table(folder / "oracle.csv")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--oracle", "few"], "all or a number, given 'few'"),
        (["--requests", "0"], "0 is not in the range x>=1"),
        (["--scene", "moon"], "'moon' is not one of"),
        (["--address", "1.2.3.4:6379"], "use it with --scene cluster"),
        (["--runtime", "magic"], "'magic' is not one of"),
        (["--goal", "1", "1", "1"], "weights must sum to 1"),
    ],
)
def test_bad_options_are_told_in_a_paragraph(tmp_path, options, message):
    outcome = CliRunner().invoke(main, ["--quick", "--out", str(tmp_path / "out"), *options])
    assert outcome.exit_code in (1, 2)
    assert message in outcome.output
    assert "Traceback" not in outcome.output


def test_quick_is_a_default_that_options_override():
    given = {"quick": True, "inputs": "dummy", "goal": (0.6, 0.2, 0.2), "requests": 7}
    given |= {"models": None, "oracle": "all", "runtimes": ()}
    wanted = wanted_of(given)
    assert (wanted.models, wanted.requests, wanted.oracle) == (("alexnet",), 7, None)
    full = wanted_of({**given, "quick": False, "requests": None, "oracle": "40"})
    assert (full.requests, full.repetitions, full.oracle) == (500, 10, 40)
    assert full.models == ("vgg16", "alexnet", "mobilenet_v2")
    assert full.runtimes == ()
    assert wanted_of({**given, "runtimes": ["onnx", "torch"]}).runtimes == ("onnx", "torch")
