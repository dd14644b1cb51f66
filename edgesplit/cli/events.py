"""`edgesplit events` and `edgesplit replay`: what a control loop did, as a file, played again."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from edgesplit.cli.out import writable_file
from edgesplit.cli.status import at_most
from edgesplit.core.control.event_file import MOST_LINE_CHARACTERS, EventLog, lines_of, read_lines
from edgesplit.core.control.replay import ReplayedDecision, Verdict, decisions
from edgesplit.core.printable import printable
from edgesplit.errors import EventFileError

LIMIT_S = 60.0
_VERBS = {"prepare": "prepare", "activate": "put in force", "keep": "keep"}


@click.command(short_help="The last events of a running session, to a file.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file to write.")
@click.option("--address", help="The Ray cluster, host:port; else RAY_ADDRESS or this host's.")
@click.option("--session", "session_id", metavar="ID", help="Which session, of several.")
@click.option("--workload", "workload_id", metavar="ID", help="Which workload, of several.")
def events(out: Path, address: str | None, session_id: str | None, workload_id: str | None) -> None:
    """Write the last events of a running session's control loop, for `edgesplit replay`.

    The file holds layer times, plans, tiers' names and measured durations: no weights, inputs or
    results. Runs on a node of the cluster.

    \b
    Example: edgesplit events --out session.events
    """
    from edgesplit.cluster.session.recordings import recorded_events

    writable_file(out)
    with at_most(LIMIT_S):
        log = recorded_events(address, session_id, workload_id)
    try:
        out.write_text("".join(lines_of(log)), encoding="utf-8")
    except OSError as error:
        raise EventFileError(f"cannot write {str(out)!r}: {error}") from error
    if log.entries:
        span_s = log.entries[-1][0].at_s - log.start.now_s
        click.echo(f"{len(log.entries)} events of {span_s:.0f} s in {out}")
    else:
        click.echo(f"nothing has happened yet; {out} holds the state alone")


@click.command(short_help="Play recorded events again: decisions and why.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON (SI units) instead of text.")
def replay(file: Path, as_json: bool) -> None:
    """Show what the control loop decides on recorded events, why, and whether it did so then.

    Needs no cluster. Files of others are safe to play: nothing in them is executed.

    \b
    Example: edgesplit replay session.events
    """
    log = read_log(file)
    played = list(decisions(log))
    if as_json:
        click.echo(json.dumps(_plain(log, played), indent=1))
    else:
        for line in _lines(log, played):
            click.echo(printable(line))


def read_log(file: Path) -> EventLog:
    """The recording in that file. Raises EventFileError, which names it."""
    try:
        with file.open(encoding="utf-8", newline="\n") as text:
            return read_lines(iter(lambda: text.readline(MOST_LINE_CHARACTERS + 1), ""))
    except EventFileError as error:
        raise EventFileError(f"{str(file)!r}: {printable(str(error))}") from error
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise EventFileError(f"{str(file)!r} cannot be read: {error}") from error


def _note(log: EventLog) -> str:
    """What is to be known of the policy."""
    if log.policy:
        return ""
    return (
        "its policy was a function of the user's, which no file can hold: decided with `score` "
        "instead, which may choose otherwise"
    )


def _plain(log: EventLog, played: list[ReplayedDecision]) -> dict[str, Any]:
    return {
        "edgesplit": log.edgesplit,
        "session": log.session_id,
        "workload": log.workload_id,
        "graph": log.start.graph.name,
        "policy": log.policy or None,
        "note": _note(log),
        "events": len(log.entries),
        "is_same": all(one.is_same for one in played),
        "decisions": [
            {
                **asdict(one),
                "now": [_plain_verdict(verdict) for verdict in one.now],
                "then": [_plain_verdict(verdict) for verdict in one.then],
            }
            for one in played
        ],
    }


def _plain_verdict(verdict: Verdict) -> dict[str, str]:
    return {"verb": verdict.verb, "plan": str(verdict.plan), "reason": verdict.reason}


def _lines(log: EventLog, played: list[ReplayedDecision]) -> Iterator[str]:
    state = log.start
    yield (
        f"{state.graph.name}, {len(state.graph)} layers, policy {log.policy or 'score'}, recorded "
        f"by EdgeSplit {log.edgesplit}: {len(log.entries)} events"
    )
    if note := _note(log):
        yield f"note: {note}"
    if state.active is not None:
        yield f"at first in force: {state.active}"
    if state.pending is not None:
        yield f"at first being prepared: {state.pending.plan} ({state.pending.reason})"
    for one in played:
        yield from _decision_lines(one)
    other = sum(not one.is_same for one in played)
    yield f"{other} events led to something else then" if other else "all as it was decided then"


def _decision_lines(one: ReplayedDecision) -> Iterator[str]:
    where = f"{one.after_s:9.2f} s  event {one.number} {one.event}: "
    for verdict in one.now:
        yield f"{where}{_said(verdict)}{'' if one.is_same else '  [not so then]'}"
    if not one.is_same:
        then = "; ".join(map(_said, one.then)) or "no such plan, or other probes"
        yield f"{where}then: {then}"


def _said(verdict: Verdict) -> str:
    why = f" ({verdict.reason})" if verdict.reason else ""
    return f"{_VERBS[verdict.verb]} {verdict.plan}{why}"
