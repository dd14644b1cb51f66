"""What each runtime brings: latency, first use, memory, error; the choice and its predictions.

    python -m experiments.runtimes --out DIR [--quick] [--compile] [--cuda]

Measured, one thread, nothing slowed, no Ray: this machine alone. Runtimes take turns in one run.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import click
import torch

from edgesplit.caller.inputs.zoo import check_names
from edgesplit.node.runtime import cuda
from experiments.runtimes.bench import THREADS
from experiments.runtimes.parts import WHOLE
from experiments.runtimes.picture import draw_runtimes
from experiments.runtimes.process import ask
from experiments.runtimes.verdicts import missing_rows, part_rows, prediction, verdicts
from experiments.shared.machine import machine_here
from experiments.shared.out import resumed_out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import print_rows, progress, write_csv, write_rows
from experiments.shared.resume import Entry, Journal

RUNTIMES = ("torch", "torch-channels-last", "onnx")
FULL: dict[str, Any] = {
    "models": "vgg16,alexnet,mobilenet_v2,resnet50,vit_b_16",
    "rounds": 15,
    "plans": 30,
    "plan_rounds": 7,
}
QUICK: dict[str, Any] = {"models": "mobilenet_v2", "rounds": 3, "plans": 4, "plan_rounds": 3}


def _default(name: str) -> str:
    return f"[default: {FULL[name]}, with --quick {QUICK[name]}]"


@click.command()
@resumed_out_option
@click.option("--fresh", is_flag=True, help="Start over, whatever the folder holds.")
@click.option("--quick", is_flag=True, help="One model and few rounds: to try it out.")
@click.option("--models", metavar="NAME,...", help=f"Of torchvision. {_default('models')}")
@click.option("--rounds", type=click.IntRange(2), help=f"Of runtimes. {_default('rounds')}")
@click.option("--plans", type=click.IntRange(1), help=f"Predicted, tried. {_default('plans')}")
@click.option("--plan-rounds", type=click.IntRange(1), help=f"Of plans. {_default('plan_rounds')}")
@click.option("--compile", "with_compile", is_flag=True, help="Also Inductor: minutes a model.")
@click.option("--cuda", "with_cuda", is_flag=True, help="Also an NVIDIA GPU.")
@plain_errors
def main(out: Path, fresh: bool, with_compile: bool, with_cuda: bool, **given: Any) -> None:
    """Measure every runtime of this machine on whole models, thirds of them and sampled plans.

    Writes summary.json, runtimes.csv, plans.csv, first_use.csv and runtimes.png. Can be interrupted
    at any time and continued by the same command; finished models are kept.
    """
    defaults = QUICK if given.pop("quick") else FULL
    wanted = {**defaults, **{name: value for name, value in given.items() if value is not None}}
    models = list(filter(None, wanted.pop("models").split(",")))
    check_names(models)
    extra = [name for name, is_on in (("compile", with_compile), ("cuda", with_cuda)) if is_on]
    settings = {"experiment": "runtimes", "models": models, "runtimes": [*RUNTIMES, *extra]}
    settings |= wanted
    journal = Journal(out, settings).open(fresh)
    with progress("runtimes", len(models) * (1 + len(settings["runtimes"]))) as advance:
        for model in models:
            _measure(model, settings, journal, advance)
    _show(_write(out, settings, journal))


def _measure(
    model: str, settings: dict[str, Any], journal: Journal, advance: Callable[[], None]
) -> None:
    """What the journal lacks of one model."""
    named = {"kind": "model", "model": model}
    if not journal.has(**named):
        wanted = {key: settings[key] for key in ("runtimes", "rounds", "plans", "plan_rounds")}
        journal.append({**named, **ask({**named, **wanted})})
    advance()
    for runtime in settings["runtimes"]:
        named = {"kind": "first_use", "model": model, "runtime": runtime}
        if not journal.has(**named):
            journal.append({**named, **ask(named)})
        advance()


def _write(out: Path, settings: dict[str, Any], journal: Journal) -> dict[str, Any]:
    """All files, from what the journal has; returns what summary.json holds."""
    entries = list(journal.find(kind="model"))
    rows = [row for entry in entries for row in part_rows(entry)]
    first_use = [_without_kind(e) for e in journal.find(kind="first_use") if "missing" not in e]
    judged = [verdict for entry in entries for verdict in verdicts(entry)]
    machine = _machine()
    summary = {
        "provenance": "measured, nothing slowed, one machine, no network",
        "machine": machine,
        "load_average": {entry["model"]: entry["load_average"] for entry in entries},
        "chosen": {entry["model"]: entry["chosen"] for entry in entries},
        "row_s": {entry["model"]: entry["row_s"] for entry in entries},
        "cpu_row_s": {entry["model"]: entry["cpu_row_s"] for entry in entries},
        "first_use": first_use,
        "predictions": [prediction(entry) for entry in entries],
        "verdicts": judged,
        "targets_reached": all(verdict["reached"] for verdict in judged),
        "missing": missing_rows(entries),
        "settings": settings,
    }
    write_rows(out, "runtimes", rows, summary)
    plans = {entry["model"]: entry["plans"] for entry in entries}
    write_csv(
        out / "plans.csv", [{"model": m, **row} for m, found in plans.items() for row in found]
    )
    write_csv(out / "first_use.csv", first_use)
    where = " + ".join(filter(None, (machine["cpu"], machine["gpu"])))
    note = f"Runtimes, {THREADS} thread, batch 1 (measured; {where})"
    draw_runtimes(out / "runtimes.png", rows, plans, note)
    return {"rows": rows, **summary}


def _without_kind(entry: Entry) -> Entry:
    return {key: value for key, value in entry.items() if key != "kind"}


def _show(summary: dict[str, Any]) -> None:
    columns = ("model", "runtime", "latency_s", "cpu_s", "speedup", "cpu_speedup", "relative_error")
    wholes = [row for row in summary["rows"] if row["part"] == WHOLE]
    print_rows([_only(row, columns) for row in wholes], "Whole model (measured)")
    print_rows(summary["first_use"], "First use in a fresh process (measured)")
    print_rows(summary["predictions"], "Plans: predicted against measured")
    for row in summary["missing"]:
        click.echo(f"{row['model']}: no {row['runtime']}: {row['reason']}")
    for row in summary["verdicts"]:
        verdict = "reached" if row["reached"] else "MISSED"
        bound = f"to reach {row['limit']:g}"
        click.echo(f"{row['model']}: {row['target']}: {row['value']:.3g}, {bound}: {verdict}")
    click.echo(f"chosen all on one tier: {summary['chosen']}; {summary['provenance']}")


def _only(row: Entry, columns: Sequence[str]) -> Entry:
    return {key: row[key] for key in columns}


def _machine() -> dict[str, Any]:
    """What the figures depend on: processor, GPU, threads, versions."""
    gpu = None if cuda.missing() else torch.cuda.get_device_name()
    return machine_here(THREADS) | {"gpu": gpu}


if __name__ == "__main__":
    main()
