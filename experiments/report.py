"""Where experiments leave their results: summary.json, a CSV, a table on the screen. SI units."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

Row = Mapping[str, Any]


def write_rows(out_dir: Path, name: str, rows: Sequence[Row], summary: Row) -> None:
    """Write NAME.csv with `rows` and summary.json with them and `summary` into `out_dir`.

    Every row has the same keys, units in their names. The directory is made where it is missing.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    with (out_dir / f"{name}.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]) if rows else [])
        writer.writeheader()
        writer.writerows(rows)
    text = json.dumps({"rows": list(rows), **summary}, indent=2, allow_nan=False)
    (out_dir / "summary.json").write_text(text + "\n")


def print_rows(rows: Sequence[Row], title: str) -> None:
    """Print rows as a table; figures to four digits."""
    table = Table(title=title)
    for key in rows[0] if rows else []:
        table.add_column(key)
    for row in rows:
        table.add_row(*(f"{v:.4g}" if isinstance(v, float) else str(v) for v in row.values()))
    Console().print(table)


@contextmanager
def progress(title: str, steps: int) -> Iterator[Callable[[], None]]:
    """A progress bar; what it yields is called after each of `steps` steps."""
    with Progress() as bars:
        bar = bars.add_task(title, total=steps)
        yield lambda: bars.advance(bar)
