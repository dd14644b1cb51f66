"""The files the demo leaves: summary.json, requests.csv, timeline.png."""

import csv
import json
from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path

from edgesplit.demo.outcome import DemoRequest, ModelRun, summary
from edgesplit.demo.picture import draw_timeline


def write_files(runs: Sequence[ModelRun], folder: Path) -> list[Path]:
    """Write all three into `folder`; returns their paths. SI units."""
    paths = [folder / name for name in ("summary.json", "requests.csv", "timeline.png")]
    paths[0].write_text(json.dumps(summary(runs), indent=2, allow_nan=False) + "\n")
    with paths[1].open("w", newline="") as file:
        names = [field.name for field in fields(DemoRequest)]
        writer = csv.DictWriter(file, fieldnames=[*names, "emulated"])
        writer.writeheader()
        for run in runs:
            writer.writerows(_row(request) for request in run.requests)
    draw_timeline(runs, paths[2])
    return paths


def _row(request: DemoRequest) -> dict[str, object]:
    return {**asdict(request), "plan": str(request.plan), "emulated": True}
