"""timeline.png: latency, and the layers on each tier, over time; static beside adaptive."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from edgesplit.demo.outcome import DemoRequest, ModelRun, Pass
from edgesplit.demo.view import EMULATED

TIER_COLOURS = {"end": "#4c9f70", "edge": "#e8b04a", "cloud": "#5b8cc9"}
THROTTLE_COLOUR = "#d9534f"
WIDTH_IN, MODEL_HEIGHT_IN, MARGIN_IN = 10.0, 2.6, 1.1
DPI = 110


def draw_timeline(runs: Sequence[ModelRun], path: Path) -> None:
    """Two rows per model (latency, layers per tier), a column per approach on one time axis."""
    height_in = MODEL_HEIGHT_IN * len(runs) + MARGIN_IN
    figure = Figure(figsize=(WIDTH_IN, height_in))
    edges = {"left": 0.07, "right": 0.985, "top": 1 - 0.6 / height_in, "bottom": 0.75 / height_in}
    outer = figure.add_gridspec(len(runs), 1, hspace=0.3, **edges)
    for index, run in enumerate(runs):
        inner = outer[index].subgridspec(2, 2, height_ratios=[2.0, 1.0], hspace=0.12, wspace=0.05)
        _draw_model(inner.subplots(sharex=True, sharey="row"), run)
    for axes in figure.axes[-2:]:
        axes.set_xlabel("seconds, both plans by turns", fontsize=9)
    _legend(figure)
    figure.text(0.5, 0.12 / height_in, EMULATED, ha="center", fontsize=8, color="0.4")
    figure.savefig(path, dpi=DPI)


def _draw_model(axes: Any, run: ModelRun) -> None:
    """axes: 2 x 2, latency above layers, static left of adaptive."""
    for column, (name, done) in enumerate((("static", run.static), ("adaptive", run.adaptive))):
        _draw_latency(axes[0, column], done)
        _draw_layers(axes[1, column], done)
        axes[0, column].set_title(f"{run.model}, {name} plan", fontsize=10, loc="left")
    axes[0, 0].set_ylabel("latency (ms)", fontsize=9)
    axes[1, 0].set_ylabel("layer", fontsize=9)
    axes[0, 0].set_xlim(0, max(_end_s(run.static), _end_s(run.adaptive)))
    axes[0, 0].set_ylim(0, 1.1e3 * max(map(_latency_s, run.requests)) or 1.0)


def _draw_latency(axes: Axes, done: Pass) -> None:
    came = [r for r in done.requests if r.latency_s is not None]
    axes.plot([r.at_s for r in came], [1e3 * _latency_s(r) for r in came], ".", color="0.2", ms=3)
    lost = [r for r in done.requests if r.latency_s is None]
    axes.plot(
        [r.at_s for r in lost], [0.0 for _ in lost], "x", color=THROTTLE_COLOUR, clip_on=False
    )
    axes.grid(axis="y", color="0.9")
    axes.axvspan(*_throttled(done), color=THROTTLE_COLOUR, alpha=0.12, lw=0)
    axes.tick_params(labelsize=8)


def _draw_layers(axes: Axes, done: Pass) -> None:
    """Which tier runs which layers: a band per tier, layer 0 at the bottom."""
    times = [*(r.at_s for r in done.requests), _end_s(done)]
    plans = [*(r.plan for r in done.requests), done.requests[-1].plan]
    for tier, colour in TIER_COLOURS.items():
        stages = [next((s for s in plan.stages if s.tier == tier), None) for plan in plans]
        low = [stage.start if stage else 0 for stage in stages]
        high = [stage.stop if stage else 0 for stage in stages]
        axes.fill_between(times, low, high, step="post", color=colour, lw=0)
    for edge_s in _throttled(done):
        axes.axvline(edge_s, color=THROTTLE_COLOUR, lw=1)
    axes.set_ylim(0, plans[0].n_layers)
    axes.tick_params(labelsize=8)


def _legend(figure: Figure) -> None:
    handles = [Patch(color=c, label=f"layers on {tier}") for tier, c in TIER_COLOURS.items()]
    handles.append(
        Patch(color=THROTTLE_COLOUR, alpha=0.3, label="edge-cloud link throttled to 5 Mbit/s")
    )
    figure.legend(handles=handles, loc="upper center", ncols=4, fontsize=9, frameon=False)


def _throttled(done: Pass) -> tuple[float, float]:
    return done.changed_s["throttled"], done.changed_s["restored"]


def _end_s(done: Pass) -> float:
    last = done.requests[-1]
    return last.at_s + (last.latency_s or 0.0)


def _latency_s(request: DemoRequest) -> float:
    return request.latency_s or 0.0
