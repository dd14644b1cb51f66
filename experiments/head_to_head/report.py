"""What head_to_head writes and prints, of whichever form: files, tables, pictures, the page."""

from collections.abc import Sequence
from pathlib import Path

import click

from experiments.head_to_head.page import losses_page
from experiments.head_to_head.picture import draw_pareto, draw_regret
from experiments.head_to_head.rows import Row
from experiments.head_to_head.targets import targets
from experiments.head_to_head.text import by_condition, by_policy, cell_tables, standings
from experiments.shared.report import markdown_table, print_rows, write_csv, write_json, write_text

DEFINITION = (
    "score is the goal's S, mean over requests, with the reference of all layers on the entry tier."
)


def write_report(
    out: Path,
    found: tuple[Sequence[Row], Sequence[Row], Sequence[Row]],
    traces: Sequence[str],
    about: Row,
) -> None:
    """found: rows, lost cells, decision times. traces: names of the conditions that are one."""
    rows, lost, decided = found
    reached, every = targets(rows, traces), standings(rows)
    caption = f"{about['provenance']}; {about['settings']['requests']} requests a cell"
    write_csv(out / "head_to_head.csv", rows)
    write_csv(out / "losses.csv", lost)
    write_csv(out / "standings.csv", every)
    write_csv(out / "decisions.csv", decided)
    write_json(out / "summary.json", {"targets": reached, "policies": by_policy(rows), **about})
    write_text(out / "head_to_head.md", _tables(rows, decided))
    write_text(out / "losses.md", losses_page(rows, lost, DEFINITION))
    draw_regret(out / "regret.png", rows, caption)
    draw_pareto(out / "pareto.png", rows, caption)
    print_rows(by_policy(rows), "Over all cells")
    print_rows(every, "EdgeSplit beside the best other causal policy")
    for target in reached:
        verdict = "reached" if target["reached"] else "MISSED"
        click.echo(f"{target['target']}: {target['value']:.3g} ({target['limit']:g}): {verdict}")


def _tables(rows: Sequence[Row], decided: Sequence[Row]) -> str:
    """head_to_head.md."""
    lines = [
        "# Head to head\n",
        f"{DEFINITION[0].upper()}{DEFINITION[1:]} `~`: the difference from EdgeSplit's is within "
        "noise (95 %, paired). Brackets: 95 % of the bootstrap.\n",
        "## Over all cells\n",
        markdown_table(by_policy(rows)),
    ]
    for goal in dict.fromkeys(row["goal"] for row in rows):
        title = f"## Score over the clairvoyant one's by condition, mean over models, goal {goal}\n"
        lines += [title, markdown_table(by_condition(rows, goal))]
    lines += ["## Seconds of a decision, measured\n", markdown_table(decided)]
    for title, table in cell_tables(rows):
        lines += [f"## {title}\n", markdown_table(table)]
    return "\n".join(lines)
