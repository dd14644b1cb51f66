"""8 bits on one thread: onnx-int8 against eager torch and onnx, whole and as three ranges.

    python -m experiments.int8 --out DIR [--quick]
    python -m experiments.int8 --out DIR --model NAME --data imagenet:PATH --weights FILE

Measured on this machine alone, batch 1, 224 x 224, random weights of a fixed seed or one's own,
nothing slowed, no Ray. Runtimes take turns in one process per model.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from edgesplit.caller.inputs.zoo import check_names
from experiments.int8.rows import columns_shown, rows_of, verdicts
from experiments.int8.sides import THREADS, measured_apart
from experiments.runtimes.parts import WHOLE
from experiments.shared.machine import machine_here
from experiments.shared.out import resumed_out_option
from experiments.shared.own_data import own_data, own_data_options, settings_of
from experiments.shared.picture import grouped_bars
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, progress, write_rows
from experiments.shared.resume import Entry, Journal

FULL: dict[str, Any] = {"models": "mobilenet_v2,alexnet,resnet18,vgg16", "rounds": 25}
QUICK: dict[str, Any] = {"models": "mobilenet_v2", "rounds": 5}


@click.command()
@resumed_out_option
@click.option("--fresh", is_flag=True, help="Start over, whatever the folder holds.")
@click.option("--quick", is_flag=True, help="One model and few rounds: to try it out.")
@click.option("--models", metavar="NAME,...", help=f"Of torchvision. [default: {FULL['models']}]")
@click.option("--rounds", type=click.IntRange(2), help=f"[default: {FULL['rounds']}]")
@own_data_options
@plain_errors
def main(
    out: Path,
    fresh: bool,
    quick: bool,
    models: str | None,
    rounds: int | None,
    **options: Any,
) -> None:
    """Measure 8 bits against floats on whole models and on three ranges of each.

    Writes summary.json, int8.csv and int8.png. Can be interrupted at any time and continued by the
    same command; finished models are kept.
    """
    defaults, own = QUICK if quick else FULL, own_data(options)
    if own is not None and models is not None:
        raise click.UsageError("give --models, or --model with --data and --weights, not both")
    names = list(filter(None, (models or defaults["models"]).split(",")))
    names = names if own is None else [own.model]
    check_names(names)
    wanted: int = rounds or defaults["rounds"]
    settings = {"experiment": "int8", "models": names, "rounds": wanted} | settings_of(own)
    journal = Journal(out, settings).open(fresh)
    with progress("int8", len(names)) as advance:
        for model in names:
            if not journal.has(model=model):
                begun = os.getloadavg()[0]
                found = measured_apart(model, wanted, own)
                loads = [begun, os.getloadavg()[0]]
                journal.append({"model": model, **found, "load_average": loads})
            advance()
    _show(_write(out, settings, list(journal.find())))


def _write(out: Path, settings: dict[str, Any], entries: Sequence[Entry]) -> dict[str, Any]:
    """All files; returns what summary.json holds."""
    rows = [row for entry in entries for row in rows_of(entry)]
    judged = [verdict for entry in entries for verdict in verdicts(entry)]
    told = ("load_average", "quantise_s", "graph_bytes")
    what = (
        "weights and data of one's own" if "own" in settings else "random weights, noise as input"
    )
    summary = {
        "provenance": f"measured, nothing slowed, one machine, {what}",
        "machine": machine_here(THREADS),
        **{key: {entry["model"]: entry[key] for entry in entries} for key in told},
        "accuracy": {e["model"]: e["accuracy"] for e in entries if "accuracy" in e},
        "verdicts": judged,
        "targets_reached": all(verdict["reached"] for verdict in judged),
        "settings": settings,
    }
    write_rows(out, "int8", rows, summary)
    _draw(out / "int8.png", [row for row in rows if row["part"] == WHOLE])
    return {"rows": rows, **summary}


def _draw(path: Path, wholes: Sequence[Row]) -> None:
    models = list(dict.fromkeys(row["model"] for row in wholes))
    by_runtime: dict[str, list[Row]] = {}
    for row in wholes:
        by_runtime.setdefault(row["runtime"], []).append(row)
    ms = {name: [1e3 * row["latency_s"] for row in rows] for name, rows in by_runtime.items()}
    spread = {
        name: [(1e3 * row["latency_s_q1"], 1e3 * row["latency_s_q3"]) for row in rows]
        for name, rows in by_runtime.items()
    }
    grouped_bars(path, models, ms, f"whole model, {THREADS} thread, ms (measured)", spread)


def _show(summary: dict[str, Any]) -> None:
    print_rows([columns_shown(row) for row in summary["rows"]], "onnx-int8 (measured)")
    for row in summary["verdicts"]:
        verdict = "reached" if row["reached"] else "MISSED"
        bound = f"to reach {row['limit']:g}"
        click.echo(f"{row['model']}: {row['target']}: {row['value']:.3g}, {bound}: {verdict}")
    for model, found in summary["accuracy"].items():
        click.echo(
            f"{model}: {found['torch']:.2%} right in torch, of {found['count']} examples; 8 bits "
            f"cost {found['share']:.2%} ({found['lower']:.2%} to {found['upper']:.2%})"
        )
    click.echo(summary["provenance"])


if __name__ == "__main__":
    main()
