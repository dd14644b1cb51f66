"""How close `map` comes to its bound: one request per time of the slowest tier.

    python -m experiments.throughput --out DIR [--quick]

Emulated tier speeds and links. The plan is the three-tier split whose slowest tier is quickest.
"""

import time
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch

from edgesplit import Config, EdgeSplit, Graph, Plan, Profile, load_model, plan_along
from experiments.shared.out import out_option
from experiments.shared.picture import grouped_bars
from experiments.shared.report import print_rows, progress, write_rows

MODELS = ("mobilenet_v2", "alexnet", "vgg16")
TARGET = 0.9


@click.command()
@out_option
@click.option("--quick", is_flag=True, help="Few requests, the small model only: to try it out.")
@click.option(
    "--requests", type=click.IntRange(1), default=60, show_default=True, help="Requests per model."
)
def main(out: Path, quick: bool, requests: int) -> None:
    """Measure the throughput of map() against the slowest tier's time."""
    models = MODELS[:1] if quick else MODELS
    rows = []
    with progress("throughput", len(models)) as advance:
        for name in models:
            rows.append(measure(name, 20 if quick else requests))
            advance()
    grouped_bars(
        out / "throughput.png",
        [row["model"] for row in rows],
        {
            "map()": [row["requests_per_s"] for row in rows],
            "1 / slowest tier": [row["bound_requests_per_s"] for row in rows],
        },
        "requests per second (emulated tiers)",
    )
    reached = all(row["share_of_bound"] >= TARGET for row in rows)
    summary = {"emulated": True, "target": TARGET, "target_reached": reached}
    write_rows(out, "throughput", rows, summary)
    print_rows(rows, "Throughput of map() (emulated tiers and links)")
    click.echo(f"target (at least {TARGET} of the bound) reached: {reached}")


def measure(name: str, requests: int) -> dict[str, Any]:
    """One model: requests per second over the steady part, and the bound from the same run."""
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    config = Config(fallback="none", runtimes=("torch",))
    with EdgeSplit(load_model(name), policy="end-only", config=config) as split:
        split.infer(x)
        plan = balanced(split.graph, split.profile)
        for _ in split.map([x] * 6, plan=plan):
            pass  # warms up
        finished_s = [time.perf_counter() for _ in split.map([x] * requests, plan=plan)]
        records = split.records().tail(requests)
    # The mean: a rate is the reciprocal of a mean time, whatever single requests do.
    slowest_s = max(records[f"{tier}_compute_s"].mean() for tier in plan.route)
    # The first answers come while the pipeline fills.
    filled = len(plan.stages)
    rate = (requests - 1 - filled) / (finished_s[-1] - finished_s[filled])
    return {
        "model": name,
        "plan": str(plan),
        "requests_per_s": rate,
        "bound_requests_per_s": float(1 / slowest_s),
        "share_of_bound": float(rate * slowest_s),
    }


def balanced(graph: Graph, profile: Profile) -> Plan:
    """The three-tier split whose slowest tier or link takes least."""
    tiers = profile.names
    prefix = [np.concatenate([[0], np.cumsum(tier.layer_s)]) for tier in profile.tiers]
    first, second = profile.link(*tiers[:2]), profile.link(*tiers[1:])
    assert first is not None
    assert second is not None

    def slowest_s(cuts: Sequence[int]) -> float:
        i, j = cuts
        stages_s = (prefix[0][i], prefix[1][j] - prefix[1][i], prefix[2][-1] - prefix[2][j])
        links_s = (
            graph.payload_bytes[i] / first.bytes_per_s,
            graph.payload_bytes[j] / second.bytes_per_s,
        )
        return float(max(*stages_s, *links_s))

    return plan_along(tiers, min(combinations(range(1, len(graph)), 2), key=slowest_s), len(graph))


if __name__ == "__main__":
    main()
