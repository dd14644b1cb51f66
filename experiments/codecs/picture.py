"""What codecs save, as bars: latency, the end tier's joules, the score."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

from experiments.shared.report import Row

_FIGURES = {"latency_s_ratio": "latency", "end_j_ratio": "end's joules", "score_ratio": "score"}
_WIDTH = 0.26


def draw_codecs(path: Path, rows: Sequence[Row], note: str) -> None:
    """Per model, rate and goal three bars: with codecs / without. 1: nothing saved."""
    path.parent.mkdir(parents=True, exist_ok=True)
    goals = list(dict.fromkeys(row["goal"] for row in rows))
    figure, panels = plt.subplots(
        len(goals), 1, figsize=(9, 3.2 * len(goals)), squeeze=False, layout="constrained"
    )
    for axes, goal in zip(panels[:, 0], goals, strict=True):
        mine = [row for row in rows if row["goal"] == goal]
        for place, (key, label) in enumerate(_FIGURES.items()):
            left = [number + (place - 1) * _WIDTH for number in range(len(mine))]
            axes.bar(left, [row[key] for row in mine], _WIDTH, label=label)
        names = [f"{row['model']}\n{row['rate']}" for row in mine]
        axes.set_xticks(range(len(mine)), names, fontsize=8)
        axes.axhline(1.0, color="0.3", lw=1)
        axes.set_ylim(0, 1.45)  # room for the legend
        axes.set_ylabel(f"best plan with codecs / without\n(goal: {goal}; {note})", fontsize=8)
        axes.legend(fontsize=8, ncols=3, loc="upper left")
    figure.savefig(path, dpi=120)
    plt.close(figure)
