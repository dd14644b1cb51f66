"""`run --data`: opens data and session, runs one over the other, prints what came of it."""

import contextlib
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import click

from edgesplit.caller.api import EdgeSplit
from edgesplit.caller.data.data_set import DataSet
from edgesplit.caller.data.open_data import open_data
from edgesplit.caller.data.playback import Playback
from edgesplit.caller.data.video import VideoStream
from edgesplit.caller.progress import Progress
from edgesplit.cli.answers import MEANINGLESS, where
from edgesplit.cli.asked_session import AskedSession
from edgesplit.cli.data_run import (
    DataAnswer,
    check_labels,
    first_input,
    limited,
    over_data_set,
    over_video,
)
from edgesplit.cli.data_summary import DataSummary, frames_dict, frames_line
from edgesplit.cli.picture_feed import PictureFeed
from edgesplit.cli.unanswered import Unanswered
from edgesplit.core.accuracy import Loss
from edgesplit.core.energy.provenance import counted
from edgesplit.core.printable import encodable, printable

_SAID_EVERY_S = 10.0  # how far a run is, where stderr is no terminal


@dataclass
class DataReport:
    """What came of a run: of each example for JSON only, the summary, and who had no answer.

    progress: hears how far it is. total: examples that there are; None: not known.
    """

    keeps_rows: bool
    progress: Progress
    total: int | None
    summary: DataSummary = field(default_factory=DataSummary)
    rows: list[dict[str, Any]] = field(default_factory=list)
    unanswered: int = 0

    def take(self, outcomes: Iterable[DataAnswer | Unanswered]) -> None:
        """Each as it comes. What has no answer is said on stderr at once."""
        of_all = "" if self.total is None else f" of {self.total:,}"
        for count, outcome in enumerate(outcomes, 1):
            self.progress.say("running the model over the data", f"{count:,}{of_all}")
            if self.keeps_rows:
                self.rows.append(outcome.as_dict())
            if isinstance(outcome, DataAnswer):
                self.summary.add(outcome)
            else:
                self.unanswered += 1
                click.echo(f"edgesplit: {outcome.error}", err=True)


def run_data(model: str, asked: AskedSession, feed: PictureFeed, options: Mapping[str, Any]) -> int:
    """Returns the exit code: 0 where every example was answered."""
    whole = open_data(options["data"])
    data = limited(whole, options["limit"])
    x = first_input(data, feed)  # what is wrong with the data or the model is told first
    progress = Progress(every_s=_SAID_EVERY_S)
    report = DataReport(options["as_json"], progress, _count_of(data))
    with _session(model, asked, feed, (whole, x), options) as split:
        _settle(split, x, options, progress)
        with progress.shown("running the model over the data"):
            played = _run_over(split, data, feed, report)
        is_emulated = not split.emulation.is_off
        energy = counted(split.profile, options["boundary"])
        losses = [Costs(*key, loss) for key, loss in split.accuracy_losses.items()]
    told = {"model": model, "data": encodable(data.name), "emulated": is_emulated, "energy": energy}
    if losses:
        told["accuracy_losses"] = [loss.as_dict() for loss in losses]
    if options["as_json"]:
        _print_json(told, report, played)
    else:
        click.echo(_title(whole, data))
        _print_text(report, played, data)
        for loss in losses:
            click.echo(str(loss))
        if options["max_accuracy_loss"] and not losses:
            click.echo("nothing lossy would pay on these links: no loss was measured")
        if options["weights"] == "random":
            click.echo(MEANINGLESS)
        click.echo(f"{where(is_emulated)}; {energy}")
    return 1 if report.unanswered else 0


def _session(
    model: str,
    asked: AskedSession,
    feed: PictureFeed,
    given: tuple[DataSet | VideoStream, Any],
    options: Mapping[str, Any],
) -> EdgeSplit:
    """Not open yet; nobody else holds the module."""
    data, x = given
    module = feed.model(asked.model(model))
    check_labels(data, module, x)
    return asked.split(module, _judged_on(data, feed, options))


def _settle(split: EdgeSplit, x: Any, options: Mapping[str, Any], progress: Progress) -> None:
    """The export, a plan and what was asked for, before anything counts."""
    is_told = sys.stderr.isatty()  # by the session itself
    with contextlib.nullcontext() if is_told else progress.shown("opening the session"):
        split.infer(x)
    if options["runtimes"]:
        with progress.shown("measuring runtimes"):
            split.wait_for_runtimes()
    if options["max_accuracy_loss"] or options["codecs"]:
        with progress.shown("measuring codecs, and what they cost in accuracy"):
            split.wait_for_codecs()
            split.wait_for_plan()


def _count_of(data: DataSet | VideoStream) -> int | None:
    return len(data) if isinstance(data, DataSet) else data.most


@dataclass(frozen=True)
class Costs:
    """What a codec at a cut, or a runtime on a tier, costs in accuracy."""

    name: str
    where: int | str
    loss: Loss

    def __str__(self) -> str:
        where = f"at cut {self.where}" if isinstance(self.where, int) else f"on {self.where}"
        return f"{self.name} {where} costs {self.loss} of accuracy"

    def as_dict(self) -> dict[str, Any]:
        """Plain values for JSON; shares from 0 to 1."""
        return {"name": self.name, "where": self.where, **asdict(self.loss)}


class _JudgedOn:
    """A data set as the model's inputs with their labels, read anew each time."""

    def __init__(self, data: DataSet, feed: PictureFeed) -> None:
        self._data, self._feed = data, feed

    def __len__(self) -> int:
        return len(self._data)

    def __iter__(self) -> Iterator[tuple[Any, int | None]]:
        for example in self._data:
            yield self._feed.input(example.picture), example.label


def _judged_on(
    data: DataSet | VideoStream, feed: PictureFeed, options: Mapping[str, Any]
) -> Iterable[Any] | None:
    """The examples that accuracy is measured on; None where nothing is granted."""
    if options["max_accuracy_loss"] is None:
        return None
    if isinstance(data, VideoStream):
        raise click.UsageError(
            "--max-accuracy-loss needs a data set to measure on; a video is none: its frames can "
            "be looked at once"
        )
    return _JudgedOn(data, feed)


Played = tuple[Playback, float, float]  # with the deadline in seconds, and frames per second


def _run_over(
    split: EdgeSplit, data: DataSet | VideoStream, feed: PictureFeed, report: DataReport
) -> Played | None:
    if isinstance(data, DataSet):
        report.take(over_data_set(split, data, feed))
        return None
    deadline_s = split.goal.latency_limit_s or data.deadline_s
    playback = Playback(data, deadline_s)
    report.take(over_video(split, playback, feed))
    return playback, deadline_s, data.frames_per_s


def _print_json(told: Mapping[str, Any], report: DataReport, played: Played | None) -> None:
    summary = report.summary.as_dict() if report.summary.latencies_s else None
    found = {**told, "unanswered": report.unanswered, "summary": summary}
    if played is not None:
        found["frames"] = frames_dict(*played)
    click.echo(json.dumps({**found, "examples": report.rows}, indent=1))


def _print_text(report: DataReport, played: Played | None, data: DataSet | VideoStream) -> None:
    if played is not None:
        click.echo(frames_line(*played))
    summary = report.summary
    if summary.latencies_s:
        click.echo("\n".join(summary.lines()))
    if summary.labelled and data.classes and summary.n_classes != len(data.classes):
        click.echo(
            f"the model has {summary.n_classes} classes, the data {len(data.classes)}: labels are "
            "compared by number, which means something only if the model was made for these data"
        )


def _title(whole: DataSet | VideoStream, data: DataSet | VideoStream) -> str:
    name = printable(data.name)
    if not (isinstance(data, DataSet) and isinstance(whole, DataSet)):
        return name
    if len(data) == len(whole):
        return f"{name}: all {len(whole):,} examples"
    return f"{name}: {len(data):,} of {len(whole):,} examples, drawn by seed 0"
