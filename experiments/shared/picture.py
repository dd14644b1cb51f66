"""Pictures that several experiments draw."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

Spread = Mapping[str, Sequence[tuple[float, float]]]


def grouped_bars(
    path: Path,
    groups: Sequence[str],
    series: Mapping[str, Sequence[float]],
    y_label: str,
    spread: Spread | None = None,
) -> None:
    """One group of bars per name, one bar per series, logarithmic: models differ by a factor 20.

    spread: from and to of the error bars of some series, in the unit of the bars.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure, axes = plt.subplots(figsize=(max(6, 1.3 * len(groups)), 4), layout="constrained")
    width = 0.8 / len(series)
    for place, (label, values) in enumerate(series.items()):
        left = [group + (place - (len(series) - 1) / 2) * width for group in range(len(groups))]
        axes.bar(left, values, width, label=label)
        for middle, (low, high) in zip(left, (spread or {}).get(label, ()), strict=False):
            axes.plot([middle, middle], [low, high], color="0.15", lw=1)
    axes.set_xticks(range(len(groups)), groups, fontsize=8)
    axes.set_yscale("log")
    axes.set_ylabel(y_label)
    axes.legend(fontsize=8, ncols=2, loc="upper left")
    low, high = axes.get_ylim()
    axes.set_ylim(low, high * 2.5)  # room for the legend
    figure.savefig(path, dpi=120)
    plt.close(figure)
