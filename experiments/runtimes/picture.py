"""runtimes.png: latency per model and runtime, and how far off predictions of plans are."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from edgesplit.core.layer_times import TORCH
from experiments.runtimes.parts import WHOLE
from experiments.runtimes.verdicts import PREDICTION_ERROR

Row = Mapping[str, Any]
COLOURS = {
    "torch": "#7a7a7a",
    "torch-channels-last": "#e8b04a",
    "onnx": "#5b8cc9",
    "compile": "#4c9f70",
    "cuda": "#9b6bb3",
}


def draw_runtimes(
    path: Path, rows: Sequence[Row], plans: Mapping[str, Sequence[Row]], note: str
) -> None:
    """Bars of whole models on the left, the plans' absolute errors by rank on the right.

    rows: of verdicts.part_rows. plans: each model's. note: what the figures are.
    """
    figure = Figure(figsize=(11.0, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=(3, 2))
    _draw_latency(left, [row for row in rows if row["part"] == WHOLE])
    _draw_errors(right, plans)
    figure.suptitle(note, fontsize=9)
    figure.savefig(path, dpi=120)


def _draw_latency(axes: Axes, rows: Sequence[Row]) -> None:
    models = list(dict.fromkeys(row["model"] for row in rows))
    there = {row["runtime"] for row in rows}
    runtimes = [name for name in COLOURS if name in there]
    width = 0.8 / len(runtimes)
    for row in rows:
        place = runtimes.index(row["runtime"]) - (len(runtimes) - 1) / 2
        x = models.index(row["model"]) + place * width
        axes.bar(x, row["latency_s"] * 1e3, width, color=COLOURS[row["runtime"]])
        quartiles = [row["latency_s_q1"] * 1e3, row["latency_s_q3"] * 1e3]
        axes.plot([x, x], quartiles, color="0.15", lw=1)
        if row["runtime"] == TORCH:
            continue
        axes.annotate(
            f"{row['speedup']:.2f}x", (x, quartiles[1]), (0, 3), textcoords="offset points",
            ha="center", fontsize=6.5,
        )  # fmt: skip
    axes.set_yscale("log")
    axes.set_xticks(range(len(models)), models, fontsize=8)
    axes.set_ylabel("whole model, ms: median and quartiles")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 2.5)  # room for the legend
    bars = [axes.bar(0, 0, color=COLOURS[name], label=name) for name in runtimes]
    axes.legend(handles=bars, fontsize=8, ncols=2, loc="upper left")


def _draw_errors(axes: Axes, plans: Mapping[str, Sequence[Row]]) -> None:
    for index, (model, found) in enumerate(plans.items()):
        for key, style, label in (("error", "-", model), ("cpu_error", ":", None)):
            sizes = sorted(100 * abs(row[key]) for row in found)
            share = [100 * (rank + 1) / len(sizes) for rank in range(len(sizes))]
            axes.step(sizes, share, style, where="post", color=f"C{index}", label=label)
    axes.axvline(100 * PREDICTION_ERROR, color="0.4", lw=1)
    axes.set_xscale("symlog", linthresh=10)  # the tail of a busy machine is long
    axes.set_xlabel("error of a plan's predicted seconds, %")
    axes.set_ylabel("plans with at most that error, %")
    axes.set_xlim(left=0)
    axes.set_ylim(0, 102)
    title = "dotted: processor seconds"
    axes.legend(fontsize=8, title=title, title_fontsize=8, loc="lower right")
