"""The tail of latency over links that change: with and without a hedge, and promised deadlines.

    python -m experiments.tail --out DIR [--trace FILE|CLASS] [--scene testbed] [--quick]

Replayed by default: the product's control loop over stated device tables and a bandwidth trace; no
hardware, the same result for the same seed. On a scene the link is really shaped by the trace.
"""

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgesplit.errors import ConfigError
from experiments.shared.out import resumed_out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.processes import spread_over
from experiments.shared.report import markdown_table, print_rows, write_csv, write_json, write_text
from experiments.shared.resume import Journal
from experiments.shared.stated_devices import DEVICES_DESCRIPTION, LINKS_DESCRIPTION, MODELS
from experiments.shared.trace import Trace, statistics
from experiments.shared.trace_class import LINK_CLASSES, TRACE_NAMES, trace_named
from experiments.tail.picture import draw_tail
from experiments.tail.replayed import (
    ALL,
    HEDGE_SHARE,
    PLAYED,
    PROBABILITIES,
    Pace,
    Row,
    compared,
    keeping,
    promise_rows,
)
from experiments.tail.text import promise_cells, tail_cells, tail_targets

TRACES = ("subway", "bus", "drive", "satellite")
REPLAY = "replay"
PROMISE_INTERVAL_S = 0.25  # between two requests under a promise
PROMISE_TOLERANCE = 0.005
DEFINITION = (
    "Replayed, no hardware: the control loop and the rules of failover and hedge are the "
    "product's, what they see of payloads and answers is simulated. No request waits for another. "
    "Without a hedge the end tier fails over after the failover timeout. With one it also runs "
    "the rest itself where the product's tier would, which looks at each payload on its way; at "
    f"most {HEDGE_SHARE:.0%} of requests. Other tiers and the caller do not hedge. Best static and "
    "trivial plans are those of least mean in hindsight; clairvoyant takes the quickest plan for "
    "each request. End energy is modelled (watts x seconds), that of hedges included, which run "
    "to their end where they lose. Promised: MobileNetV2 for the least end energy without a "
    f"hedge, a request every {PROMISE_INTERVAL_S:g} s over a trace per class."
)
DEVICES = f"{DEVICES_DESCRIPTION}. {LINKS_DESCRIPTION}; 12 W on the end in every phase."
PLAYED_DEFINITION = (
    "Once a second every link of the end tier gets the trace's rate (0.05 Mbit/s at least, or the "
    "cluster itself would be cut off) while requests are sent, one at a time: at the interval or "
    "as soon as the one before is back, until the trace ends. Approaches take turns, trace by "
    "trace; the hedged one has a session of its own. Best static and trivial plans and the "
    "clairvoyant figures are computed from the measured profile and the trace."
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
@click.option(
    "--seed", type=click.IntRange(0), default=0, show_default=True, help="Of traces and noise."
)
@click.option(
    "--promised",
    "promised_requests",
    type=click.IntRange(0),
    default=20_000,
    show_default=True,
    help="Requests replayed per promised probability, over all classes; 0: none.",
)
@click.option(
    "--rounds",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="On a scene: how often each approach plays each trace.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    help="Processes that replay. [default: one per core]",
)
@click.option(
    "--approach",
    "approaches",
    multiple=True,
    type=click.Choice(PLAYED),
    help="On a scene: which are played; may be repeated. [default: all]",
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
    settings = {**asdict(pace), "models": models, "minutes": given["minutes"]}
    if scene == REPLAY:
        rows, promises = _replayed(models, traces, pace, given)
        told = {"definition": DEFINITION, "provenance": "simulated", "devices": DEVICES}
        _write(out, rows, promises, {**told, "settings": settings, "traces": _about(traces)})
        return
    settings |= {"rounds": given["rounds"], "traces": [trace.provenance for trace in traces]}
    from experiments.shared.scene import scene_named  # loads torch, which a replay does without
    from experiments.tail.played import Turns, played

    turns = Turns(given["approaches"] or PLAYED, pace, given["rounds"])
    with scene_named(scene) as place:
        journal = Journal(out, {"experiment": "tail", "scene": scene, **settings}).open(fresh)
        rows = [row for model in models for row in played(place, model, traces, turns, journal)]
        told = {"definition": PLAYED_DEFINITION, "provenance": place.provenance}
        _write(out, rows, [], {**told, "settings": settings, "traces": _about(traces)})


def _replayed(
    models: tuple[str, ...], traces: list[Trace], pace: Pace, given: Row
) -> tuple[list[Row], list[Row]]:
    """Rows of the approaches, and of promised against met; by as many processes as are given."""
    with spread_over(given["workers"]) as each:
        pairs = [(model, trace, pace) for model in models for trace in traces]
        found = list(each(compared, pairs))
        promises = list[Row]()
        if given["promised_requests"]:
            often = Pace(PROMISE_INTERVAL_S, pace.seed)
            seconds = int(given["promised_requests"] * PROMISE_INTERVAL_S / len(LINK_CLASSES)) + 1
            longer = [trace_named(name, max(seconds, 10), pace.seed) for name in LINK_CLASSES]
            jobs = [(level, trace, often) for level in PROBABILITIES for trace in longer]
            runs = each(keeping, jobs)
            for level in PROBABILITIES:
                promises += promise_rows(level, {trace.name: next(runs) for trace in longer})
    return [row for rows in found for row in rows], promises


def _write(out: Path, rows: list[Row], promises: list[Row], about: Row) -> None:
    """All files, and what they hold for people on the screen."""
    targets = [*tail_targets(rows), *_promise_targets(promises)]
    summary = {"rows": rows, "promises": promises, "targets": targets, **about}
    write_json(out / "summary.json", summary)
    write_csv(out / "tail.csv", rows)
    tables = [markdown_table(tail_cells(rows))]
    print_rows(tail_cells(rows), "Latency and energy per approach")
    if promises:
        write_csv(out / "promise.csv", promises)
        tables.append(markdown_table(promise_cells(promises)))
        print_rows(promise_cells(promises), "Promised against met")
    write_text(out / "tail.md", "\n".join(tables))
    draw_tail(out / "tail.png", rows, str(about["provenance"]))
    for target in targets:
        verdict = "reached" if target["reached"] else "MISSED"
        where = f"{target['model']}, {target['trace']}: "
        click.echo(f"{where}{target['target']}: {target['value']:.4g}: {verdict}")
    click.echo("\n".join(str(about[name]) for name in ("definition", "devices") if name in about))


def _promise_targets(promises: list[Row]) -> list[Row]:
    """Over all classes: met no less than promised, and expected quantiles neither way off."""
    found = list[Row]()
    for row in (row for row in promises if row["trace"] == ALL):
        about = {"model": f"promised {row['probability']}", "trace": ALL}
        below, off = row["probability"] - row["met"], row["within_expected"] - row["probability"]
        for target, value, distance in (
            ("met at most 0.5 percentage points less", row["met"], below),
            ("within the expected quantile, 0.5 either way", row["within_expected"], abs(off)),
        ):
            found.append(
                {
                    **about,
                    "target": target,
                    "value": value,
                    "limit": row["probability"],
                    "reached": distance <= PROMISE_TOLERANCE,
                }
            )
    return found


def _about(traces: list[Trace]) -> list[Row]:
    return [
        {"name": trace.name, "provenance": trace.provenance, **asdict(statistics(trace))}
        for trace in traces
    ]


if __name__ == "__main__":
    main()
