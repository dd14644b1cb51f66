"""Many devices that share edges and a cloud: each for itself, beside prices and the best there is.

`python -m experiments.fleet --devices 1000 --edges 30 --out DIR [--quick]` writes approaches.csv,
rounds.csv, scale.csv, fleet.png, summary.json. A simulation on the product's cost model, planner
and prices (core/fleet), without Ray and without a network; times are measured.
`python -m experiments.fleet --scene testbed --out DIR [--quick]` lets three devices do so on hosts
of namespaces, as root: requests.csv, floods.csv, fleet_testbed.png, summary.json.
"""

from pathlib import Path
from typing import Any

import click
import numpy as np

from edgesplit.core.goal import Goal
from experiments.fleet.bed import HOSTS_FILE
from experiments.fleet.devices import capacities, devices
from experiments.fleet.fit import fitted
from experiments.fleet.picture import draw
from experiments.fleet.plans import Fleet
from experiments.fleet.rounds import under_pressure
from experiments.fleet.scale import scale_row, slope
from experiments.fleet.sides import side
from experiments.fleet.story import FULL_TIER, WITHIN, Told, chapters, told
from experiments.fleet.testbed import run_on_testbed
from experiments.shared.out import out_option
from experiments.shared.plain_errors import plain_errors
from experiments.shared.report import console, print_rows, progress, write_csv, write_json

ROUNDS, ROUNDS_QUICK = (120, 40), (60, 15)
COUNTS, COUNTS_QUICK = (100, 300, 1_000, 3_000, 10_000), (100, 300)
LINEAR_FROM = 300  # devices; below, a round is mostly constant
SCALE_ROUNDS = 100
TO_REACH_ROUNDS = 30
PRESSURE_WEIGHTS = (0.1, 1.0)  # of Goal.load: the default, and as much as a second itself


@click.command()
@out_option
@click.option("--devices", "count", type=click.IntRange(10), default=1_000, show_default=True)
@click.option("--edges", type=click.IntRange(2), default=30, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=1, show_default=True)
@click.option("--quick", is_flag=True, help="Fewer rounds, no large fleets.")
@click.option(
    "--scene", type=click.Choice(["simulation", "testbed"]), default="simulation", show_default=True
)
@click.option(
    "--hosts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    default=HOSTS_FILE,
    help="With --scene testbed: its hosts, quotas and rates, as `edgesplit testbed up --hosts`.",
)
@click.option(
    "--load",
    type=click.FloatRange(0.0),
    default=Goal.load,
    show_default=True,
    help="With --scene testbed: the weight of prices in the goal.",
)
@plain_errors
def main(scene: str, out: Path, hosts: Path, load: float, quick: bool, **made_up: int) -> None:
    """Let a fleet find its prices, and compare with each for itself and with the LP bound."""
    if scene == "testbed":
        run_on_testbed(out, hosts, load, quick)
    else:
        _simulate(out, quick, **made_up)


def _simulate(out: Path, quick: bool, count: int, edges: int, seed: int) -> None:
    rounds = ROUNDS_QUICK if quick else ROUNDS
    sizes = COUNTS_QUICK if quick else COUNTS
    fleet = Fleet(devices(np.random.default_rng(seed), count, edges), edges)
    story = list(chapters(fleet, capacities(edges), rounds))
    with progress("rounds", sum(chapter.rounds for chapter in story)) as step:
        parts = list(told(fleet, story, step))
    with progress("larger fleets", SCALE_ROUNDS * len(sizes)) as step:
        scale = [scale_row(size, SCALE_ROUNDS, step) for size in sizes]
    sides, demands = _sides(parts[1])
    rows = [row for part in parts for row in part.rows]
    summary = {
        "devices": count,
        "edges": edges,
        "seed": seed,
        "approaches": sides,
        "chapters": [_chapter(part) for part in parts],
        "scale": scale,
        "slope_in_devices": slope(scale, LINEAR_FROM) if len(sizes) > 2 else None,
    }
    for name, table in (("approaches", sides), ("rounds", rows), ("scale", scale)):
        write_csv(out / f"{name}.csv", table)
    write_json(out / "summary.json", summary)
    draw(out / "fleet.png", demands, rows, scale)
    _show(summary)


def _sides(part: Told) -> tuple[list[dict[str, Any]], dict[str, np.ndarray]]:
    """All approaches in the scene with all devices, and what each asks of every tier."""
    scene, bound = part.chapter.scene, part.bound.lower
    free = np.zeros(len(scene.capacity))
    selfish = scene.plan(free)
    choices = {
        "each for itself": selfish,
        "each for itself, turned away": fitted(scene, free, selfish),
        **{
            f"pressures alone, load={weight:g}": under_pressure(scene, weight, ROUNDS[0])
            for weight in PRESSURE_WEIGHTS
        },
        "prices": part.plans,
        "everything on the device": scene.plan(np.full(len(scene.capacity), 1e9)),
    }
    sides = [side(name, scene, choice, bound) for name, choice in choices.items()]
    shown = ("each for itself", *list(choices)[2:-1])
    return sides, {name: scene.demand(choices[name]) for name in shown}


def _chapter(part: Told) -> dict[str, Any]:
    last = part.rows[-1]
    return {
        "chapter": part.chapter.name,
        "rounds": part.chapter.rounds,
        "bound": part.bound.lower,
        "bound_is_exact_to": part.bound.relaxed / part.bound.lower - 1,
        "columns": part.bound.columns,
        "gap": last["gap"],
        "worst_fitted": last["worst_fitted"],
        "worst_before_fitting": last["worst_demand"],
        "converged_after": part.converged_after,
        "looked_every": part.chapter.look_every,
    }


def _show(summary: dict[str, Any]) -> None:
    print_rows(summary["approaches"], "all devices; demand relative to the target")
    print_rows(summary["chapters"], "prices, round by round")
    print_rows(summary["scale"], "measured times of larger fleets")
    terminal = console()
    for part in summary["chapters"]:
        is_good = part["gap"] <= WITHIN and part["worst_fitted"] <= FULL_TIER
        terminal.print(f"{part['chapter']}: {'reached' if is_good else 'MISSED'}: 1 %, none over")
    for part in summary["chapters"][1:]:
        after = part["converged_after"]
        is_soon = after is not None and after <= TO_REACH_ROUNDS
        verdict = "reached" if is_soon else "MISSED"
        terminal.print(f"{part['chapter']}: converged after {after} rounds, to reach 30: {verdict}")
    if summary["slope_in_devices"] is not None:
        terminal.print(f"a round grows as devices^{summary['slope_in_devices']:.2f}")


if __name__ == "__main__":
    main()
