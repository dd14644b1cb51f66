"""How long a decision takes, by layers, tiers and runtimes, and whether it is exact; and how long
an evaluation of the control loop takes beside it.

`python -m experiments.planner --out DIR [--quick]` writes planner.csv, planner.png, summary.json.
Building the cost model counts in the decision time.
"""

import itertools
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
from edgesplit.core.policies.policy import decide
from experiments.planner.instances import (
    LIMIT_SHARES,
    Instance,
    realistic,
    small,
    with_binding_limit,
)
from experiments.planner.judges import score_by_brute_force, score_by_milp
from experiments.planner.ticks import tick_times
from experiments.shared.out import out_option
from experiments.shared.report import write_rows

mpl.use("Agg")
from matplotlib import pyplot as plt

LAYERS, TIERS, RUNTIMES = (38, 150, 756, 1000, 3000), (3, 5, 8, 16), (1, 2, 3)
# Decision seconds that are to be reached, by (layers, tiers, runtimes); the slower of without and
# with a limit that binds, or without one only.
TARGETS_S = {
    (38, 3, 2): 2e-3,
    (150, 3, 3): 8e-3,
    (150, 5, 3): 20e-3,
    (756, 3, 1): 5e-3,
    (756, 3, 2): 5e-3,
    (150, 8, 1): 10e-3,
    (150, 8, 2): 25e-3,
}
TARGETS_WITHOUT_LIMIT_S = {(1000, 3, 1): 2e-3, (1000, 8, 1): 20e-3}
# A tick of the control loop that evaluates may take so many planner decisions.
TICK_RATIO = 1.5
# Larger products of layers, tiers and runtimes are left out.
MOST, MOST_QUICK = 50_000, 4_000
MOST_TIERS_QUICK = 8
# Scores count as equal within this; the tie-break by latency may cost 1e-9, HiGHS stops at 1e-6.
EQUAL, EQUAL_MILP = 1e-7, 1e-5

Cell = tuple[int, int, int, bool]
Step = Callable[[], None]


@click.command()
@out_option
@click.option("--quick", is_flag=True, help="Fewer and smaller instances, few repeats.")
def main(out: Path, quick: bool) -> None:
    """Measure decision times and compare the answers with two judges."""
    seeds, repeats, trials, most = (2, 3, 60, MOST_QUICK) if quick else (6, 9, 600, MOST)
    sizes = itertools.product(LAYERS, TIERS, RUNTIMES, (False, True))
    cells = [cell for cell in sizes if cell[0] * cell[1] * cell[2] <= most]
    if quick:
        cells = [cell for cell in cells if cell[1] <= MOST_TIERS_QUICK]
    with Progress() as progress:
        bar = progress.add_task("decision times", total=len(cells) * seeds)
        rows = list(_times(cells, seeds, repeats, lambda: progress.advance(bar)))
        judged = progress.add_task("brute force, HiGHS", total=trials + trials // 10)
        summary = _judged(trials, lambda: progress.advance(judged))
    summary |= {
        "slope_in_layers": _slopes(rows, LAYERS),
        "slope_from_1000_layers": _slopes(rows, LAYERS[-2:]),
        "targets": list(_targets(rows)),
        "worst_tick_per_decision": max(row["tick_per_decision"] for row in rows),
        "ticks_within": sum(row["tick_per_decision"] <= TICK_RATIO for row in rows),
    }
    write_rows(out, "planner", rows, summary)
    _draw(rows, out / "planner.png")
    _show(rows, summary)


def _times(cells: list[Cell], seeds: int, repeats: int, step: Step) -> Iterator[dict[str, Any]]:
    """One row per cell: the median over instances of the median over repeats."""
    for layers, tiers, runtimes, binding in cells:
        seconds, proved, ticks = [], 0, []
        for seed in range(seeds):
            for instance in _instances((layers, tiers, runtimes), binding, seed):
                seconds.append(_median_s(instance, repeats))
                proved += decide(*instance).is_proved
                ticks.append(tick_times(instance, repeats))
            step()
        if seconds:
            yield {
                "layers": layers,
                "tiers": tiers,
                "runtimes": runtimes,
                "binding": binding,
                "decision_s": statistics.median(seconds),
                "slowest_s": max(seconds),
                "instances": len(seconds),
                "proved": proved,
                "tick_s": statistics.median(times.tick_s for times in ticks),
                "tick_per_decision": statistics.median(times.ratio for times in ticks),
                "looks_per_decision": statistics.median(times.looks_ratio for times in ticks),
            }


def _instances(size: tuple[int, int, int], binding: bool, seed: int) -> Iterator[Instance]:
    instance = realistic(np.random.default_rng([seed, *size]), *size)
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
    """Exponent of the decision time's growth over `layers`, least squares on logs, in one runtime.

    Small models cost mostly a constant, so the exponent over large ones alone is the stricter.
    """
    slopes = {}
    for tiers, binding in itertools.product(TIERS, (False, True)):
        line = _line(rows, tiers, 1, binding)
        line = [row for row in line if row["layers"] in layers]
        if len(line) > 1:
            x, y = np.log([r["layers"] for r in line]), np.log([r["decision_s"] for r in line])
            slopes[f"{tiers} tiers{', binding' * binding}"] = float(np.polyfit(x, y, 1)[0])
    return slopes


def _line(
    rows: list[dict[str, Any]], tiers: int, runtimes: int, binding: bool
) -> list[dict[str, Any]]:
    wanted = (tiers, runtimes, binding)
    return [row for row in rows if (row["tiers"], row["runtimes"], row["binding"]) == wanted]


def _targets(rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Each target beside what was measured; those of sizes that were left out are not there."""
    free = [row for row in rows if not row["binding"]]
    keys = ("layers", "tiers", "runtimes")
    for among, targets in ((rows, TARGETS_S), (free, TARGETS_WITHOUT_LIMIT_S)):
        for size, target_s in targets.items():
            measured = [r["decision_s"] for r in among if tuple(r[k] for k in keys) == size]
            if not measured:
                continue
            slowest_s = max(measured)
            verdict = {"decision_s": slowest_s, "reached": slowest_s < target_s}
            yield {**dict(zip(keys, size, strict=True)), "target_s": target_s, **verdict}


def _draw(rows: list[dict[str, Any]], path: Path) -> None:
    figure, axes = plt.subplots(1, 2, figsize=(9, 4), sharey=True, layout="constrained")
    for axis, binding in zip(axes, (False, True), strict=True):
        for number, tiers in enumerate(TIERS):
            for runtimes, style in zip(RUNTIMES, ("o-", "s--", "^:"), strict=True):
                line = _line(rows, tiers, runtimes, binding)
                layers, times_ms = (
                    [r["layers"] for r in line],
                    [r["decision_s"] * 1e3 for r in line],
                )
                label = f"{tiers} tiers" if runtimes == 1 else None
                axis.plot(layers, times_ms, style, color=f"C{number}", label=label)
        axis.set(xscale="log", yscale="log", xlabel="layers")
        axis.set_title("latency limit binding" if binding else "no limit binding")
        axis.set_xticks(LAYERS, [f"{n:,}" for n in LAYERS])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("measured decision time, ms (median)")
    axes[0].legend(frameon=False, title="solid 1, dashed 2, dotted 3 runtimes")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _show(rows: list[dict[str, Any]], summary: dict[str, Any]) -> None:
    console = Console()
    table = Table(
        *("layers", "tiers", "runtimes", "limit", "median ms", "slowest ms", "proved", "tick ms"),
        *("tick / decision", "looks / decision"),
    )
    for row in rows:
        times = (f"{row[key] * 1e3:.2f}" for key in ("decision_s", "slowest_s"))
        proved = f"{row['proved']} of {row['instances']}"
        size = (str(row[key]) for key in ("layers", "tiers", "runtimes"))
        ratios = (f"{row[f'{key}_per_decision']:.2f}" for key in ("tick", "looks"))
        tick_ms = f"{row['tick_s'] * 1e3:.2f}"
        limit = "binding" if row["binding"] else "no"
        table.add_row(*size, limit, *times, proved, tick_ms, *ratios)
    console.print(table)
    for target in summary["targets"]:
        what = f"{target['layers']} x {target['tiers']}, {target['runtimes']} runtimes"
        verdict = "reached" if target["reached"] else "MISSED"
        took, wanted = target["decision_s"], target["target_s"]
        console.print(f"{what}: {took * 1e3:.2f} ms, target {wanted * 1e3:g} ms: {verdict}")
    console.print(
        f"a tick that evaluates takes at most {summary['worst_tick_per_decision']:.2f} decisions; "
        f"{summary['ticks_within']} of {len(rows)} sizes within {TICK_RATIO}"
    )
    for name, slope in summary["slope_in_layers"].items():
        steepest = summary["slope_from_1000_layers"].get(name)
        more = "" if steepest is None else f", from 1,000 on ^{steepest:.2f}"
        console.print(f"{name}: time grows as layers^{slope:.2f}{more}")
    console.print(
        f"equals brute force: {summary['equals_brute_force']}, HiGHS: {summary['equals_milp']} "
        f"({summary['brute_force_trials']} and {summary['milp_trials']} trials, "
        f"{summary['binding_trials']} binding)"
    )


if __name__ == "__main__":
    main()
