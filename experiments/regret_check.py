"""Is `edgesplit regret` right: what it predicts of a plan beside what the plan really takes.

    python -m experiments.regret_check --out DIR

Three sessions on the embedded cluster, each with one plan, send requests in turns, so that all meet
the same machine. The recording of each predicts what the other two plans would have taken; those
were really run. Latencies are measured, tiers and links emulated.
"""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import click
import numpy as np
import torch

from edgesplit import Config, EdgeSplit, parse_plan
from edgesplit.cluster.session.recordings import recorded_events
from edgesplit.cluster.session.status import cluster_status
from edgesplit.core.control.event import Observed
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.policies.policy import fixed
from edgesplit.core.shadow.outcome import Regret
from edgesplit.core.shadow.regret import regret
from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, write_rows
from experiments.shared.small_net import small_net

PLANS = ("end:0-8", "end:0-3 | edge:3-8", "end:0-0 | edge:0-3 | cloud:3-8")
TARGET = 0.05
_WARM_UP = 30  # requests that do not count: pools grow, beliefs settle


@click.command()
@out_option
@click.option("--requests", type=click.IntRange(50), default=600, show_default=True, help="A plan.")
@plain_errors
def main(out: Path, requests: int) -> None:
    """Compare predicted with measured latencies; write summary.json and regret_check.csv."""
    rows = compared(recordings(requests))
    worst = max(abs(row["error"]) for row in rows)
    summary = {"requests": requests, "target": TARGET, "worst": worst}
    write_rows(out, "regret_check", rows, summary | {"target_reached": worst <= TARGET})
    print_rows(rows, "Predicted by the recording of another plan, and measured (embedded cluster)")
    click.echo(f"worst error {worst:.1%}, to reach: {TARGET:.0%}")


def recordings(requests: int) -> dict[str, EventLog]:
    """By plan what the scheduler has kept of a session with it, after so many requests each."""
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    config = Config(runtimes=("torch",), progress=False)
    with ExitStack() as stack:
        splits = [
            stack.enter_context(EdgeSplit(small_net(), policy=plan, config=config))
            for plan in PLANS
        ]
        for _ in range(_WARM_UP + requests):
            for split in splits:
                split.infer(x)
        for split in splits:
            split.wait_for_plan(1.0)  # so that the scheduler has been told of the last requests
        running = cluster_status().sessions
        ids = {one.workloads[0].policy: one.id for one in running if one.workloads}
        return {plan: recorded_events(session_id=ids[plan]) for plan in PLANS}


def compared(logs: Mapping[str, EventLog]) -> list[Row]:
    """A row for each plan that is predicted by the recording of another one."""
    found = {plan: _regret(log) for plan, log in logs.items()}
    return [_row(ran, predicted, found) for ran in logs for predicted in logs if predicted != ran]


def _regret(log: EventLog) -> Regret:
    policies = {plan: fixed(parse_plan(plan)) for plan in PLANS}
    requests = [event for event, _ in log.entries if isinstance(event, Observed)]
    settled_s = requests[-1].at_s - requests[min(_WARM_UP, len(requests) - 1)].at_s
    return regret(log, policies, np.random.default_rng(0), settled_s)


def _row(ran: str, predicted: str, found: Mapping[str, Regret]) -> Row:
    [shadow] = [one for one in found[ran].shadows if one.policy == predicted]
    measured_s = found[predicted].ran.mean.latency_s
    return {
        "recorded": ran,
        "predicted": predicted,
        "requests": shadow.requests,
        "recorded_s": found[ran].ran.mean.latency_s,
        "predicted_s": shadow.mean.latency_s,
        "measured_s": measured_s,
        "error": shadow.mean.latency_s / measured_s - 1,
    }


if __name__ == "__main__":
    main()
