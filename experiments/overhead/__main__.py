"""What splitting costs over its parts: latency / (the segments' own time + the same bytes on TCP).

    python -m experiments.overhead --out DIR [--quick] [--scene testbed]

Nothing is slowed or shaped; EdgeSplit, plain TCP and plain Ray calls take turns in one run, and
every figure is a median. TCP and Ray encrypt nothing, so EdgeSplit does not either unless it is
asked to; python -m experiments.transport_security measures what that costs. Measured, on one
machine: its loopback, or the testbed's three hosts.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any

import click
import torch

from edgesplit import EdgeSplit, Emulation, Graph, Plan, load_model, plan_along
from edgesplit.config import TIERS
from experiments.overhead.peers import Peers
from experiments.shared.options import scene_options
from experiments.shared.picture import grouped_bars
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, progress, write_rows
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene, scene_named

TARGETS = {"vgg16": 1.05, "alexnet": 1.05, "mobilenet_v2": 1.10}
KINDS = ("end only", "one cut", "two cuts")


@click.command()
@scene_options
@click.option("--quick", is_flag=True, help="Few rounds, the small model only: to try it out.")
@click.option(
    "--rounds", type=click.IntRange(5), help="Requests per model and plan. [default: 60, quick 10]"
)
@click.option(
    "--transport-security",
    "security",
    type=click.Choice(["none", "tls"]),
    default="none",
    show_default=True,
    help="Of EdgeSplit's payloads; those it is compared with travel as they are.",
)
@plain_errors
def main(
    out: Path,
    fresh: bool,
    scene: str,
    address: str | None,
    quick: bool,
    rounds: int | None,
    security: str,
) -> None:
    """Measure EdgeSplit's overhead and compare it with plain Ray calls.

    Writes summary.json, overhead.csv and overhead.png. Can be interrupted at any time and
    continued by the same command; finished plans are kept.
    """
    models = ["mobilenet_v2"] if quick else list(TARGETS)
    count = rounds or (10 if quick else 60)
    settings = {"experiment": "overhead", "scene": scene, "models": models, "rounds": count}
    settings["transport_security"] = security
    with scene_named(scene, address, is_nominal=False) as place:
        journal = Journal(out, settings).open(fresh)
        with progress("overhead", len(models) * len(KINDS)) as advance:
            for _ in journal.find(kind="row"):
                advance()
            for name in models:
                _measure(name, (count, security), place, journal, advance)
    _write(out, (scene, security), [entry["row"] for entry in journal.find(kind="row")])


def _write(out: Path, conditions: tuple[str, str], rows: Sequence[Row]) -> None:
    scene, security = conditions
    title = f"Overhead (measured, scene {scene}, nothing slowed, transport security {security})"
    grouped_bars(
        out / "overhead.png",
        [f"{row['model']}\n{row['plan_kind']}" for row in rows],
        {
            "segments' own time": [row["compute_s"] * 1e3 for row in rows],
            "+ same bytes on TCP": [(row["compute_s"] + row["tcp_s"]) * 1e3 for row in rows],
            "EdgeSplit": [row["latency_s"] * 1e3 for row in rows],
            "plain Ray calls": [row["ray_s"] * 1e3 for row in rows],
        },
        f"median latency and quartiles, ms\n(measured, scene {scene}, nothing slowed, "
        f"transport security {security})",
        {
            "segments' own time": _quartiles(rows, "compute_s"),
            "EdgeSplit": _quartiles(rows, "latency_s"),
            "plain Ray calls": _quartiles(rows, "ray_s"),
        },
    )
    reached = all(
        row["ratio"] <= TARGETS[row["model"]] and row["latency_s"] <= row["ray_s"] for row in rows
    )
    summary = {
        "scene": scene,
        "transport_security": security,
        "targets": TARGETS,
        "targets_reached": reached,
    }
    write_rows(out, "overhead", rows, summary)
    shown = ("model", "plan_kind", "plan", "latency_s", "compute_s", "tcp_s", "ray_s", "ratio")
    print_rows([{key: row[key] for key in shown} for row in rows], title)
    click.echo(f"targets (ratio <= {TARGETS}, never slower than Ray) reached: {reached}")


def _quartiles(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """From and to of each row's figure, in milliseconds."""
    return [(row[f"{key}_q1"] * 1e3, row[f"{key}_q3"] * 1e3) for row in rows]


def _measure(
    name: str,
    how: tuple[int, str],
    place: Scene,
    journal: Journal,
    advance: Callable[[], None],
) -> None:
    """A row per plan of one model that the journal lacks. how: rounds, transport security."""
    missing = [kind for kind in KINDS if not journal.has(kind="row", model=name, plan_kind=kind)]
    if not missing:
        return
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    rounds, security = how
    config = replace(place.config(), emulation=Emulation(), threads=1, interval_s=3600.0)
    config = replace(config, transport_security=security)
    policy = f"{TIERS[0]}-only"
    with EdgeSplit(load_model(name), policy=policy, address=place.address, config=config) as split:
        split.infer(x)
        peers = Peers(split.exported, TIERS, is_one_node=place.name == "embedded")
        try:
            for kind in missing:
                plan = plans(split.graph)[kind]
                row: dict[str, Any] = {"model": name, "plan_kind": kind, "plan": str(plan)}
                row |= _take_turns(split, peers, plan, (x, rounds))
                journal.append({"kind": "row", "model": name, "plan_kind": kind, "row": row})
                advance()
        finally:
            peers.stop()


def plans(graph: Graph) -> dict[str, Plan]:
    """A plan per kind; cuts where the payload is least within a stretch of layers."""
    n = len(graph)

    def least(low: int, high: int) -> int:
        return min(range(low, high), key=lambda cut: graph.payload_bytes[cut])

    middle, early, late = (
        least(n // 3, 2 * n // 3),
        least(n // 5, n // 2),
        least(n // 2, 4 * n // 5),
    )
    found = (
        plan_along(TIERS[:1], [], n),
        plan_along(TIERS[:2], [middle], n),
        plan_along(TIERS, [early, late], n),
    )
    return dict(zip(KINDS, found, strict=True))


def _take_turns(
    split: EdgeSplit, peers: Peers, plan: Plan, load: tuple[torch.Tensor, int]
) -> dict[str, float]:
    """Medians and quartiles over `rounds` rounds of one request each way, after a fifth more."""
    x, rounds = load
    values = split.exported.flatten((x,))
    chain = peers.open_tcp(plan, split.graph.payload_bytes)
    latency_s, compute_s, tcp_s, ray_s = [], [], [], []
    for _ in range(rounds + rounds // 5):
        split.infer_on(plan, x)
        record = split.last_record
        assert record is not None
        latency_s.append(record.latency_s)
        compute_s.append(record.compute_s)
        tcp_s.append(chain.round_trip_s())
        ray_s.append(peers.ray_s(plan, values))
    chain.close()
    figures = {"latency_s": latency_s, "compute_s": compute_s, "tcp_s": tcp_s, "ray_s": ray_s}
    found: dict[str, float] = {}
    for key, series in figures.items():
        low, found[key], high = quantiles(series[rounds // 5 :], n=4)
        found |= {f"{key}_q1": low, f"{key}_q3": high}
    return found | {"ratio": found["latency_s"] / (found["compute_s"] + found["tcp_s"])}


if __name__ == "__main__":
    main()
