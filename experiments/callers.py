"""Throughput under load: requests per second and latencies from 1 to 64 concurrent callers.

    python -m experiments.callers --out DIR

One session on the embedded cluster without emulation; every caller sends as soon as it has its
answer. Beyond saturation the rate must not fall.
"""

import threading
import time
from pathlib import Path
from statistics import quantiles
from typing import Any

import click
import torch

from edgesplit import Config, EdgeSplit, Emulation
from experiments.chaos.embedded import PLAN
from experiments.shared.out import out_option
from experiments.shared.report import print_rows, write_rows
from experiments.shared.small_net import small_net

CALLERS = (1, 2, 4, 8, 16, 32, 64)
TARGET = 0.9  # of the peak, at the most callers
_WARM_S = 0.5


@click.command()
@out_option
@click.option("--seconds", type=click.FloatRange(0.5), default=5.0, show_default=True)
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
def main(out: Path, seconds: float, rounds: int) -> None:
    """Send from more and more callers; write summary.json and callers.csv."""
    config = Config(emulation=Emulation(), runtimes=("torch",))
    with EdgeSplit(small_net(), policy=PLAN, config=config) as split:
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
        split.infer(x)
        # In rounds, so that what else the machine does falls on all alike.
        runs = [(n, measure(split, x, n, seconds)) for _ in range(rounds) for n in CALLERS]
    rows = [_row(n, [taken for k, taken in runs if k == n], seconds) for n in CALLERS]
    rates = [row["requests_per_s"] for row in rows]
    share = rates[-1] / max(rates)
    summary = {"target": TARGET, "share_of_peak": share, "target_reached": share >= TARGET}
    write_rows(out, "callers", rows, summary)
    print_rows(rows, "One session, more and more callers (measured, no emulation)")
    click.echo(f"at {CALLERS[-1]} callers {share:.2f} of the peak; to reach: {TARGET}")


def measure(split: EdgeSplit, x: torch.Tensor, callers: int, seconds: float) -> list[float]:
    """Seconds of each request that was sent within the time, after a moment to warm up."""
    taken: list[float] = []
    begin_s = time.perf_counter() + _WARM_S

    def call() -> None:
        while (sent_s := time.perf_counter()) < begin_s + seconds:
            split.infer(x)
            if sent_s >= begin_s:
                taken.append(time.perf_counter() - sent_s)

    threads = [threading.Thread(target=call) for _ in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return taken


def _row(callers: int, rounds: list[list[float]], seconds: float) -> dict[str, Any]:
    shares = quantiles([s for taken in rounds for s in taken], n=100)
    rates = sorted(len(taken) / seconds for taken in rounds)
    return {
        "callers": callers,
        "requests_per_s": rates[len(rates) // 2],
        "median_s": shares[49],
        "p99_s": shares[98],
    }


if __name__ == "__main__":
    main()
