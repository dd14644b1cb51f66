"""regret.png: scores over clairvoyance by condition. pareto.png: energy and latency."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from experiments.head_to_head.rows import (
    BEST_STATIC,
    CLAIRVOYANT,
    OURS,
    RANDOM,
    Row,
)
from experiments.head_to_head.targets import cells_of

_MOST_REGRET = 3.0  # beyond, a mark stands at the edge
_MARKS = "osD^v<>PX*hp8dH"
_BEST_TRIVIAL = "best trivial"


def draw_regret(path: Path, rows: Sequence[Row], caption: str) -> None:
    """A panel per goal, a line per condition, a mark per policy: mean over models."""
    goals = list(dict.fromkeys(row["goal"] for row in rows))
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    names = _shown(rows)
    height = 1.9 + 0.42 * len(conditions) + 0.2 * (len(names) / 4)
    figure = Figure(figsize=(6.2 * len(goals), height), layout="constrained")
    axes: Any = figure.subplots(1, len(goals), sharey=True, squeeze=False)[0]
    for panel, goal in zip(axes, goals, strict=True):
        for place, name in enumerate(names):
            points = [_regret(rows, goal, condition, name) for condition in conditions]
            shift = (place / max(1, len(names) - 1) - 0.5) * 0.6
            y = np.arange(len(conditions)) + shift
            panel.plot(
                np.clip(points, 0.0, _MOST_REGRET),
                y,
                _MARKS[place % len(_MARKS)],
                **_style(name, place),
            )
        for line in range(1, len(conditions)):
            panel.axhline(line - 0.5, color="0.9", lw=0.8)
        panel.set_xscale("symlog", linthresh=0.1)
        ticks = (0, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3)
        panel.set_xticks(ticks, [f"{100 * t:.0f}" for t in ticks[:-1]] + ["300+"], fontsize=8)
        panel.set_xlim(-0.012, 3.4)
        panel.minorticks_off()
        panel.axvline(0.1, color="0.75", lw=0.8, ls="--")
        panel.set_title(f"goal: {goal}", fontsize=10)
        panel.set_xlabel("score over the clairvoyant one's, %, mean over models", fontsize=9)
    axes[0].set_yticks(range(len(conditions)), conditions, fontsize=9)
    axes[0].set_ylim(len(conditions) - 0.5, -0.5)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.supxlabel(caption, fontsize=7, color="0.35")
    figure.savefig(path, dpi=120)


def _shown(rows: Sequence[Row]) -> list[str]:
    """Policies in the picture: trivial ones together, random and clairvoyance not."""
    names = list(dict.fromkeys(r["policy"] for r in rows if r["kind"] != "trivial"))
    return [name for name in names if name not in (RANDOM, CLAIRVOYANT)] + [_BEST_TRIVIAL]


def _regret(rows: Sequence[Row], goal: str, condition: str, name: str) -> float:
    key = f"over {CLAIRVOYANT}"
    found = []
    for (_, where, what), cell in cells_of(rows).items():
        if (where, what) == (condition, goal):
            own = [row for row in cell if _named(row) == name]
            found += [min(row[key] for row in own)] if own else []
    return float(np.mean(found)) if found else np.nan


def _named(row: Row) -> str:
    return _BEST_TRIVIAL if row["kind"] == "trivial" else str(row["policy"])


def _style(name: str, place: int) -> dict[str, Any]:
    if name == OURS:
        return {"color": "#c0392b", "ms": 8, "label": name, "zorder": 5}
    if name in (BEST_STATIC, _BEST_TRIVIAL):
        grey = "0.2" if name == BEST_STATIC else "0.55"
        return {"color": grey, "ms": 5, "mfc": "none", "label": name}
    return {"color": mpl.colormaps["tab20"](place % 20), "ms": 5, "label": name}


def draw_pareto(path: Path, rows: Sequence[Row], caption: str) -> None:
    """A panel per condition: end energy and latency over those of all on the end, per policy.

    Geometric means over models, under the default goal. Policies that only some models have, as
    those on one tier with another form of the input, are left out: they would be means of others.
    """
    goal = list(dict.fromkeys(row["goal"] for row in rows))[-1]
    own = [row for row in rows if row["goal"] == goal]
    conditions = list(dict.fromkeys(row["condition"] for row in own))
    columns = min(4, len(conditions))
    lines = -(-len(conditions) // columns)
    figure = Figure(figsize=(3.4 * columns, 2.9 * lines + 1.0), layout="constrained")
    axes: Any = figure.subplots(lines, columns, squeeze=False).ravel()
    models = {row["model"] for row in own}
    names = [
        name
        for name in dict.fromkeys(row["policy"] for row in own)
        if name != RANDOM and {row["model"] for row in own if row["policy"] == name} == models
    ]
    for panel, condition in zip(axes, conditions, strict=False):
        for place, name in enumerate(names):
            point = _point([r for r in own if r["condition"] == condition], name)
            if point is not None:
                mark = "*" if name == CLAIRVOYANT else _MARKS[place % len(_MARKS)]
                panel.plot(*point, mark, ls="none", **_style(name, place))
        panel.set_xscale("log")
        panel.set_yscale("log")
        for axis in (panel.xaxis, panel.yaxis):
            axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.set_major_formatter("{x:g}")
            axis.set_minor_formatter(NullFormatter())
        panel.set_title(condition, fontsize=9)
        panel.tick_params(labelsize=7, which="both")
        panel.grid(color="0.93", which="both")
        panel.set_axisbelow(True)
    for panel in axes[len(conditions) :]:
        panel.set_axis_off()
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.supylabel("end energy over all on the end", fontsize=9)
    figure.supxlabel(f"latency over all on the end (goal: {goal})\n{caption}", fontsize=8)
    figure.savefig(path, dpi=110)


def _point(rows: Sequence[Mapping[str, Any]], name: str) -> tuple[float, float] | None:
    """(latency, end energy) relative to the plan of all layers on the entry tier."""
    ratios = []
    for model in dict.fromkeys(row["model"] for row in rows):
        own = {row["policy"]: row for row in rows if row["model"] == model}
        alone = next(row for row in own.values() if row["kind"] == "trivial")
        if name in own and own[name]["end_j"] > 0:
            row = own[name]
            ratios.append((row["mean_s"] / alone["mean_s"], row["end_j"] / alone["end_j"]))
    if not ratios:
        return None
    latency, energy = np.exp(np.log(np.array(ratios)).mean(axis=0))
    return float(latency), float(energy)
