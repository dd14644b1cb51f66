"""tail.png: how many requests took longer than so long, per model and trace."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from experiments.tail.replayed import CLAIRVOYANT, HEDGED, STATIC, TRIVIAL, UNHEDGED

_COLOURS = {
    UNHEDGED: "#c0392b",
    HEDGED: "#1f77b4",
    STATIC: "0.35",
    TRIVIAL: "0.65",
    CLAIRVOYANT: "#2ca02c",
}
_TICKS_S = (0.2, 0.5, 1, 2, 5, 10)
_MARKS = {"p50_s": "|", "p95_s": "o", "p99_s": "D", "longest_s": "x"}


def draw_tail(path: Path, rows: Sequence[Mapping[str, Any]], caption: str) -> None:
    """A panel per model, a group per trace, a line per approach from its median to its longest."""
    models = list(dict.fromkeys(row["model"] for row in rows))
    traces = list(dict.fromkeys(row["trace"] for row in rows))
    height = 1.6 + 1.15 * len(traces)
    figure = Figure(figsize=(5.4 * len(models), height), layout="constrained")
    axes: Any = figure.subplots(1, len(models), sharey=True, squeeze=False)[0]
    for panel, model in zip(axes, models, strict=True):
        for place, trace in enumerate(traces):
            own = [row for row in rows if (row["model"], row["trace"]) == (model, trace)]
            for line, row in enumerate(own):
                y = place + (line - (len(own) - 1) / 2) * 0.8 / len(own)
                colour = _COLOURS[row["approach"]]
                values = [row[name] for name in _MARKS if row[name] is not None]
                panel.plot([min(values), max(values)], [y, y], color=colour, lw=1)
                for name, mark in _MARKS.items():
                    panel.plot(row[name], y, mark, color=colour, ms=5)
        panel.set_xscale("log")
        panel.xaxis.set_minor_formatter(NullFormatter())
        panel.set_xticks(_TICKS_S, [f"{tick:g}" for tick in _TICKS_S])
        panel.set_xlabel("seconds", fontsize=9)
        panel.set_title(model, fontsize=10)
        panel.grid(axis="x", which="both", color="0.92")
        panel.set_axisbelow(True)
        panel.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(traces)), traces)
    axes[0].set_ylim(len(traces) - 0.5, -0.5)
    approaches = list(dict.fromkeys(row["approach"] for row in rows))
    for approach in approaches:
        axes[0].plot([], [], color=_COLOURS[approach], label=approach)
    marks = (("|", "median"), ("o", "95 %"), ("D", "99 %"), ("x", "longest"))
    for mark, told in marks:
        axes[0].plot([], [], mark, color="0.2", label=told)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8, frameon=False)
    figure.supxlabel(caption, fontsize=7, color="0.35")
    figure.savefig(path, dpi=120)
