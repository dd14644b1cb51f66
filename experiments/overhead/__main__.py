"""What splitting costs over its parts: latency / (the segments' own time + the same bytes on TCP).

    python -m experiments.overhead --out DIR [--quick] [--scene testbed]

Nothing is slowed or shaped; EdgeSplit with its default transport security and without, plain TCP
and plain Ray calls take turns in one run, and every figure is a median. TCP and Ray encrypt
nothing. Measured, on one machine: its loopback, or the testbed's three hosts.
"""

import collections
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import quantiles
from typing import Any

import click
import torch

from edgesplit import (
    Config,
    EdgeSplit,
    Emulation,
    Graph,
    InsecureTransportWarning,
    Plan,
    load_model,
    plan_along,
)
from edgesplit.config import TIERS
from edgesplit.node.transport.security import NONE
from experiments.overhead.peers import Peers
from experiments.shared.options import scene_options
from experiments.shared.picture import grouped_bars
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import Row, print_rows, progress, write_rows
from experiments.shared.resume import Journal
from experiments.shared.scene import Scene, scene_named

TARGETS = {"vgg16": 1.01, "alexnet": 1.04, "mobilenet_v2": 1.06}
KINDS = ("end only", "one cut", "two cuts")
# The columns of the default have no prefix.
SECURITY_BY_PREFIX = {"": Config().transport_security, "none_": NONE}


@click.command()
@scene_options
@click.option("--quick", is_flag=True, help="Few rounds, the small model only: to try it out.")
@click.option(
    "--rounds", type=click.IntRange(5), help="Requests per model and plan. [default: 60, quick 10]"
)
@plain_errors
def main(
    out: Path,
    fresh: bool,
    scene: str,
    address: str | None,
    quick: bool,
    rounds: int | None,
) -> None:
    """Measure EdgeSplit's overhead and compare it with plain Ray calls.

    Writes summary.json, overhead.csv and overhead.png. Can be interrupted at any time and
    continued by the same command; finished plans are kept.
    """
    models = ["mobilenet_v2"] if quick else list(TARGETS)
    count = rounds or (10 if quick else 60)
    settings = {"experiment": "overhead", "scene": scene, "models": models, "rounds": count}
    settings["transport_security"] = list(SECURITY_BY_PREFIX.values())
    with scene_named(scene, address, is_nominal=False) as place:
        journal = Journal(out, settings).open(fresh)
        with progress("overhead", len(models) * len(KINDS)) as advance:
            for _ in journal.find(kind="row"):
                advance()
            for name in models:
                _measure(name, count, place, journal, advance)
    _write(out, scene, [entry["row"] for entry in journal.find(kind="row")])


def _write(out: Path, scene: str, rows: Sequence[Row]) -> None:
    default = SECURITY_BY_PREFIX[""]
    bars = {
        "segments' own time": "compute_s",
        f"EdgeSplit ({default}, the default)": "latency_s",
        "EdgeSplit (no transport security)": "none_latency_s",
        "plain Ray calls": "ray_s",
    }
    grouped_bars(
        out / "overhead.png",
        [f"{row['model']}\n{row['plan_kind']}" for row in rows],
        {label: [row[key] * 1e3 for row in rows] for label, key in bars.items()},
        f"median latency and quartiles, ms\n(measured, scene {scene}, nothing slowed)",
        {label: _quartiles(rows, key) for label, key in bars.items()},
    )
    reached = all(
        row["ratio"] <= TARGETS[row["model"]] and row["latency_s"] <= row["ray_s"] for row in rows
    )
    summary = {
        "scene": scene,
        "transport_security": default,
        "targets": TARGETS,
        "targets_reached": reached,
    }
    write_rows(out, "overhead", rows, summary)
    shown = ["model", "plan_kind", "plan", "latency_s", "compute_s", "tcp_s", "ray_s", "ratio"]
    shown += ["none_latency_s", "none_compute_s", "none_ratio"]
    title = f"Overhead (measured, scene {scene}, nothing slowed, transport security {default})"
    print_rows([{key: row[key] for key in shown} for row in rows], title)
    click.echo(f"targets (ratio <= {TARGETS}, never slower than Ray) reached: {reached}")


def _quartiles(rows: Sequence[Row], key: str) -> list[tuple[float, float]]:
    """From and to of each row's figure, in milliseconds."""
    return [(row[f"{key}_q1"] * 1e3, row[f"{key}_q3"] * 1e3) for row in rows]


def _measure(
    name: str, rounds: int, place: Scene, journal: Journal, advance: Callable[[], None]
) -> None:
    """A row per plan of one model that the journal lacks."""
    missing = [kind for kind in KINDS if not journal.has(kind="row", model=name, plan_kind=kind)]
    if not missing:
        return
    x = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with ExitStack() as open_now:
        with warnings.catch_warnings(action="ignore", category=InsecureTransportWarning):
            splits = {
                prefix: open_now.enter_context(_session(name, place, security))
                for prefix, security in SECURITY_BY_PREFIX.items()
            }
        split = splits[""]
        for each in splits.values():
            each.infer(x)
        peers = Peers(split.exported, TIERS, is_one_node=place.name == "embedded")
        open_now.callback(peers.stop)
        for kind in missing:
            plan = plans(split.graph)[kind]
            row: dict[str, Any] = {"model": name, "plan_kind": kind, "plan": str(plan)}
            row |= _take_turns(splits, peers, plan, (x, rounds))
            journal.append({"kind": "row", "model": name, "plan_kind": kind, "row": row})
            advance()


def _session(name: str, place: Scene, security: str) -> EdgeSplit:
    """To be opened; it neither adapts nor slows anything."""
    config = replace(place.config(), emulation=Emulation(), threads=1, interval_s=3600.0)
    config = replace(config, transport_security=security)
    policy = f"{TIERS[0]}-only"
    return EdgeSplit(load_model(name), policy=policy, address=place.address, config=config)


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
    splits: Mapping[str, EdgeSplit], peers: Peers, plan: Plan, load: tuple[torch.Tensor, int]
) -> dict[str, float]:
    """Medians and quartiles over `rounds` rounds of one request each way, after a fifth more.

    splits: by the prefix of their columns.
    """
    x, rounds = load
    values = splits[""].exported.flatten((x,))
    chain = peers.open_tcp(plan, splits[""].graph.payload_bytes)
    seconds = collections.defaultdict[str, list[float]](list)
    for _ in range(rounds + rounds // 5):
        for prefix, split in splits.items():
            split.infer_on(plan, x)
            record = split.last_record
            assert record is not None
            seconds[f"{prefix}latency_s"].append(record.latency_s)
            seconds[f"{prefix}compute_s"].append(record.compute_s)
        seconds["tcp_s"].append(chain.round_trip_s())
        seconds["ray_s"].append(peers.ray_s(plan, values))
    chain.close()
    found: dict[str, float] = {}
    for key, series in seconds.items():
        low, found[key], high = quantiles(series[rounds // 5 :], n=4)
        found |= {f"{key}_q1": low, f"{key}_q3": high}
    for prefix in splits:
        parts_s = found[f"{prefix}compute_s"] + found["tcp_s"]
        found[f"{prefix}ratio"] = found[f"{prefix}latency_s"] / parts_s
    return found


if __name__ == "__main__":
    main()
