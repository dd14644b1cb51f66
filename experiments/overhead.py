"""What splitting costs over its parts: latency / (the segments' own time + the same bytes on TCP).

    python -m experiments.overhead --out DIR [--quick] [--scene testbed]

Nothing is slowed or shaped; EdgeSplit, plain TCP and plain Ray calls take turns in one run, and
every figure is a median. Measured, on one machine: its loopback, or the testbed's three hosts.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch

from edgesplit import EdgeSplit, Emulation, Graph, Plan, load_model, plan_along
from edgesplit.config import TIERS
from experiments.options import plain_errors
from experiments.peers import Peers
from experiments.picture import grouped_bars
from experiments.report import print_rows, progress, write_rows
from experiments.scene import SCENES, Scene, scene_named

TARGETS = {"vgg16": 1.05, "alexnet": 1.05, "mobilenet_v2": 1.10}


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for results.")
@click.option("--quick", is_flag=True, help="Few rounds, the small model only: to try it out.")
@click.option("--rounds", default=60, show_default=True, help="Requests per model and plan.")
@click.option(
    "--scene",
    type=click.Choice(SCENES),
    default="embedded",
    show_default=True,
    help="One process per tier on this machine, a Ray cluster, or the testbed of three hosts.",
)
@click.option("--address", help="With --scene cluster: the head, host:port; else RAY_ADDRESS.")
@plain_errors
def main(out: Path, quick: bool, rounds: int, scene: str, address: str | None) -> None:
    """Measure EdgeSplit's overhead and compare it with plain Ray calls."""
    models = ["mobilenet_v2"] if quick else list(TARGETS)
    rows = []
    with (
        scene_named(scene, address, is_nominal=False) as place,
        progress("overhead", len(models) * 3) as advance,
    ):
        for name in models:
            for row in measure(name, rounds, place):
                rows.append(row)
                advance()
    grouped_bars(
        out / "overhead.png",
        [f"{row['model']}\n{row['plan_kind']}" for row in rows],
        {
            "segments' own time": [row["compute_s"] * 1e3 for row in rows],
            "+ same bytes on TCP": [(row["compute_s"] + row["tcp_s"]) * 1e3 for row in rows],
            "EdgeSplit": [row["latency_s"] * 1e3 for row in rows],
            "plain Ray calls": [row["ray_s"] * 1e3 for row in rows],
        },
        f"median latency, ms (measured, scene {scene}, nothing slowed)",
    )
    reached = all(
        row["ratio"] <= TARGETS[row["model"]] and row["latency_s"] <= row["ray_s"] for row in rows
    )
    summary = {"scene": scene, "targets": TARGETS, "targets_reached": reached}
    write_rows(out, "overhead", rows, summary)
    print_rows(rows, f"Overhead (measured, scene {scene}, nothing slowed)")
    click.echo(f"targets (ratio <= {TARGETS}, never slower than Ray) reached: {reached}")


def measure(name: str, rounds: int, place: Scene) -> Iterator[dict[str, Any]]:
    """A row per plan of one model."""
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    config = replace(place.config(), emulation=Emulation(), threads=1, interval_s=3600.0)
    policy = f"{TIERS[0]}-only"
    with EdgeSplit(load_model(name), policy=policy, address=place.address, config=config) as split:
        split.infer(x)
        peers = Peers(split.exported(), TIERS, is_one_node=place.name == "embedded")
        try:
            for kind, plan in plans(split.graph()).items():
                figures = _take_turns(split, peers, plan, (x, rounds))
                yield {"model": name, "plan_kind": kind, "plan": str(plan), **figures}
        finally:
            peers.stop()


def plans(graph: Graph) -> dict[str, Plan]:
    """End only, one cut, two cuts; cuts where the payload is least within a stretch of layers."""
    n = len(graph)

    def least(low: int, high: int) -> int:
        return min(range(low, high), key=lambda cut: graph.payload_bytes[cut])

    middle, early, late = (
        least(n // 3, 2 * n // 3),
        least(n // 5, n // 2),
        least(n // 2, 4 * n // 5),
    )
    return {
        "end only": plan_along(TIERS[:1], [], n),
        "one cut": plan_along(TIERS[:2], [middle], n),
        "two cuts": plan_along(TIERS, [early, late], n),
    }


def _take_turns(
    split: EdgeSplit, peers: Peers, plan: Plan, load: tuple[torch.Tensor, int]
) -> dict[str, float]:
    """Medians over `rounds` rounds of one request each way; the first fifth warms up."""
    x, rounds = load
    values = split.exported().flatten((x,))
    chain = peers.open_tcp(plan, split.graph().payload_bytes)
    latency_s, compute_s, tcp_s, ray_s = [], [], [], []
    for _ in range(rounds + rounds // 5):
        split.infer_on(plan, x)
        record = split.last_record()
        assert record is not None
        latency_s.append(record.latency_s)
        compute_s.append(record.compute_s)
        tcp_s.append(chain.round_trip_s())
        ray_s.append(peers.ray_s(plan, values))
    chain.close()
    figures = {"latency_s": latency_s, "compute_s": compute_s, "tcp_s": tcp_s, "ray_s": ray_s}
    medians = {key: median(series[rounds // 5 :]) for key, series in figures.items()}
    ratio = medians["latency_s"] / (medians["compute_s"] + medians["tcp_s"])
    return {**medians, "ratio": ratio}


if __name__ == "__main__":
    main()
