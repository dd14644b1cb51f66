"""How soon the loser of a hedge gives up: from the winner's answer until its tier has let go.

    python -m experiments.tail.cancel --out DIR [--requests 200]

Measured: three tiers in processes of their own on this machine, over the sockets and with the
security that users get there. `end` has run the rest itself; `edge` or `cloud` still has the
request, queued behind another one or computing, and is told by a cancel frame.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np

from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import print_rows, progress, write_rows
from experiments.tail.cancelled import CASES, cancelled_s

TO_REACH_S = 0.005
DEFINITION = (
    "From the end of the run that won, in the process of `end`, to the moment when the loser's "
    "process counts the request no more among those under way (looked at every 0.1 ms): it has "
    "left the queue, or begins nothing after the range that runs."
)


@click.command()
@out_option
@click.option("--requests", type=click.IntRange(2), default=200, show_default=True, help="Per row.")
@plain_errors
def main(out: Path, requests: int) -> None:
    """Have hedges win, and look when the loser knows; write cancel.csv and summary.json."""
    with progress("cancel", requests * len(CASES)) as advance:
        rows = [row_of(name, seconds) for name, seconds in cancelled_s(requests, advance).items()]
    summary = {
        "definition": DEFINITION,
        "provenance": "measured on one machine, nothing emulated",
        "to_reach_s": TO_REACH_S,
        "reached": all(row["p99_s"] <= TO_REACH_S for row in rows),
    }
    write_rows(out, "cancel", rows, summary)
    cells = [
        {
            "the loser": row["loser"],
            "requests": row["requests"],
            "median, ms": f"{1e3 * row['median_s']:.2f}",
            "99 %": f"{1e3 * row['p99_s']:.2f}",
            "longest": f"{1e3 * row['longest_s']:.2f}",
        }
        for row in rows
    ]
    print_rows(cells, "From the winner's answer until the loser has let go (measured)")
    click.echo(DEFINITION)
    verdict = "reached" if summary["reached"] else "MISSED"
    click.echo(f"99 % within {1e3 * TO_REACH_S:g} ms: {verdict}")


def row_of(loser: str, seconds: list[float]) -> dict[str, Any]:
    """Of one case."""
    median_s, p99_s = (float(q) for q in np.quantile(seconds, (0.5, 0.99)))
    return {
        "loser": loser,
        "requests": len(seconds),
        "median_s": median_s,
        "p99_s": p99_s,
        "longest_s": max(seconds),
    }


if __name__ == "__main__":
    main()
