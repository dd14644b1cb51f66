"""What running several requests at once brings, and that it never costs anything.

    python -m experiments.batching --out DIR [--quick]

Measured, one thread, nothing slowed. In this process, without Ray and sockets: whole models on one
tier's workload, with 1 to 16 pictures waiting. The callers of a tier that several sessions share
are a scene of their own beside it, in `SCENES`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from experiments.batching.callers import callers_rows
from experiments.batching.one_process import WAITING, queues, rows_of
from experiments.shared.out import out_option
from experiments.shared.picture import grouped_bars
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, progress, write_csv, write_rows

MODELS = ("alexnet", "mobilenet_v2", "resnet18")
RUNTIMES = ("torch", "onnx")
GAIN = 1.7  # of AlexNet, with the most that wait
NOISE = 0.95  # a gain below is a loss
CALLERS_S = 4.0  # of a round
Found = tuple[list[Row], list[Row]]  # a row per queue length, and what was found per model


@click.command()
@out_option
@click.option("--quick", is_flag=True, help="One model, few rounds: to try it out.")
@click.option("--rounds", type=click.IntRange(2), help="Of each queue. [default: 9, quick 2]")
@plain_errors
def main(out: Path, quick: bool, rounds: int | None) -> None:
    """Measure whole models with 1 to 16 pictures waiting; write summary.json, CSVs and a PNG."""
    models = ("alexnet",) if quick else MODELS
    for name, scene in SCENES.items():
        rows, verdicts = scene(models, rounds or (2 if quick else 9))
        targets = list(_targets(rows))
        summary = {
            "provenance": "measured, nothing slowed, one thread, no network",
            "load_average": os.getloadavg()[0],
            "verdicts": verdicts,
            "targets": targets,
        }
        write_rows(out, name, rows, summary)
        if verdicts:
            write_csv(out / f"{name}_verdicts.csv", verdicts)
        _draw(out / f"{name}.png", rows)
        print_rows(rows, "Pictures per second, one by one and batched (measured)")
        if verdicts:
            print_rows(verdicts, "What was found out beforehand (measured)")
        for target in targets:
            click.echo("{what}: {value:.3g}, to reach {limit:g}: {verdict}".format(**target))


def one_process(models: tuple[str, ...], rounds: int) -> Found:
    """No Ray and no sockets."""
    rows: list[Row] = []
    verdicts: list[Row] = []
    with progress("batching", len(models) * len(RUNTIMES)) as advance:
        for model in models:
            for queue in queues(model, RUNTIMES):
                rows += rows_of(model, queue, rounds)
                times = queue.times
                each_ms = {n: 1e3 * s / n for n, s in times.measured} if times else {}
                verdicts.append(
                    {
                        "model": model,
                        "runtime": queue.runtime,
                        "measuring_s": queue.measuring_s,
                        "most": times.most if times else 1,
                        "each_ms": ", ".join(f"{n}: {ms:.1f}" for n, ms in each_ms.items()),
                        "why_alone": queue.workload.why_alone(*queue.bounds, queue.runtime),
                    }
                )
                advance()
    return rows, verdicts


def callers(models: tuple[str, ...], rounds: int) -> Found:
    """Sixteen sessions on one tier that is a process of its own, over real sockets."""
    rows: list[Row] = []
    with progress("callers", len(models) * len(RUNTIMES)) as advance:
        for model in models:
            for runtime in RUNTIMES:
                made = callers_rows(model, runtime, rounds, CALLERS_S)
                rows += ({**row, "waiting": row["callers"]} for row in made)
                advance()
    return rows, []


# Each gets models and rounds; its name is that of its files.
SCENES: Mapping[str, Callable[[tuple[str, ...], int], Found]] = {
    "one_process": one_process,
    "callers": callers,
}


def _targets(rows: list[Row]) -> Iterator[dict[str, Any]]:
    """What was to be reached, and whether it was."""
    for runtime in RUNTIMES:
        for row in rows:
            if (row["model"], row["runtime"], row["waiting"]) == ("alexnet", runtime, WAITING[-1]):
                what = f"AlexNet in {runtime}, {WAITING[-1]} waiting, gain"
                yield _target(what, row["gain"], GAIN)
                if "cpu_gain" in row:
                    yield _target(f"{what} by processor seconds", row["cpu_gain"], GAIN)
    batched = [row for row in rows if row.get("in_one_run", 0) > 1]
    for gain, by in (("gain", ""), ("cpu_gain", " by processor seconds")):
        for worst in sorted(batched, key=lambda row: float(row[gain]))[:1]:
            what = "least gain of a batch, {model} in {runtime} with {waiting} waiting"
            yield _target(what.format(**worst) + by, worst[gain], 1.0)
    for worst in sorted(rows, key=lambda row: float(row["gain"]))[:1]:
        if "callers" in worst:
            what = "the least gain, {model} in {runtime} with {callers} callers"
            yield _target(what.format(**worst), worst["gain"], NOISE)


def _target(what: str, value: float, limit: float) -> dict[str, Any]:
    verdict = "reached" if value >= limit else "MISSED"
    return {"what": what, "value": value, "limit": limit, "verdict": verdict}


def _draw(path: Path, rows: list[Row]) -> None:
    most = [row for row in rows if row["waiting"] == WAITING[-1]]
    grouped_bars(
        path,
        [f"{row['model']}\n{row['runtime']}" for row in most],
        {
            "one by one": [row["alone_per_s"] for row in most],
            "batched": [row["batched_per_s"] for row in most],
        },
        f"pictures per second, {WAITING[-1]} waiting (measured)",
    )


if __name__ == "__main__":
    main()
