"""The tail of latency over links that change: with and without a hedge, and promised deadlines.

    python -m experiments.tail --out DIR [--trace FILE|CLASS] [--scene testbed] [--quick]

Replayed by default: the product's control loop over stated device tables and a bandwidth trace; no
hardware, the same result for the same seed. On a scene the link is really shaped by the trace.
"""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgesplit.errors import ConfigError
from experiments.shared.out import resumed_out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import markdown_table, print_rows, write_csv, write_json, write_text
from experiments.tail.devices import DESCRIPTION, MODELS
from experiments.tail.picture import draw_tail
from experiments.tail.replay import HEDGE_BURST, HEDGE_SHARE, LOOK_S, MARGIN_S
from experiments.tail.replayed import ALL, Pace, Row, compared, promised
from experiments.tail.text import promise_cells, tail_cells, tail_targets
from experiments.tail.trace import Trace, statistics
from experiments.tail.trace_class import LINK_CLASSES, TRACE_NAMES, trace_named

TRACES = ("subway", "bus", "drive", "satellite")
REPLAY = "replay"
DEFINITION = (
    "Replayed, no hardware: the control loop is the product's, what it hears of is simulated. No "
    "request waits for another. Without a hedge the end tier fails over after the product's "
    f"failover timeout. With one it looks every {LOOK_S:g} s at the transfer and runs the rest "
    "itself when the rest of the transfer at the rate of the last 0.2 s and what follows would "
    f"take {MARGIN_S:g} s longer than that, or the answer is overdue by as much; at most "
    f"{HEDGE_SHARE:.0%} of requests, {HEDGE_BURST:g} at once. Best static and trivial plans are "
    "those of least mean in hindsight; clairvoyant takes the quickest plan for each request. End "
    "energy is modelled (watts x seconds), the hedge's included."
)


@click.command()
@resumed_out_option
@click.option(
    "--scene",
    type=click.Choice((REPLAY, "embedded", "testbed")),
    default=REPLAY,
    show_default=True,
    help="Where requests run; replay: simulated, without tiers.",
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
    type=click.Choice(MODELS),
    help="May be repeated. [default: mobilenet_v2, resnet50]",
)
@click.option(
    "--minutes",
    type=click.FloatRange(0.5),
    default=10.0,
    show_default=True,
    help="Of each trace; a file is begun again where it ends.",
)
@click.option(
    "--interval-s",
    type=click.FloatRange(0.05),
    default=1.0,
    show_default=True,
    help="Between two requests.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of traces and noise.")
@click.option(
    "--promised",
    "promised_requests",
    type=click.IntRange(0),
    default=20_000,
    show_default=True,
    help="Replayed requests per promised probability, over all classes; 0: none.",
)
@click.option("--fresh", is_flag=True, help="On a scene: start over, whatever the folder holds.")
@click.option("--quick", is_flag=True, help="A minute of one trace: to try it out.")
@plain_errors
def main(out: Path, scene: str, fresh: bool, quick: bool, **given: Any) -> None:
    """Requests over a link that follows a bandwidth trace: how long the slowest take, and why.

    Writes summary.json, tail.csv, tail.md and tail.png; a replay promise.csv too.
    """
    if quick:
        given |= {
            "traces": given["traces"] or TRACES[:1],
            "models": given["models"] or MODELS[:1],
            "minutes": 1.0,
            "promised_requests": min(300, given["promised_requests"]),
        }
    models, names = given["models"] or MODELS[:2], given["traces"] or TRACES
    seconds, pace = int(60 * given["minutes"]), Pace(given["interval_s"], given["seed"])
    traces = [trace_named(name, seconds, pace.seed).lasting(seconds) for name in names]
    if len({trace.name for trace in traces}) < len(traces):
        raise ConfigError(f"two traces have one name: {', '.join(t.name for t in traces)}")
    if scene == REPLAY:
        _replay(out, models, traces, pace, given["promised_requests"])
        return
    raise ConfigError("only the replay is there yet")


def _replay(
    out: Path, models: tuple[str, ...], traces: list[Trace], pace: Pace, promised_requests: int
) -> None:
    rows = [row for model in models for trace in traces for row in compared(model, trace, pace)]
    promises = list[Row]()
    if promised_requests:
        seconds = int(-(-promised_requests * pace.interval_s // len(LINK_CLASSES)))
        longer = [trace_named(name, max(seconds, 10), pace.seed) for name in LINK_CLASSES]
        promises = list(promised(longer, pace))
        write_csv(out / "promise.csv", promises)
    targets = [*tail_targets(rows), *_promise_targets(promises)]
    write_csv(out / "tail.csv", rows)
    write_json(
        out / "summary.json",
        {
            "rows": rows,
            "promises": promises,
            "targets": targets,
            "traces": [_about(trace) for trace in traces],
            "devices": DESCRIPTION,
            "definition": DEFINITION,
            "provenance": "simulated",
            "settings": {**asdict(pace), "models": models, "promised": promised_requests},
        },
    )
    tables = [markdown_table(tail_cells(rows))]
    if promises:
        tables.append(markdown_table(promise_cells(promises)))
    write_text(out / "tail.md", "\n".join(tables))
    draw_tail(out / "tail.png", rows, "Replayed over stated device tables; simulated.")
    print_rows(tail_cells(rows), "Latency and energy per approach")
    if promises:
        print_rows(promise_cells(promises), "Promised against met")
    for target in targets:
        verdict = "reached" if target["reached"] else "MISSED"
        where = f"{target['model']}, {target['trace']}: "
        click.echo(f"{where}{target['target']}: {target['value']:.4g}: {verdict}")
    click.echo(f"{DEFINITION}\n{DESCRIPTION}")


def _promise_targets(promises: list[Row]) -> list[Row]:
    """Met at least as promised less half a percentage point, over all classes."""
    return [
        {
            "model": f"promised {row['probability']}",
            "trace": ALL,
            "target": "met is no more than 0.5 percentage points below",
            "value": row["met"],
            "limit": row["probability"] - 0.005,
            "reached": row["met"] >= row["probability"] - 0.005,
        }
        for row in promises
        if row["trace"] == ALL
    ]


def _about(trace: Trace) -> Row:
    return {"name": trace.name, "provenance": trace.provenance, **asdict(statistics(trace))}


if __name__ == "__main__":
    main()
