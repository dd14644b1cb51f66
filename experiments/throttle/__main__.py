"""How the plan follows a wide link that breaks down and heals, and whether noise makes it flap.

    python -m experiments.throttle --out DIR [--quick]

Requests flow one after another while every link into the last tier is throttled and restored, run
after run; then the link is steady but noisy for some minutes. The scene says what is emulated;
energy is modelled.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click

from edgesplit import Goal
from edgesplit.caller.inputs.zoo import check_names
from edgesplit.errors import ConfigError
from edgesplit.testbed.rate import parse_rate
from experiments.paper_table.comparison import inputs_for
from experiments.shared.options import scene_options
from experiments.shared.paper import THROTTLE
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import print_rows, progress_bars, write_csv, write_json
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene, scene_named, session_on
from experiments.throttle.flow import LOOK_S, REDRAW_S, Course, Flow, SteadyRun
from experiments.throttle.picture import draw_throttle
from experiments.throttle.text import run_cells, value_text
from experiments.throttle.timeline import (
    DIRECTIONS,
    STEADY,
    adaptation,
    failures,
    medians,
    request_rows,
    run_of,
    targets,
)

FULL: dict[str, Any] = {"model": "vgg16", "runs": 10, "steady_minutes": 5.0}
QUICK: dict[str, Any] = {"model": "alexnet", "runs": 1, "steady_minutes": 0.1}
FULL_PACE: dict[str, Any] = {"requests": 10, "steady_s": 5.0, "limit_s": 60.0}
QUICK_PACE: dict[str, Any] = {"requests": 5, "steady_s": 1.0, "limit_s": 20.0}
SIGMA = 0.1
DEFINITION = (
    "adapt_s runs from the moment at which the wide link's new rate is in force to the moment from "
    "which the caller's next request takes a plan that sends another payload over that link "
    f"(looked at every {LOOK_S * 1e3:g} ms). adapt_requests were sent in between. The link changes "
    "between two requests; payload_bytes are what one request sends over it, the reply left out."
)


@dataclass(frozen=True)
class Wanted:
    """What is played: so many runs of the course, then so many minutes over the noisy link.

    keep_layers: layers kept on the end tier, so that the input itself stays there.
    """

    model: str
    runs: int
    steady_minutes: float
    keep_layers: int
    course: Course

    def __post_init__(self) -> None:
        parse_rate(self.course.nominal)
        parse_rate(self.course.throttled)
        if self.runs < 1 or self.steady_minutes <= 0:
            raise ConfigError(f"runs must be 1 or more, minutes above 0, given {self}")


def _default(name: str) -> str:
    return f"[default: {FULL[name]}, with --quick {QUICK[name]}]"


@click.command()
@scene_options
@click.option("--quick", is_flag=True, help="A small model and one run: to try it out.")
@click.option("--model", help=f"Of torchvision. {_default('model')}")
@click.option(
    "--runs", type=click.IntRange(1), help=f"Throttled and restored so often. {_default('runs')}"
)
@click.option(
    "--keep-layers",
    type=click.IntRange(0),
    default=1,
    show_default=True,
    help="Layers kept on the end tier; with 1 the input itself never leaves it.",
)
@click.option("--nominal", default="40MB/s", show_default=True, help="The wide link's usual rate.")
@click.option("--throttled", default="5Mbit/s", show_default=True, help="Its rate throttled.")
@click.option(
    "--steady-minutes",
    type=click.FloatRange(0, min_open=True),
    help=f"Over the noisy link, at the end. {_default('steady_minutes')}",
)
@plain_errors
def main(out: Path, fresh: bool, scene: str, address: str | None, **given: Any) -> None:
    """Throttle and restore the wide link while requests flow, and see how the plan follows.

    The wide link is every link into the last tier. Writes summary.json, runs.csv, requests.csv and
    throttle.png. Can be interrupted at any time and continued by the same command; finished runs
    are kept.
    """
    wanted = wanted_of(given)
    settings = {"experiment": "throttle", "scene": scene, **asdict(wanted)}
    with scene_named(scene, address) as place, progress_bars() as bars:
        if not place.can_shape:
            raise ConfigError(
                f"scene {place.name} cannot hold links to a rate: the links of real machines are "
                "yours to change. Use --scene embedded"
            )
        journal = Journal(out, settings).open(fresh)
        _measure(place, wanted, journal, bars)
        summary = _write(out, wanted, journal, place)
    _show(summary)


def wanted_of(given: dict[str, Any]) -> Wanted:
    """What the command line asks for; what it leaves out is as in a full or a quick run."""
    values, pace = (QUICK, QUICK_PACE) if given["quick"] else (FULL, FULL_PACE)
    values = values | {k: v for k, v in given.items() if k in values and v is not None}
    check_names([values["model"]])
    course = Course(given["nominal"], given["throttled"], sigma=SIGMA, **pace)
    return Wanted(course=course, keep_layers=given["keep_layers"], **values)


def _measure(
    place: Scene,
    wanted: Wanted,
    journal: Journal,
    bars: Callable[[str, int, int], Callable[[], None]],
) -> None:
    """Play what the journal lacks."""
    missing = [k for k in range(wanted.runs) if not journal.has(kind="run", number=k)]
    is_steady_missing = not journal.has(kind="steady")
    if not missing and not is_steady_missing:
        return
    advance = bars("throttled and restored", wanted.runs, wanted.runs - len(missing))
    goal = Goal(min_end_layers=wanted.keep_layers)
    with session_on(place, wanted.model, goal, as_users_do=True) as split:
        x = inputs_for(wanted.model, "dummy")[0]
        split.infer(x)
        if not journal.has(kind="provenance"):
            last = split.records().iloc[-1]
            energy = last["energy"].replace("measured", "metered")
            told = {"energy": energy, "boundary": last["boundary"]}
            journal.append({"kind": "provenance", **told})
        flow = Flow(split, place, x, wanted.course)
        for number in missing:
            journal.append({"kind": "run", **asdict(flow.play(number))})
            advance()
        if is_steady_missing:
            seconds = 60 * wanted.steady_minutes
            advance = bars("steady but noisy link", int(seconds / REDRAW_S), 0)
            journal.append({"kind": "steady", **asdict(flow.play_steady(seconds, 0, advance))})


def _write(out: Path, wanted: Wanted, journal: Journal, place: Scene) -> dict[str, Any]:
    """All files, from what the journal has; returns what summary.json holds."""
    runs = [run_of(next(journal.find(kind="run", number=k))) for k in range(wanted.runs)]
    entry = next(journal.find(kind="steady"))
    steady = SteadyRun(run_of(entry["run"]), tuple(entry["rates"]))
    told = next(journal.find(kind="provenance"))
    rows = [adaptation(run, direction) for run in runs for direction in DIRECTIONS]
    switches = steady.run.switches_in(STEADY)
    failed = sum(failures(run.requests) for run in (*runs, steady.run))
    summary = {
        "runs": rows,
        "steady_switches": len(switches),
        "steady": _steady(steady, wanted),
        "medians": {direction: medians(rows, direction) for direction in DIRECTIONS},
        "targets": targets(rows, len(switches), failed),
        "paper": THROTTLE,
        "definition": DEFINITION,
        "energy": told["energy"],
        "boundary": told["boundary"],
        "provenance": place.provenance,
        "settings": asdict(wanted),
    }
    write_json(out / "summary.json", summary)
    write_csv(out / "runs.csv", rows)
    labelled = [(str(run.number), run) for run in runs] + [(STEADY, steady.run)]
    write_csv(
        out / "requests.csv", [row for label, r in labelled for row in request_rows(r, label)]
    )
    draw_throttle(out / "throttle.png", runs, summary)
    return summary


def _steady(steady: SteadyRun, wanted: Wanted) -> dict[str, Any]:
    """What was done while the link was noisy, and every switch with EdgeSplit's reason."""
    begin_s = steady.run.changed_s[STEADY]
    sent = steady.run.sent_in(STEADY)
    return {
        "minutes": wanted.steady_minutes,
        "noise": f"every {REDRAW_S:g} s the wide link's rate is drawn anew: {wanted.course.nominal}"
        f" x a lognormal factor of sigma {wanted.course.sigma:g}",
        "redraws": len(steady.rates),
        "least_bytes_per_s": min(steady.rates, default=None),
        "most_bytes_per_s": max(steady.rates, default=None),
        "requests": len(sent),
        "failed": failures(sent),
        "switches": [
            {"at_s": switch.at_s - begin_s, "plan": switch.plan, "reason": switch.reason}
            for switch in steady.run.switches_in(STEADY)
        ],
    }


def _show(summary: dict[str, Any]) -> None:
    print_rows(run_cells(summary["runs"]), "How the plan followed, per run and change")
    steady = summary["steady"]
    click.echo(
        f"{steady['noise']}; {steady['redraws']} times in {steady['minutes']:g} min, "
        f"{steady['requests']} requests: {summary['steady_switches']} switches"
    )
    for switch in steady["switches"]:
        click.echo(f"  after {switch['at_s']:.1f} s to {switch['plan']}: {switch['reason']}")
    for target in summary["targets"]:
        verdict = "reached" if target["reached"] else "MISSED"
        click.echo(f"{target['target']}: {value_text(target['value'])}: {verdict}")
    paper = summary["paper"]
    click.echo(
        f"the paper: {paper['payload_bytes_before'] / 1e3:.0f} KB -> "
        f"{paper['payload_bytes_after'] / 1e3:.0f} KB and back, each within one window of about "
        f"{paper['window_s']:.0f} s"
    )
    click.echo(
        f"{DEFINITION}\n{summary['provenance']} Energy in the {summary['boundary']} boundary."
    )


if __name__ == "__main__":
    main()
