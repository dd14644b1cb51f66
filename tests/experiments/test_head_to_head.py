"""experiments.head_to_head: a small replay gives what it gave before, and its figures fit.

To make the golden file anew, after a change that is meant: run this module.
"""

import json
from pathlib import Path

import pytest

from experiments.head_to_head.condition import conditions
from experiments.head_to_head.page import losses_page
from experiments.head_to_head.replayed import replayed
from experiments.head_to_head.rows import CLAIRVOYANT, OURS
from experiments.head_to_head.table import stated_tables

GOLDEN = Path(__file__).parent / "head_to_head.json"
WHERE = ("steady 3 Mbit/s", "subway", "drive", "edge loaded", "edge lost")
POLICIES = ("scission", "dads", "ans")
FIGURES = ("score", "mean_s", "p99_s", "end_j", "total_j", "late", "switches", "over clairvoyant")


def played():
    """The rows of a small replay, and its lost cells."""
    table = stated_tables()[0]
    found = [
        replayed(table, one, POLICIES, requests=40, seed=5)
        for one in conditions()
        if one.name in WHERE
    ]
    return [row for rows, _ in found for row in rows], [row for _, lost in found for row in lost]


def figures(rows):
    """By cell and policy."""
    return {
        f"{row['condition']}, {row['goal']}, {row['policy']}": {key: row[key] for key in FIGURES}
        for row in rows
    }


@pytest.fixture(scope="module")
def both():
    return played()


def test_the_same_seed_gives_what_it_gave(both):
    golden, found = json.loads(GOLDEN.read_text()), figures(both[0])
    assert found.keys() == golden.keys()
    for key, expected in golden.items():
        assert found[key] == pytest.approx(expected, rel=1e-6, abs=1e-9), key


def test_nobody_beats_who_knows_what_comes_where_nothing_changes(both):
    steady = [row for row in both[0] if row["condition"].startswith("steady")]
    assert {row["policy"] for row in steady} >= {OURS, CLAIRVOYANT, *POLICIES}
    for row in steady:
        if "JPEG" not in row["policy"]:  # that sends fewer bytes than any plan does
            assert row["over clairvoyant"] > -0.01, row["policy"]


def test_the_page_names_each_lost_cell(both):
    rows, lost = both
    page = losses_page(rows, lost, "S.")
    assert all(f"| {row['condition']} |" in page for row in lost)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(figures(played()[0]), indent=1) + "\n")
