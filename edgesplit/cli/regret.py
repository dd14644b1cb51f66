"""`edgesplit regret`: what every policy would have cost on a session's own requests."""

import json
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgesplit.cli.events import LIMIT_S, read_log
from edgesplit.cli.options import Duration
from edgesplit.cli.status import at_most, duration
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.policies.named import named_policies
from edgesplit.core.printable import printable
from edgesplit.core.shadow.bootstrap import Saving
from edgesplit.core.shadow.regret import Regret, ShadowOutcome, regret

_SAVES = "saves of that (95%)"


@click.command("regret", short_help="What other policies would have cost on your own requests.")
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option(
    "--last",
    "last_s",
    type=Duration(),
    help="Look at the last 15m, 1h, ... Without it: at all that is kept.",
)
@click.option("--address", help="The Ray cluster, host:port; else RAY_ADDRESS or this host's.")
@click.option("--session", "session_id", metavar="ID", help="Which session, of several.")
@click.option("--workload", "workload_id", metavar="ID", help="Which workload, of several.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON (SI units) instead of text.")
def show_regret(file: Path | None, last_s: float | None, as_json: bool, **which: Any) -> None:
    """Show what every policy would have cost on the requests of a running session, or of FILE.

    Each policy is told what happened to the session and chooses beside it, by the rules of the
    control loop: score, fastest, all on one tier, and the published ones. `as run` is what was
    measured. All else is modelled, under the rates and slowdowns that each request's own timings
    show. The table ends with two yardsticks: the best one plan in hindsight, and a clairvoyant
    planner, which knows what each request will meet.

    The session is not disturbed: it keeps its last 40,000 events, in at most 4 MB, and all is
    worked out by this command. Runs on a node of the cluster. FILE is one that `edgesplit events
    --out FILE` wrote, and needs no cluster.

    \b
    Example: edgesplit regret --last 1h
             edgesplit regret session.events --json
    """
    if file is not None and any(value is not None for value in which.values()):
        raise click.UsageError("FILE is one workload's: no --address, --session or --workload")
    log = read_log(file) if file is not None else _recorded(**which)
    began_s, ended_s = log.start.now_s, log.entries[-1][0].at_s if log.entries else log.start.now_s
    since_s = began_s if last_s is None else max(began_s, ended_s - last_s)
    policies = named_policies(log.start.profile.names)
    found = regret(log, policies, np.random.default_rng(0), since_s, _progress(since_s, ended_s))
    if as_json:
        click.echo(json.dumps({**asdict(found), "kept_s": ended_s - began_s}, indent=1))
    else:
        for line in (*_about(found, ended_s - began_s, last_s), *_table(found), *_told(found)):
            click.echo(printable(line))


def _recorded(address: str | None, session_id: str | None, workload_id: str | None) -> EventLog:
    from edgesplit.cluster.session.recordings import recorded_events

    with at_most(LIMIT_S):
        return recorded_events(address, session_id, workload_id)


def _progress(since_s: float, ended_s: float) -> Callable[[float], None]:
    """What is called with the time of each moment: it tells how far that is, on a terminal."""
    told = -1

    def tell(at_s: float) -> None:
        nonlocal told
        share = int(100 * max(0.0, at_s - since_s) / max(1e-9, ended_s - since_s))
        if share != told and sys.stderr.isatty():
            told = share
            end = "\n" if share >= 100 else ""
            click.echo(f"\rasking the policies: {share} %{end}", err=True, nl=False)

    return tell


def _about(found: Regret, kept_s: float, last_s: float | None) -> Iterator[str]:
    span_s = found.ended_s - found.began_s
    every = "" if found.window.every == 1 else f", 1 of {found.window.every}"
    yield (
        f"{found.graph}, policy {found.policy or 'of a function'}: {found.requests} requests"
        f"{every}, within {duration(span_s)}"
    )
    if last_s is not None and last_s > kept_s:
        yield f"note: {duration(last_s)} were asked for, {duration(kept_s)} are kept"
    for why, count in found.left_out.items():
        yield f"left out: {count} {why}"
    yield ""


def _table(found: Regret) -> Iterator[str]:
    rows = [found.ran, *found.shadows, found.static, found.clairvoyant]
    names = max(len(row.policy) for row in rows)
    savings = ["measured", *(_saved(row.saved) for row in rows[1:])]
    width = max(map(len, (_SAVES, *savings)))
    has_limit = any(row.late is not None for row in rows)
    late = f" {'late':>6}" if has_limit else ""
    yield (
        f"{'':{names}} {'score':>7} {'latency':>11} {'end':>10} {'all tiers':>10}{late} "
        f"{_SAVES:>{width}}  along"
    )
    for row, saved in zip(rows, savings, strict=True):
        spent = row.mean
        late = f" {row.late or 0.0:>6.1%}" if has_limit else ""
        yield (
            f"{row.policy:{names}} {spent.score:7.4f} {spent.latency_s * 1e3:8.2f} ms "
            f"{spent.end_energy_j:8.4f} J {spent.total_energy_j:8.4f} J{late} "
            f"{saved:>{width}}  {_plans(row, found.requests)}"
        )
    for name in found.without_plan:
        yield f"{name:{names}} no plan at any time"


def _saved(saved: Saving) -> str:
    """Such as `1.2% (0.3 to 2.0)`."""
    share = f"{saved.share:.1%}"
    if saved.low is None or saved.high is None:
        return f"~ {share}"
    mark = "~ " if saved.is_within_noise else ""
    return f"{mark}{share} ({100 * saved.low:.1f} to {100 * saved.high:.1f})"


def _plans(row: ShadowOutcome, requests: int) -> str:
    plan, share = row.plans[0]
    others = len(row.plans) - 1
    text = plan if not others else f"{plan} ({share:.0%}), {others} more"
    return text if row.requests == requests else f"{text}; no plan for {requests - row.requests}"


def _told(found: Regret) -> Iterator[str]:
    """In words: what was left to save."""
    best, static, own = found.clairvoyant, found.static, found.ran
    above = own.mean.score / best.mean.score - 1 if best.mean.score > 0 else 0.0
    yield ""
    yield (
        f"clairvoyant: the best plan for each request, which knows what it will meet, "
        f"{_words(best)}: {(own.mean.latency_s - best.mean.latency_s) * 1e3:.2f} ms and "
        f"{own.mean.end_energy_j - best.mean.end_energy_j:.4f} J of the end tier per request. The "
        f"regret of what ran is {above:.1%}"
    )
    yield f"best static: the best one plan in hindsight, {static.plans[0][0]}, {_words(static)}"
    if best.saved.low is None:
        yield "too few requests for intervals"
    yield (
        "as run is measured; all else is modelled: what was measured + what another plan differs "
        f"by in the cost model. Intervals of 95%, from blocks of {found.block} requests; ~ may be "
        f"noise. {found.energy}"
    )


def _words(row: ShadowOutcome) -> str:
    """What it would have saved, or cost more."""
    saved = row.saved
    what = "would have saved" if saved.share >= 0 else "would have cost"
    more = "of the score" if saved.share >= 0 else "more"
    noise = ", which may be noise" if saved.is_within_noise else ""
    return f"{what} {abs(saved.share):.1%} {more}{noise}"
