"""Head to head: EdgeSplit and published policies under the same requests, replayed.

    python -m experiments.head_to_head --out DIR [--quick] [--tables PATH] [--trace PATH|CLASS]

No hardware and no Ray: the same result for the same seed, but for decisions.csv, which is measured.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from experiments.head_to_head.condition import TRACES, Condition, conditions
from experiments.head_to_head.decisions import decision_rows
from experiments.head_to_head.replayed import policies_named, replayed
from experiments.head_to_head.report import write_report
from experiments.head_to_head.rows import Row
from experiments.head_to_head.table import Table, stated_tables
from experiments.head_to_head.user_tables import read_tables
from experiments.shared.out import resumed_out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.processes import spread_over
from experiments.shared.report import progress
from experiments.shared.resume import Journal
from experiments.shared.stated_devices import MODELS
from experiments.shared.trace_class import TRACE_NAMES, trace_named

REQUESTS, QUICK_REQUESTS = 400, 60
QUICK_MODELS, QUICK_CONDITIONS = MODELS[:2], ("steady 10 Mbit/s", TRACES[0], "edge loaded")


@click.command()
@resumed_out_option
@click.option(
    "--tables",
    type=click.Path(exists=True, path_type=Path),
    help="Devices and models of your own: a recording by `edgesplit events --out`, or a folder of "
    "Scission's tables. [default: six models on stated devices]",
)
@click.option(
    "--trace",
    "traces",
    multiple=True,
    help=f"A file, or one of {', '.join(TRACE_NAMES)}; may be repeated. "
    f"[default: {', '.join(TRACES)}]",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    help="One of the tables, by its name; may be repeated. [default: all]",
)
@click.option(
    "--policies",
    default="",
    help="Beside EdgeSplit and those on one tier, separated by commas. [default: all]",
)
@click.option("--requests", type=click.IntRange(20), help=f"Of each cell. [default: {REQUESTS}]")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    help="Processes. [default: one per core]",
)
@click.option("--fresh", is_flag=True, help="Start over, whatever the folder holds.")
@click.option("--quick", is_flag=True, help="Two models, three conditions, few requests.")
@plain_errors
def main(
    out: Path, tables: Path | None, policies: str, seed: int, workers: int, **given: Any
) -> None:
    """Replay every policy under every condition, and say where EdgeSplit loses.

    Writes summary.json, head_to_head.csv, head_to_head.md, losses.csv, losses.md, decisions.csv,
    regret.png and pareto.png.
    """
    quick = given["quick"]
    traces = given["traces"] or TRACES
    wanted = _chosen(read_tables(tables) if tables else stated_tables(), given["models"])
    for name in traces:
        trace_named(name, 1, seed)  # what is none is said before anything is written
    every = conditions(tuple(traces))
    if quick:
        wanted = wanted if given["models"] else wanted[: len(QUICK_MODELS)]
        every = [one for one in every if one.name in (*QUICK_CONDITIONS, traces[0])]
    names = policies_named([name for name in policies.split(",") if name])
    requests = given["requests"] or (QUICK_REQUESTS if quick else REQUESTS)
    settings = {
        "experiment": "head_to_head",
        "models": [table.name for table in wanted],
        "conditions": [one.name for one in every],
        "policies": names,
        "requests": requests,
        "seed": seed,
        "tables": tables.name if tables else "stated",
    }
    journal = Journal(out, settings).open(given["fresh"])
    rows, lost = _replay(journal, wanted, every, (names, requests, seed, workers))
    decided = [row for table in wanted for row in decision_rows(table, names, seed)]
    about = {"provenance": "simulated", "settings": settings}
    moving = [one.name for one in every if one.is_trace and not one.is_bursty]
    write_report(out, (rows, lost, decided), moving, about)


def _chosen(tables: list[Table], names: Sequence[str]) -> list[Table]:
    known = {table.name: table for table in tables}
    strange = [name for name in names if name not in known]
    if strange:
        raise click.UsageError(f"no model {strange[0]!r}; there are {', '.join(known)}")
    return [known[name] for name in names] or tables


def _replay(
    journal: Journal,
    tables: Sequence[Table],
    every: Sequence[Condition],
    how: tuple[tuple[str, ...], int, int, int],
) -> tuple[list[Row], list[Row]]:
    """All rows, and the lost cells; what the journal has is not done again."""
    policies, requests, seed, workers = how
    pairs = [(table, condition) for table in tables for condition in every]
    left = [p for p in pairs if not journal.has(model=p[0].name, condition=p[1].name)]
    jobs = [(table, condition, policies, requests, seed) for table, condition in left]
    with progress("models and conditions", len(left)) as step, spread_over(workers) as each:
        for (table, condition), (rows, lost) in zip(left, each(replayed, jobs), strict=True):
            key = {"model": table.name, "condition": condition.name}
            journal.append({**key, "rows": rows, "lost": lost})
            step()
    done = [next(journal.find(model=t.name, condition=c.name)) for t, c in pairs]
    rows = [row for one in done for row in one["rows"]]
    return rows, [row for one in done for row in one["lost"]]


if __name__ == "__main__":
    main()
