"""Many sessions' control loops in one process, without Ray: processor time, decisions, memory.

    python -m experiments.control_plane --sessions 1000 --out DIR

Callers are simulated, in the same process: each sends two requests a second, whose samples reach
its loop 50 ms later. First all is steady; then the link of each becomes eight times slower, once,
spread over a while. Loops are ticked only when one is due. What callers cost is not counted, and
waiting is that of one core which does nothing else.
"""

import gc
import os
import time
from pathlib import Path
from typing import Any

import click
import numpy as np

from edgesplit.core.policies.policy import decide
from experiments.control_plane.drive import Driven, Driver
from experiments.control_plane.session import LAYERS, opened
from experiments.planner.instances import realistic
from experiments.shared.out import out_option
from experiments.shared.report import print_rows, write_rows

CORES, DECIDED_S = 1.0, 1.0  # what is to be reached, decisions in 99 of 100 cases
WARM_UP_S = 5.0
CANDIDATES = (3, 5, 7, 10)  # tiers of a plan to choose, the entry tier included
MOST_STAGES = 4
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@click.command()
@out_option
@click.option("--sessions", type=click.IntRange(1), default=1000, show_default=True)
@click.option(
    "--requests-per-s",
    type=click.FloatRange(0.1),
    default=2.0,
    show_default=True,
    help="Of each session.",
)
@click.option("--seconds", type=click.FloatRange(1.0), default=60.0, show_default=True,
              help="Of each part.")  # fmt: skip
def main(out: Path, sessions: int, requests_per_s: float, seconds: float) -> None:
    """Measure and write control_plane.csv, summary.json."""
    gc.collect()
    before = _resident_bytes()
    began_s = time.process_time()
    opened_ones = [opened(seed, 0.0) for seed in range(sessions)]
    open_s = (time.process_time() - began_s) / sessions
    gc.collect()
    rows, at_first = list[dict[str, Any]](), (_resident_bytes() - before) / sessions
    gc.freeze()  # what is there stays; else each full collection would look at all of it
    Driver(opened_ones, requests_per_s).run(WARM_UP_S, {})  # all were opened in one moment
    generator = np.random.default_rng(1)
    spread = {n: float(s) for n, s in enumerate(generator.uniform(0.1, 0.6, sessions) * seconds)}
    for name, changes in (("steady", {}), ("each link changes once", spread)):
        driver = Driver(opened_ones, requests_per_s)
        rows.append(_row(name, sessions, driver.run(seconds, changes), seconds))
        print_rows(rows[-1:], name)
    gc.collect()
    planned = [_planned(tiers) for tiers in CANDIDATES]
    summary = {
        "sessions": sessions,
        "requests_per_s_each": requests_per_s,
        "open_cpu_s_each": open_s,
        "bytes_each_at_first": at_first,
        "bytes_each_at_the_end": (_resident_bytes() - before) / sessions,
        "planner": planned,
        "reached": all(
            row["cores"] <= CORES and (row["decided_p99_s"] or 0.0) <= DECIDED_S for row in rows
        ),
    }
    write_rows(out, "control_plane", rows, summary)
    print_rows(planned, "one decision, by nodes to choose from")


def _row(name: str, sessions: int, driven: Driven, seconds: float) -> dict[str, Any]:
    """cores: of one, for all loops. took: from when an event was due until its actions were known;
    decided: from the event that led to another plan until its Activate, preparing it (0.1 s)
    included; changed: from the change of the link.
    """
    return {
        "part": name,
        "sessions": sessions,
        "seconds": seconds,
        "cores": driven.cpu_s / seconds,
        "cpu_us_per_event": 1e6 * driven.cpu_s / max(1, driven.events),
        "events": driven.events,
        "requests": driven.requests,
        "ticks": driven.ticks,
        "took_p50_s": _percentile(driven.took_s, 50),
        "took_p99_s": _percentile(driven.took_s, 99),
        "switches": len(driven.decided_s),
        "decided_p50_s": _percentile(driven.decided_s, 50),
        "decided_p99_s": _percentile(driven.decided_s, 99),
        "changed_p50_s": _percentile(driven.changed_s, 50),
        "changed_p99_s": _percentile(driven.changed_s, 99),
        "requests_seen_p50": _percentile(driven.seen, 50),
    }


def _planned(tiers: int) -> dict[str, Any]:
    """Seconds of one decision among so many nodes, at most four stages, the median of instances."""
    seconds = []
    for seed in range(10):
        graph, profile, goal = realistic(np.random.default_rng([seed, tiers]), LAYERS, tiers)
        goal = type(goal)(goal.end_energy, goal.total_energy, goal.latency, max_stages=MOST_STAGES)
        times = []
        for _ in range(5):
            began_s = time.thread_time()
            decide(graph, profile, goal)
            times.append(time.thread_time() - began_s)
        seconds.append(min(times))
    return {"tiers": tiers, "layers": LAYERS, "median_s": _percentile(seconds, 50),
            "slowest_s": max(seconds)}  # fmt: skip


def _percentile(values: list[Any], percent: float) -> float | None:
    return float(np.percentile(values, percent)) if values else None


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * _PAGE_BYTES


if __name__ == "__main__":
    main()
