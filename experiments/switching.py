"""Switching under load: what a change of plan costs the requests around it.

    python -m experiments.switching --out DIR

One session on the embedded cluster, both tiers slowed fourfold; callers that pause between requests
and compare every answer: without pauses, the queues of one plan would be charged to the other. The
goal goes back and forth between two, and with it the plan; tiers and links stay as they are.
Requests sent within a tenth of a second of a switch are compared with those of the same plan that
were sent away from any.
"""

import bisect
import itertools
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import click
import torch

from edgesplit import (
    Config,
    EdgeSplit,
    EdgeSplitError,
    Emulation,
    Goal,
    Graph,
    Plan,
    Profile,
    parse_plan,
)
from experiments.shared.out import out_option
from experiments.shared.report import print_rows, write_rows
from experiments.shared.small_net import small_net
from experiments.shared.tally import Tally

GOALS = (Goal(1.0, 0.0, 0.0), Goal(0.0, 0.0, 1.0))
# For each: others are as good by turns, and a switch between those would be none of ours.
PLANS = (parse_plan("end:0-0 | edge:0-8"), parse_plan("end:0-8"))
# So that computing outweighs a link's noise, and each goal is sure to want its plan.
SLOWER = {"end": 4.0, "edge": 4.0}
TARGET_S = 0.001  # added to the median
AROUND_S = 0.1
AWAY_S = 0.4
_EVERY_S = 1.2
_PAUSE_S = 0.03
_LIMIT_S = 30.0


@dataclass(frozen=True)
class Request:
    """One that came back. sent_s, and the seconds it took; plan: as it was sent."""

    sent_s: float
    seconds: float
    plan: str


@click.command()
@out_option
@click.option("--switches", type=click.IntRange(2), default=200, show_default=True)
@click.option("--callers", type=click.IntRange(1), default=8, show_default=True)
def main(out: Path, switches: int, callers: int) -> None:
    """Switch plans under load; write summary.json and switching.csv."""
    summary, rows = run(switches, callers)
    write_rows(out, "switching", rows, summary)
    print_rows(rows, "Requests around a switch and away from any (measured, tiers slowed)")
    click.echo(
        f"{summary['switches']} switches, {summary['requests']} requests, lost {summary['lost']}, "
        f"wrong {summary['wrong']}; from the new goal to the new plan {summary['median_s']:.3f} s; "
        f"added at most {summary['added_s'] * 1e3:.2f} ms, to reach: {TARGET_S * 1e3:g} ms"
    )


def run(switches: int, callers: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """So many switches with so many callers: the summary, and a row per plan."""
    config = Config(tiers=("end", "edge"), emulation=Emulation(SLOWER), runtimes=("torch",))

    def policy(graph: Graph, profile: Profile, goal: Goal) -> Plan:
        return PLANS[GOALS.index(goal)]

    with EdgeSplit(small_net(), goal=GOALS[0], policy=policy, config=config) as split:
        load = _Load(split, callers)
        took_s = [load.switch(goal) for goal in _back_and_forth(switches)]
        load.stop()
        switched_s = [at_s for at_s, _, _ in split.switches][1:]
        records = split.records()
        requests = [Request(*row) for row in zip(
            records["at_s"], records["latency_s"], records["plan"], strict=True
        )]  # fmt: skip
    plans = sorted({request.plan for request in requests})
    rows = [row for plan in plans if (row := compared(plan, requests, switched_s)) is not None]
    summary = {
        "callers": callers,
        "switches": len(switched_s),
        "requests": load.tally.requests,
        "errors": load.tally.errors.total(),
        "lost": load.tally.lost,
        "wrong": load.tally.wrong,
        "median_s": median(took_s),
        "longest_s": max(took_s),
        "added_s": max(row["added_s"] for row in rows),
        "target_s": TARGET_S,
    }
    return summary | {"target_reached": summary["added_s"] <= TARGET_S}, rows


def compared(
    plan: str, requests: Sequence[Request], switched_s: Sequence[float]
) -> dict[str, Any] | None:
    """Requests of a plan near a switch beside those far from any; None where one kind lacks."""
    near, far = [], []
    for request in requests:
        if request.plan == plan:
            away_s = distance_s(request.sent_s, switched_s)
            if away_s <= AROUND_S:
                near.append(request.seconds)
            elif away_s >= AWAY_S:
                far.append(request.seconds)
    if min(len(near), len(far)) < 2:
        return None
    return {
        "plan": plan,
        "near": len(near),
        "far": len(far),
        "near_median_s": median(near),
        "far_median_s": median(far),
        "added_s": median(near) - median(far),
        "near_p99_s": quantiles(near, n=100)[98],
        "far_p99_s": quantiles(far, n=100)[98],
    }


def distance_s(at_s: float, switched_s: Sequence[float]) -> float:
    """Seconds to the nearest of these moments, which are in order."""
    k = bisect.bisect(switched_s, at_s)
    return min(abs(at_s - moment_s) for moment_s in switched_s[max(0, k - 1) : k + 1])


def _back_and_forth(switches: int) -> list[Goal]:
    """The second goal first: the first plan was for the first one."""
    return list(itertools.islice(itertools.cycle(reversed(GOALS)), switches))


class _Load:
    """Callers on one session, from the first plan on."""

    def __init__(self, split: EdgeSplit, callers: int) -> None:
        self._split = split
        self._x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        split.infer(self._x)
        self._expected = split.infer_on(f"end:0-{len(split.graph)}", self._x)
        self.tally = Tally()
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(callers)]
        for thread in self._threads:
            thread.start()

    def switch(self, goal: Goal) -> float:
        """Take the goal, wait for its plan, then a while; seconds until the plan was in force."""
        before, began_s = len(self._split.switches), time.monotonic()
        self._split.set_goal(goal)
        while len(self._split.switches) == before:
            if time.monotonic() - began_s > _LIMIT_S:
                raise click.ClickException(f"no other plan within {_LIMIT_S:g} s for {goal}")
            time.sleep(0.001)
        took_s = time.monotonic() - began_s
        self._stopped.wait(_EVERY_S)
        return took_s

    def stop(self) -> None:
        """No new requests; those under way have their time limit to end."""
        self._stopped.set()
        for thread in self._threads:
            thread.join(_LIMIT_S)

    def _call(self) -> None:
        while not self._stopped.wait(random.uniform(0, 2 * _PAUSE_S)):
            self.tally.sent()
            try:
                answer = self._split.infer(self._x)
            except EdgeSplitError as error:
                self.tally.failed(error)
            else:
                self.tally.answered(torch.equal(answer, self._expected))


if __name__ == "__main__":
    main()
