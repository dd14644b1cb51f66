"""The whole demo for the command line: play it, print the result, write the files."""

from pathlib import Path

from edgesplit.demo.files import write_files
from edgesplit.demo.outcome import ModelRun
from edgesplit.demo.scenario import GOAL, Scenario, run
from edgesplit.demo.view import (
    conclusion,
    opened_console,
    opened_view,
    remarks,
    results_table,
)

_INTRODUCTION = (
    "Photographs of scikit-image, random weights (seed 0). Goal: {} x end energy + {} x total "
    "energy + {} x latency; at least {} layer stays on the end tier, so the photograph itself "
    "never leaves it. Each photograph goes through a static plan and through the plan in force, by "
    "turns. After a quarter of them the edge-cloud link is throttled from 40 MB/s to 5 Mbit/s, "
    "after five eighths restored."
)


def play(scenario: Scenario, folder: Path, is_live: bool) -> list[ModelRun]:
    """Run the demo and leave its files in `folder`. Raises EdgeSplitError."""
    console = opened_console()
    weights = (GOAL.end_energy, GOAL.total_energy, GOAL.latency, GOAL.min_end_layers)
    console.print(_INTRODUCTION.format(*weights), highlight=False)
    with opened_view(console, is_live) as view:
        runs = run(scenario, view)
    console.print(results_table(runs))
    for text in (sentence for done in runs for sentence in remarks(done)):
        console.print(text, highlight=False)
    for path in write_files(runs, folder):
        console.print(f"wrote {path}", highlight=False)
    console.print(conclusion(runs), highlight=False)
    return runs
