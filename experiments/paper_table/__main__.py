"""Static against adaptive plans, with the trivial ones and the oracle: the paper's table and more.

    python -m experiments.paper_table --out DIR [--quick]

Per model the approaches take turns, request by request. Static-middle cuts the layers in equal
thirds over end, edge and cloud; static-best is the planner's choice under the conditions of the
beginning. Both stay. The scene says what is emulated; energy is modelled.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgesplit import Goal
from edgesplit.caller.inputs.zoo import check_names
from edgesplit.node.runtime.table import RUNTIMES
from experiments.paper_table.comparison import INPUTS, Comparison, Wanted
from experiments.paper_table.picture import draw_bars, draw_distributions
from experiments.paper_table.summary import (
    ModelResult,
    changes,
    oracle_rows,
    repetition_rows,
    request_rows,
    rows,
    targets,
)
from experiments.paper_table.text import (
    ENERGY_NOTE,
    change_cells,
    paper_cells,
    row_cells,
    table_page,
)
from experiments.shared.options import scene_options
from experiments.shared.paper import PAPER
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import print_rows, progress_bars, write_csv, write_rows, write_text
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene, scene_named

FULL: dict[str, Any] = {
    "models": "vgg16,alexnet,mobilenet_v2",
    "requests": 500,
    "repetitions": 10,
    "warm_up_rounds": 5,
    "oracle": "all",
    "oracle_requests": 2,
    "final_rounds": 20,
}
QUICK: dict[str, Any] = {
    "models": "alexnet",
    "requests": 5,
    "repetitions": 2,
    "warm_up_rounds": 2,
    "oracle": "10",
    "oracle_requests": 1,
    "final_rounds": 3,
}


def _default(name: str) -> str:
    return f"[default: {FULL[name]}, with --quick {QUICK[name]}]"


@click.command()
@scene_options
@click.option("--quick", is_flag=True, help="One model and few requests: to try it out.")
@click.option("--models", metavar="NAME,...", help=f"Of torchvision. {_default('models')}")
@click.option(
    "--requests", type=click.IntRange(1), help=f"Per approach, repetition. {_default('requests')}"
)
@click.option(
    "--repetitions", type=click.IntRange(1), help=f"Of all requests. {_default('repetitions')}"
)
@click.option(
    "--inputs",
    type=click.Choice(INPUTS),
    default="dummy",
    show_default=True,
    help="A random 1x3x224x224 tensor (seed 0), or the photographs of scikit-image in turn.",
)
@click.option(
    "--oracle",
    metavar="all|N",
    help=f"Plans it tries: all, or the N that the cost model likes best. {_default('oracle')}",
)
@click.option(
    "--oracle-requests",
    type=click.IntRange(1),
    help=f"Per plan it tries. {_default('oracle_requests')}",
)
@click.option(
    "--goal",
    type=float,
    nargs=3,
    default=(0.6, 0.2, 0.2),
    show_default=True,
    metavar="END TOTAL LATENCY",
    help="Weights of end energy, energy of all tiers and latency; their sum is 1.",
)
@click.option(
    "--runtime",
    "runtimes",
    multiple=True,
    type=click.Choice(list(RUNTIMES)),
    help="What segments may be run in; give several, of which plans choose. [default: Config's]",
)
@plain_errors
def main(out: Path, fresh: bool, scene: str, address: str | None, **given: Any) -> None:
    """Compare adaptive plans with static ones, with one tier alone and with the oracle.

    The oracle is the plan that measured best of all plans, found beforehand under the same
    conditions. Writes summary.json, paper_table.csv, repetitions.csv, requests.csv.gz, oracle.csv,
    paper_table.md, paper_table.png and distribution.png. The full run takes many hours; it can be
    interrupted at any time and continued by the same command.
    """
    wanted = wanted_of(given)
    settings = {"experiment": "paper_table", "scene": scene, **asdict(wanted)}
    with scene_named(scene, address) as place, progress_bars() as bars:
        journal = Journal(out, settings).open(fresh)
        measured = [Comparison(model, wanted, journal, bars) for model in wanted.models]
        for count, comparison in enumerate(measured, 1):
            comparison.measure(place)
            summary = _write(out, measured[:count], settings, place)
    _show(summary)


def wanted_of(given: dict[str, Any]) -> Wanted:
    """What the command line asks for; what it leaves out is as in a full or a quick run."""
    values = dict(QUICK if given["quick"] else FULL)
    values |= {name: value for name, value in given.items() if name in values and value is not None}
    models = tuple(filter(None, values.pop("models").split(",")))
    check_names(models)
    Goal(*given["goal"])  # weights that cannot be are told before anything is measured
    oracle = values.pop("oracle")
    if oracle != "all" and not (oracle.isdecimal() and int(oracle) > 0):
        raise click.BadParameter(f"all or a number, given {oracle!r}", param_hint="--oracle")
    limit = None if oracle == "all" else int(oracle)
    return Wanted(
        models=models,
        oracle=limit,
        inputs=given["inputs"],
        goal=tuple(given["goal"]),
        runtimes=tuple(given["runtimes"]),
        **values,
    )


def _write(
    out: Path, measured: Sequence[Comparison], settings: dict[str, Any], place: Scene
) -> dict[str, Any]:
    """All files, from what the journal has; returns what summary.json holds."""
    results = [comparison.result() for comparison in measured]
    goal = Goal(*settings["goal"])
    found = [row for result in results for row in rows(result, goal)]
    tried = settings["oracle"]
    summary = {
        **measured[0].provenance(),
        "provenance": place.provenance,
        "energy_note": ENERGY_NOTE,
        "oracle": "every plan" if tried is None else f"the {tried} plans of least modelled score",
        "changes": changes(found),
        "targets": targets(found),
        "paper": {model: asdict(PAPER[model]) for model in settings["models"] if model in PAPER},
        "settings": settings,
    }
    write_rows(out, "paper_table", found, summary)
    _write_raw(out, results, goal)
    whole = {"rows": found, **summary}
    write_text(out / "paper_table.md", table_page(whole))
    draw_bars(out / "paper_table.png", whole)
    draw_distributions(out / "distribution.png", results, place.provenance)
    return whole


def _write_raw(out: Path, results: Sequence[ModelResult], goal: Goal) -> None:
    write_csv(out / "repetitions.csv", [row for r in results for row in repetition_rows(r, goal)])
    write_csv(out / "requests.csv.gz", [row for r in results for row in request_rows(r)])
    write_csv(out / "oracle.csv", [row for r in results for row in oracle_rows(r, goal)])


def _show(summary: dict[str, Any]) -> None:
    print_rows(row_cells(summary["rows"]), "Per request: mean ± deviation over repetitions")
    print_rows(change_cells(summary["changes"]), "Adaptive against each other approach")
    print_rows(paper_cells(summary["rows"]), "Adaptive against static-middle, and the paper's")
    click.echo(ENERGY_NOTE)
    click.echo(f"oracle: the best measured of {summary['oracle']}")
    for target in summary["targets"]:
        verdict = "reached" if target["reached"] else "MISSED"
        click.echo(
            f"{target['model']}: {target['target']}: {target['value']:+.1%}, "
            f"to reach {target['limit']:+.0%} or less: {verdict}"
        )
    click.echo(f"{summary['provenance']} Energy in the {summary['boundary']} boundary.")


if __name__ == "__main__":
    main()
