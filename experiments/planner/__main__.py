"""How long a decision takes, for 100 to 3,000 layers and 2 to 16 tiers, and whether it is exact.

`python -m experiments.planner --out DIR [--quick]` writes planner.csv, planner.png, summary.json.
Building the cost model counts in the decision time.
"""

import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from edgesplit.core.cost import CostModel
from edgesplit.core.policy import decide
from experiments.planner.instances import (
    LIMIT_SHARES,
    Instance,
    realistic,
    small,
    with_binding_limit,
)
from experiments.planner.judges import score_by_brute_force, score_by_milp
from experiments.shared.report import write_rows

mpl.use("Agg")
from matplotlib import pyplot as plt

LAYERS, TIERS = (100, 300, 1000, 3000), (2, 3, 4, 8, 16)
# Decision seconds that are to be reached, by (layers, tiers, binding).
TARGETS_S = {
    (1000, 3, False): 2e-3,
    (1000, 8, False): 20e-3,
    (1000, 3, True): 10e-3,
    (1000, 8, True): 50e-3,
}
# Scores count as equal within this; the tie-break by latency may cost 1e-9, HiGHS stops at 1e-6.
EQUAL, EQUAL_MILP = 1e-7, 1e-5

Cell = tuple[int, int, bool]
Step = Callable[[], None]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder for results.")
@click.option("--quick", is_flag=True, help="Fewer instances and repeats.")
def main(out: Path, quick: bool) -> None:
    """Measure decision times and compare the answers with two judges."""
    seeds, repeats, trials = (2, 3, 60) if quick else (6, 9, 600)
    cells = [(n, t, b) for n in LAYERS for t in TIERS for b in (False, True)]
    with Progress() as progress:
        bar = progress.add_task("decision times", total=len(cells) * seeds)
        rows = list(_times(cells, seeds, repeats, lambda: progress.advance(bar)))
        judged = progress.add_task("brute force, HiGHS", total=trials + trials // 10)
        summary = _judged(trials, lambda: progress.advance(judged))
    summary |= {
        "slope_in_layers": _slopes(rows, LAYERS),
        "slope_from_1000_layers": _slopes(rows, LAYERS[-2:]),
        "targets": _targets(rows),
    }
    write_rows(out, "planner", rows, summary)
    _draw(rows, out / "planner.png")
    _show(rows, summary)


def _times(cells: list[Cell], seeds: int, repeats: int, step: Step) -> Iterator[dict[str, Any]]:
    """One row per cell: the median over instances of the median over repeats."""
    for layers, tiers, binding in cells:
        seconds, losses = [], []
        for seed in range(seeds):
            for instance in _instances(layers, tiers, binding, seed):
                decision = decide(*instance)
                losses.append(decision.loss_bound)
                seconds.append(_median_s(instance, repeats))
            step()
        if seconds:
            yield {
                "layers": layers,
                "tiers": tiers,
                "binding": binding,
                "decision_s": statistics.median(seconds),
                "slowest_s": max(seconds),
                "loss_bound": max(losses),
                "instances": len(seconds),
            }


def _instances(layers: int, tiers: int, binding: bool, seed: int) -> Iterator[Instance]:
    instance = realistic(np.random.default_rng([seed, layers, tiers]), layers, tiers)
    if not binding:
        yield instance
        return
    for share in LIMIT_SHARES:
        limited = with_binding_limit(instance, share)
        if limited is not None:
            yield limited


def _median_s(instance: Instance, repeats: int) -> float:
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        decide(*instance)
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def _judged(trials: int, step: Step) -> dict[str, Any]:
    """Compare with brute force on small instances and with HiGHS on them and on larger ones."""
    counts = {"brute_force_trials": 0, "milp_trials": 0, "binding_trials": 0}
    worst, worst_milp = 0.0, 0.0
    for seed in range(trials):
        instance = _limited(small(np.random.default_rng(seed)), seed)
        worst = max(worst, _gap(instance, score_by_brute_force))
        counts["brute_force_trials"] += 1
        counts["binding_trials"] += decide(*instance).binding
        if seed % 5 == 0:
            worst_milp = max(worst_milp, _gap(instance, score_by_milp))
            counts["milp_trials"] += 1
        step()
    for seed in range(trials // 10):
        plain = realistic(np.random.default_rng(seed), 40, 3 + seed % 3)
        instance = with_binding_limit(plain, 0.5) or plain
        worst_milp = max(worst_milp, _gap(instance, score_by_milp))
        counts["milp_trials"] += 1
        counts["binding_trials"] += decide(*instance).binding
        step()
    return {
        "equals_brute_force": worst <= EQUAL,
        "equals_milp": worst_milp <= EQUAL_MILP,
        "worst_gap_brute_force": worst,
        "worst_gap_milp": worst_milp,
        **counts,
    }


def _limited(instance: Instance, seed: int) -> Instance:
    """Every third without a limit; others with one that binds where that is possible."""
    if seed % 3 == 0:
        return instance
    return with_binding_limit(instance, (0.5, 0.9)[seed % 2]) or instance


def _gap(instance: Instance, judge: Callable[[CostModel], float | None]) -> float:
    """Difference of scores relative to the larger of the judge's and 1; 1e9 if one has no plan.

    The all-on-end plan scores about 1, so that is the scale.
    """
    cost, least = decide(*instance).cost, judge(CostModel(*instance))
    if least is None or not cost.feasible:
        return 0.0 if least is None and not cost.feasible else 1e9
    return abs(cost.score - least) / max(1.0, least)


def _slopes(rows: list[dict[str, Any]], layers: Sequence[int]) -> dict[str, float]:
    """Exponent of the decision time's growth over `layers`, least squares on logs, per tiers.

    Small models cost mostly a constant, so the exponent over large ones alone is the stricter.
    """
    rows = [row for row in rows if row["layers"] in layers]
    slopes = {}
    for tiers in TIERS:
        for binding in (False, True):
            line = [r for r in rows if (r["tiers"], r["binding"]) == (tiers, binding)]
            if len(line) > 1:
                x, y = np.log([r["layers"] for r in line]), np.log([r["decision_s"] for r in line])
                slopes[f"{tiers} tiers{', binding' * binding}"] = float(np.polyfit(x, y, 1)[0])
    return slopes


def _targets(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    measured = {(r["layers"], r["tiers"], r["binding"]): r["decision_s"] for r in rows}
    return [
        {
            "layers": layers,
            "tiers": tiers,
            "binding": binding,
            "target_s": target_s,
            "decision_s": measured.get((layers, tiers, binding)),
            "reached": measured.get((layers, tiers, binding), np.inf) < target_s,
        }
        for (layers, tiers, binding), target_s in TARGETS_S.items()
    ]


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for axis, binding in zip(axes, (False, True), strict=True):
        for tiers in TIERS:
            line = [r for r in rows if (r["tiers"], r["binding"]) == (tiers, binding)]
            times_ms = [r["decision_s"] * 1e3 for r in line]
            axis.plot([r["layers"] for r in line], times_ms, "o-", label=f"{tiers} tiers")
        axis.set(xscale="log", yscale="log", xlabel="layers")
        axis.set_title("latency limit binding" if binding else "no limit binding")
        axis.set_xticks(LAYERS, [f"{n:,}" for n in LAYERS])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("decision time, ms (median)")
    axes[0].legend(frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _show(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    console = Console()
    table = Table("layers", "tiers", "limit", "median ms", "slowest ms", "loss bound")
    for row in rows:
        times = (f"{row[key] * 1e3:.2f}" for key in ("decision_s", "slowest_s"))
        limit = "binding" if row["binding"] else "no"
        table.add_row(
            str(row["layers"]), str(row["tiers"]), limit, *times, f"{row['loss_bound']:.1e}"
        )
    console.print(table)
    for target in summary["targets"]:
        size = f"{target['layers']} x {target['tiers']}{', binding' * target['binding']}"
        took = "not measured" if target["decision_s"] is None else f"{target['decision_s']:.4f} s"
        verdict = "reached" if target["reached"] else "MISSED"
        console.print(f"{size}: {took}, target {target['target_s']:g} s: {verdict}")
    for name, slope in summary["slope_in_layers"].items():
        steepest = summary["slope_from_1000_layers"].get(name, float("nan"))
        console.print(f"{name}: time grows as layers^{slope:.2f}, from 1,000 on ^{steepest:.2f}")
    console.print(
        f"equals brute force: {summary['equals_brute_force']}, HiGHS: {summary['equals_milp']} "
        f"({summary['brute_force_trials']} and {summary['milp_trials']} trials, "
        f"{summary['binding_trials']} binding)"
    )


if __name__ == "__main__":
    main()
