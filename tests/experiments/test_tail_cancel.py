"""How soon losers of hedges give up: real tiers in processes of their own, real sockets."""

import csv
import json

from click.testing import CliRunner

from experiments.tail.cancel import main, row_of
from experiments.tail.cancelled import CASES


def test_every_loser_lets_go_and_begins_nothing_more(tmp_path):
    done = CliRunner().invoke(main, ["--out", str(tmp_path), "--requests", "2"])
    assert done.exit_code == 0, done.output
    with (tmp_path / "cancel.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["loser"] for row in rows] == list(CASES)
    assert {row["requests"] for row in rows} == {"2"}
    assert all(0 < float(row["median_s"]) <= float(row["longest_s"]) for row in rows)
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert summary["provenance"].startswith("measured")


def test_a_row_says_how_long_it_took():
    row = row_of("edge, queued", [k / 1000 for k in range(1, 102)])
    assert (row["requests"], row["median_s"], row["longest_s"]) == (101, 0.051, 0.101)
    assert row["p99_s"] == 0.1
