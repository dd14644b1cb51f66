"""Where experiments leave their results: summary.json, one CSV per table. SI units throughout."""

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

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
