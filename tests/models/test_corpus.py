"""The lists about the corpus are true: names, samples, what is pending, the page's tables."""

import re
from pathlib import Path

from corpus import FAMILIES, ROWS, SAMPLE, SESSION_SAMPLE
from pending import PENDING

NAMES = [row.name for row in ROWS]
PAGE = Path(__file__).parents[2] / "docs/reliability.md"


def tables():
    """Cells of the rows of both tables of the page's section."""
    section = PAGE.read_text().split("\n## Models that were tried\n")[1].split("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_every_name_is_one_row():
    assert len(NAMES) == len(set(NAMES)) >= 80
    assert {*SAMPLE, *SESSION_SAMPLE, *PENDING} <= set(NAMES)


def test_the_sample_has_some_of_each_family():
    for family, rows in FAMILIES.items():
        assert family == "refused" or {row.name for row in rows} & set(SAMPLE), family


def test_the_page_counts_the_families():
    told = {cells[0]: cells[1:3] for cells in tables() if cells[0] in FAMILIES}
    for family, rows in FAMILIES.items():
        refused = sum(bool(row.refused) for row in rows)
        assert told[family] == [str(len(rows) - refused), str(refused)], family


def test_the_page_names_rows_that_exist():
    named = [name for cells in tables() for name in re.findall(r"`([^`]+)`", cells[-1])]
    assert named
    assert set(named) <= set(NAMES)
