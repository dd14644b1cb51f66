"""The picture of a fleet: demand of the tiers, and how prices find their way round by round."""

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from experiments.fleet.story import WITHIN


def draw(
    path: Path,
    demands: dict[str, np.ndarray],
    rows: Sequence[dict[str, Any]],
    scale: Sequence[dict[str, Any]],
) -> None:
    """demands: of every tier to what may be asked of it, by approach; rows: of all rounds."""
    figure, axes = plt.subplots(1, 3, figsize=(13, 4), layout="constrained")
    _demands(axes[0], demands)
    _rounds(axes[1], rows)
    _scale(axes[2], scale)
    figure.suptitle(
        "Simulated fleet: plans by the product's cost model; times measured", fontsize=9
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _demands(axis: Any, demands: dict[str, np.ndarray]) -> None:
    order = np.argsort(-next(iter(demands.values())))
    for number, (name, demand) in enumerate(demands.items()):
        axis.plot(demand[order], "o-", ms=3, lw=1, color=f"C{number}", label=name)
    axis.axhline(1.0, color="0.3", lw=1, ls="--")
    axis.set(xlabel="tier, most asked for first", ylabel="demand / target (1 = 0.7 of its cores)")
    axis.set_ylim(0, None)
    axis.legend(frameon=False, fontsize=8)


def _rounds(axis: Any, rows: Sequence[dict[str, Any]]) -> None:
    """One line for all chapters, one after another."""
    place = np.arange(1, len(rows) + 1)
    looked = [number for number, row in enumerate(rows) if row["gap"] is not None]
    gaps = [100 * max(1e-4, rows[number]["gap"]) for number in looked]
    axis.plot(
        place[looked], gaps, "o-", ms=3, lw=1, color="C2", label="gap to the LP bound, fitted"
    )
    axis.plot(place, [100 * row["moved"] for row in rows], lw=1, color="0.6", label="devices moved")
    axis.axhline(100 * WITHIN, color="0.3", lw=1, ls="--")
    for number, row in enumerate(rows):
        if row["round"] == 1:
            axis.axvline(place[number], color="0.8", lw=1)
            axis.text(
                place[number] + 1, 130, textwrap.fill(row["chapter"], 13), va="top", fontsize=7
            )
    axis.set(xlabel="round", ylabel="%", yscale="log", ylim=(0.03, 150))
    axis.legend(frameon=False, fontsize=8, loc="lower left")


def _scale(axis: Any, scale: Sequence[dict[str, Any]]) -> None:
    counts = [row["devices"] for row in scale]
    axis.plot(counts, [row["round_s"] for row in scale], "o-", label="a round, all devices")
    axis.plot(counts, [row["fit_s"] for row in scale], "s--", label="fitting at the end")
    axis.plot(
        counts, [row["setup_s"] for row in scale], "^:", color="0.5", label="making the devices"
    )
    axis.set(xscale="log", yscale="log", xlabel="devices", ylabel="measured processor seconds")
    axis.set_xticks(counts, [f"{count:,}" for count in counts], fontsize=8)
    axis.minorticks_off()
    axis.grid(alpha=0.3)
    axis.legend(frameon=False, fontsize=8)
