"""experiments.head_to_head: a small replay gives what it gave before, and its figures fit.

To make the golden file anew, after a change that is meant: run this module.
"""

import json
from pathlib import Path

import pytest

from experiments.head_to_head.condition import conditions
from experiments.head_to_head.page import losses_page
from experiments.head_to_head.replayed import replayed
from experiments.head_to_head.rows import BEST_TRIVIAL, CLAIRVOYANT, OURS
from experiments.head_to_head.table import stated_tables
from experiments.head_to_head.targets import standing

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


def test_who_is_told_of_links_may_be_charged_for_it():
    def cell(ours, told, trivial, probes=0.1):
        common = {"model": "m", "condition": "c", "goal": "g", "within_noise": False}
        common |= {f"over {BEST_TRIVIAL}": 0.0, f"over {CLAIRVOYANT}": 0.0}
        figures = ((OURS, "ours", ours), ("dads", "published", told), ("end", "trivial", trivial))
        return [
            {**common, "policy": name, "kind": kind, "score": score, "of which probes": probes}
            for name, kind, score in figures
        ]

    verdicts = [
        (cell(1.0, 1.1, 2.0), (True, True)),
        (cell(1.0, 0.95, 2.0), (False, True)),
        (cell(1.0, 0.85, 2.0), (False, False)),
        (cell(1.0, 2.0, 0.95), (False, False)),  # it asks nothing
    ]
    for rows, expected in verdicts:
        stands = standing(rows)
        assert (stands["is_least"], stands["is_least_charged"]) == expected


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(figures(played()[0]), indent=1) + "\n")
