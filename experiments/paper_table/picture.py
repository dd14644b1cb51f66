"""The paper table's pictures: bars with deviations, and how single requests are distributed."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from experiments.paper_table.approaches import ADAPTIVE, APPROACHES, ORACLE
from experiments.paper_table.summary import ModelResult

COLOURS = dict.fromkeys(APPROACHES, "#9aa5b1") | {ADAPTIVE: "#4c9f70", ORACLE: "#e8b04a"}
FIGURES = {
    "latency, ms": ("latency_s", 1e3),
    "end energy, J": ("end_energy_j", 1.0),
    "energy of all tiers, J": ("total_energy_j", 1.0),
}
_SUMMARY_KEYS = {"total_energy_j": "energy_j"}
COLUMN_IN, ROW_IN, MARGIN_IN = 4.2, 2.3, 1.6
DPI = 110


def draw_bars(path: Path, summary: Mapping[str, Any]) -> None:
    """A column per model, a row per figure, a bar per approach; the paper's table as a picture."""
    rows = summary["rows"]
    models = list(dict.fromkeys(row["model"] for row in rows))
    figure, grid = _grid(models)
    for column, model in enumerate(models):
        own = [row for row in rows if row["model"] == model]
        for line, (key, scale) in enumerate(FIGURES.values()):
            _draw_bars(grid[line][column], own, _SUMMARY_KEYS.get(key, key), scale)
    repetitions, requests = (summary["settings"][key] for key in ("repetitions", "requests"))
    _finish(
        figure,
        f"Mean over {repetitions} repetitions of {requests} requests; lines: ± one standard "
        f"deviation of the repetitions' means. {summary['provenance']} "
        f"{summary['boundary'].capitalize()} boundary. Oracle: the best measured of "
        f"{summary['oracle']}.",
    )
    figure.savefig(path, dpi=DPI)


def _draw_bars(axes: Axes, rows: Sequence[Mapping[str, Any]], key: str, scale: float) -> None:
    names = [row["approach"] for row in rows]
    means = [scale * row[f"{key}_mean"] for row in rows]
    spread = [scale * (row[f"{key}_std"] or 0.0) for row in rows]
    axes.bar(
        names,
        means,
        yerr=spread,
        capsize=3,
        color=[COLOURS[name] for name in names],
        error_kw={"lw": 1, "ecolor": "0.2"},
    )
    for place, (mean, above) in enumerate(zip(means, spread, strict=True)):
        axes.annotate(
            f"{mean:.0f}" if mean >= 1000 else f"{mean:.3g}",
            (place, mean + above),
            (0, 2),
            textcoords="offset points",
            ha="center",
            fontsize=7,
        )
    axes.margins(y=0.15)


def draw_distributions(path: Path, results: Sequence[ModelResult], provenance: str) -> None:
    """A column per model, a row per figure, a box per approach over all its single requests."""
    figure, grid = _grid([result.model for result in results])
    for column, result in enumerate(results):
        for line, (key, scale) in enumerate(FIGURES.values()):
            _draw_boxes(grid[line][column], result, key, scale)
    _finish(
        figure,
        "Single requests. Box: half of them, with the median; whiskers: 1 to 99 %, what lies "
        f"beyond is not drawn. {provenance}",
    )
    figure.savefig(path, dpi=DPI)


def _draw_boxes(axes: Axes, result: ModelResult, key: str, scale: float) -> None:
    names = list(result.repetitions[0])
    for place, name in enumerate(names):
        values = [
            scale * getattr(answer.figures, key)
            for answers in result.repetitions
            for answer in answers[name]
            if answer.figures is not None
        ]
        boxes = axes.boxplot(
            values,
            positions=[place],
            widths=0.6,
            whis=(1, 99),
            showfliers=False,
            patch_artist=True,
            medianprops={"color": "0.1"},
        )
        boxes["boxes"][0].set_facecolor(COLOURS[name])
    axes.set_xticks(range(len(names)), names)
    axes.set_ylim(bottom=0)


def _grid(models: Sequence[str]) -> tuple[Figure, Any]:
    """A figure with a row of axes per figure and a column per model, labelled."""
    size = (max(6.0, COLUMN_IN * len(models)), ROW_IN * len(FIGURES) + MARGIN_IN)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(len(FIGURES), len(models), sharex=True, squeeze=False)
    for axes, label in zip(grid[:, 0], FIGURES, strict=True):
        axes.set_ylabel(label, fontsize=9)
    for axes, model in zip(grid[0], models, strict=True):
        axes.set_title(model, fontsize=11)
    return figure, grid


def _finish(figure: Figure, caption: str) -> None:
    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        axes.tick_params(axis="x", labelrotation=40)
        axes.grid(axis="y", color="0.92")
        axes.set_axisbelow(True)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    columns = int(15 * figure.get_size_inches()[0])
    figure.supxlabel(textwrap.fill(caption, columns), fontsize=8, color="0.35")
