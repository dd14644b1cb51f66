"""`edgesplit regret`: what every policy would have cost on a session's own requests."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgesplit.cli.events import LIMIT_S, read_log
from edgesplit.cli.options import Duration
from edgesplit.cli.status import at_most
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.policies.named import named_policies
from edgesplit.core.printable import printable
from edgesplit.core.shadow.regret import regret


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
    worked out by this command. Runs on a node of the cluster; on emulated tiers use split.regret()
    in the program itself. FILE is one that `edgesplit events --out FILE` wrote, and needs no
    cluster.

    \b
    Example: edgesplit regret --last 1h
             edgesplit regret session.events --json
    """
    if file is not None and any(value is not None for value in which.values()):
        raise click.UsageError("FILE is one workload's: no --address, --session or --workload")
    log = read_log(file) if file is not None else _recorded(**which)
    policies = named_policies(log.start.profile.names)
    found = regret(log, policies, np.random.default_rng(0), last_s, _told())
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
    else:
        for line in str(found).splitlines():
            click.echo(printable(line))


def _recorded(address: str | None, session_id: str | None, workload_id: str | None) -> EventLog:
    from edgesplit.cluster.session.recordings import recorded_events

    with at_most(LIMIT_S):
        return recorded_events(address, session_id, workload_id)


def _told() -> Callable[[float], None]:
    """What is called with the share that is done: it tells that on a terminal."""
    last = -1

    def tell(share: float) -> None:
        nonlocal last
        percent = int(100 * max(0.0, share))
        if percent != last and sys.stderr.isatty():
            last = percent
            end = "\n" if percent >= 100 else ""
            click.echo(f"\rasking the policies: {percent} %{end}", err=True, nl=False)

    return tell
