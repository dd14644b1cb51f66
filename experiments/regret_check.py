"""Is `edgesplit regret` right: what it predicts of a plan beside what the plan really takes.

    python -m experiments.regret_check --out DIR

One session on the embedded cluster runs three plans in turns, a few dozen requests each time. From
the requests along each plan it is predicted what they would have taken along the other two, which
is compared with what requests along those took. Latencies are measured, tiers and links emulated.
"""

from collections.abc import Iterator, Sequence
from itertools import permutations
from pathlib import Path

import click
import numpy as np
import torch

from edgesplit import Config, EdgeSplit, Goal, Graph, Plan, Profile, parse_plan
from edgesplit.cluster.session.recordings import recorded_events
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.shadow.past_request import PastRequest
from edgesplit.core.shadow.played import along, played, window_of
from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, write_rows
from experiments.shared.small_net import small_net

PLANS = tuple(map(parse_plan, ("end:0-8", "end:0-3 | edge:3-8", "end:0-0 | edge:0-3 | cloud:3-8")))
# For each: another goal, so that it can be told which plan is wanted; empty machines have no price.
GOALS = tuple(Goal(load=0.1 * (1 + number)) for number in range(len(PLANS)))
TARGET = 0.05
_PER_TURN = 30


class InTurns:
    """A policy that takes the goal's number for that of the plan, and is followed."""

    is_followed = True

    def __call__(self, graph: Graph, profile: Profile, goal: Goal) -> Plan:
        """The plan of that goal."""
        return PLANS[GOALS.index(goal)]


@click.command()
@out_option
@click.option("--turns", type=click.IntRange(3), default=20, show_default=True, help="A plan.")
@plain_errors
def main(out: Path, turns: int) -> None:
    """Compare predicted with measured latencies; write summary.json and regret_check.csv."""
    log = recording(turns)
    rows = list(compared(log.start.graph, requests_of(log)))
    worst = max(abs(row["error"]) for row in rows)
    summary = {"turns": turns, "per_turn": _PER_TURN, "target": TARGET, "worst": worst}
    write_rows(out, "regret_check", rows, summary | {"target_reached": worst <= TARGET})
    print_rows(rows, "Predicted from requests along another plan, and measured (embedded cluster)")
    click.echo(f"worst error {worst:.1%}, to reach: {TARGET:.0%}")


def recording(turns: int) -> EventLog:
    """What the scheduler has kept of a session that runs each plan so often."""
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    config = Config(runtimes=("torch",), progress=False)
    with EdgeSplit(small_net(), goal=GOALS[0], policy=InTurns(), config=config) as split:
        split.infer(x)
        for turn in range(turns * len(PLANS)):
            split.set_goal(GOALS[turn % len(PLANS)])
            while split.plan != PLANS[turn % len(PLANS)]:
                split.infer(x)
            for _ in range(_PER_TURN):
                split.infer(x)
        split.wait_for_plan(5.0)  # by then the scheduler has been told of the last requests
        return recorded_events()


def requests_of(log: EventLog) -> list[PastRequest]:
    """All of a recording but the first turn of each plan: until then tiers are not known well."""
    found = played(log, {}, window_of(log, log.start.now_s)).requests
    return found[len(PLANS) * _PER_TURN :]


def compared(graph: Graph, requests: Sequence[PastRequest]) -> Iterator[Row]:
    """A row for each plan that is predicted from requests along another one."""
    by_plan = {plan: [one for one in requests if one.plan == plan] for plan in PLANS}
    for ran, other in permutations(PLANS, 2):
        courses = filter(None, along(graph, by_plan[ran], other))
        predicted_s = np.mean([course.spent.latency_s for course in courses])
        measured_s = np.mean([one.spent.latency_s for one in by_plan[other]])
        yield {
            "ran": str(ran),
            "predicted": str(other),
            "requests": len(by_plan[ran]),
            "ran_s": float(np.mean([one.spent.latency_s for one in by_plan[ran]])),
            "predicted_s": float(predicted_s),
            "measured_s": float(measured_s),
            "error": float(predicted_s / measured_s - 1),
        }


if __name__ == "__main__":
    main()
