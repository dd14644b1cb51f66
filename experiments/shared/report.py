"""Where experiments leave their results: summary.json, CSVs, tables on the screen. SI units.

A file is there whole or as it was before: it is written beside its place and then moved there.
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

Row = Mapping[str, Any]
PLAIN_WIDTH = 150  # columns where stdout is no terminal, so that tables do not wrap


def write_rows(out_dir: Path, name: str, rows: Sequence[Row], summary: Row) -> None:
    """Write NAME.csv with `rows` and summary.json with them and `summary` into `out_dir`.

    Every row has the same keys, units in their names. The directory is made where it is missing.
    """
    out_dir.mkdir(parents=True, exist_ok=True)
    write_csv(out_dir / f"{name}.csv", rows)
    write_json(out_dir / "summary.json", {"rows": list(rows), **summary})


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Rows with the same keys; None is an empty cell. Compressed where the name ends in .gz."""
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    data = text.getvalue().encode()
    _replace(path, gzip.compress(data, mtime=0) if path.suffix == ".gz" else data)


def write_json(path: Path, value: Row) -> None:
    """Indented JSON; raises ValueError for NaN and infinity."""
    _replace(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_text(path: Path, text: str) -> None:
    """The text as UTF-8."""
    _replace(path, text.encode())


def _replace(path: Path, data: bytes) -> None:
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(data)
    os.replace(beside, path)


def markdown_table(rows: Sequence[Row]) -> str:
    """Rows with the same keys as a Markdown table; cells are shown as print_rows shows them."""
    if not rows:
        return ""
    lines = [list(rows[0]), ["---"] * len(rows[0]), *([_cell(v) for v in r.values()] for r in rows)]
    return "".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |\n" for line in lines
    )


def print_rows(rows: Sequence[Row], title: str) -> None:
    """Print rows as a table; figures to four digits."""
    table = Table(title=title)
    for key in rows[0] if rows else []:
        table.add_column(key)
    for row in rows:
        # A plan's [onnx] would be taken for markup.
        table.add_row(*(escape(_cell(value)) for value in row.values()))
    console().print(table)


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def console() -> Console:
    """The terminal, or plain wide lines where there is none."""
    found = Console()
    return found if found.is_terminal else Console(width=PLAIN_WIDTH)


@contextmanager
def progress(title: str, steps: int) -> Iterator[Callable[[], None]]:
    """A progress bar; what it yields is called after each of `steps` steps."""
    with Progress() as bars:
        bar = bars.add_task(title, total=steps)
        yield lambda: bars.advance(bar)


@contextmanager
def progress_bars() -> Iterator[Callable[[str, int, int], Callable[[], None]]]:
    """Bars with the time left, one per part of an experiment.

    Yields begin(title, steps, done): begins a part of which so many steps are done already and
    returns what is called after each further one. The part before it counts as ended.
    """
    with Progress() as bars:

        def begin(title: str, steps: int, done: int) -> Callable[[], None]:
            bar = bars.add_task(title, total=steps, completed=done)
            return lambda: bars.advance(bar)

        yield begin
