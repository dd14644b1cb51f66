"""throttle.png: one run over time, and how soon the plan followed in all runs."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from edgesplit import parse_plan
from edgesplit.demo.picture import THROTTLE_COLOUR, TIER_COLOURS
from experiments.throttle.text import value_text
from experiments.throttle.timeline import (
    DIRECTIONS,
    MOST_REQUESTS,
    MOST_S,
    RESTORED,
    THROTTLED,
    Run,
    Sent,
)

SIZE_IN = (10.0, 10.0)
_SIDES = {"left": 0.13, "right": 0.985}
DPI = 110


def draw_throttle(path: Path, runs: Sequence[Run], summary: Mapping[str, Any]) -> None:
    """Latency, plan, wide payload and energy of the first run; below, every run's adapt_s."""
    figure = Figure(figsize=SIZE_IN)
    heights = [2.0, 1.6, 1.2, 2.0]
    upper = figure.add_gridspec(4, 1, bottom=0.3, top=0.94, height_ratios=heights, **_SIDES)
    lower = figure.add_gridspec(1, 1, bottom=0.12, top=0.22, **_SIDES)
    timeline: Any = upper.subplots(sharex=True)
    axes: list[Axes] = [*timeline, figure.add_subplot(lower[0])]
    run = runs[0]
    _draw_latency(axes[0], run)
    _draw_layers(axes[1], run)
    _draw_payload(axes[2], run)
    _draw_energy(axes[3], run)
    for panel in (axes[0], *axes[2:4]):
        panel.axvspan(*_throttled(run), color=THROTTLE_COLOUR, alpha=0.12, lw=0)
    for edge_s in _throttled(run):  # a band over the tiers' colours would change them
        axes[1].axvline(edge_s, color=THROTTLE_COLOUR, lw=1.5)
    axes[0].set_xlim(0, run.end_s)
    axes[3].set_xlabel("seconds since the run began", fontsize=9)
    _draw_adaptation(axes[4], summary)
    _finish(figure, summary)
    figure.savefig(path, dpi=DPI)


def _draw_latency(axes: Axes, run: Run) -> None:
    came, failed = _came(run), [one for one in run.requests if one.answer.figures is None]
    axes.plot(_at(came), [1e3 * _figure(one, "latency_s") for one in came], ".", color="0.2", ms=4)
    axes.plot(_at(failed), [0.0] * len(failed), "x", color=THROTTLE_COLOUR, clip_on=False)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("latency, ms")


def _draw_layers(axes: Axes, run: Run) -> None:
    """Who runs which layers in the plan in force: a band per tier, layer 0 at the bottom."""
    times = [*(switch.at_s for switch in run.switches), run.end_s]
    plans = [parse_plan(switch.plan) for switch in (*run.switches, run.switches[-1])]
    for tier, colour in TIER_COLOURS.items():
        stages = [next((s for s in plan.stages if s.tier == tier), None) for plan in plans]
        low = [stage.start if stage else 0 for stage in stages]
        high = [stage.stop if stage else 0 for stage in stages]
        axes.fill_between(times, low, high, step="post", color=colour, lw=0)
    axes.set_ylim(0, plans[0].n_layers)
    axes.set_ylabel("layers of\nthe plan")


def _draw_payload(axes: Axes, run: Run) -> None:
    times = [*(switch.at_s for switch in run.switches), run.end_s]
    sizes = [run.payload_bytes[switch.plan] / 1e3 for switch in run.switches]
    axes.step(times, [*sizes, sizes[-1]], where="post", color="0.2")
    for at_s, size in zip(times, sizes, strict=False):
        axes.annotate(f"{size:,.0f}", (at_s, size), (3, 3), textcoords="offset points", fontsize=8)
    axes.set_ylim(0, 1.25 * max(*sizes, 1))
    axes.set_ylabel("payload on the\nwide link, KB")


def _draw_energy(axes: Axes, run: Run) -> None:
    came = _came(run)
    for name, label, colour in (
        ("total_energy_j", "all tiers", "0.55"),
        ("end_energy_j", "end tier", TIER_COLOURS["end"]),
    ):
        axes.plot(
            _at(came), [_figure(one, name) for one in came], ".", color=colour, ms=4, label=label
        )
    axes.set_yscale("log")
    axes.set_ylabel("energy per\nrequest, J")
    axes.legend(loc="upper right", fontsize=8, ncols=2)


def _draw_adaptation(axes: Axes, summary: Mapping[str, Any]) -> None:
    """A row per change, a dot per run; the median is marked and told."""
    directions, latest_s = list(DIRECTIONS), MOST_S
    for place, direction in enumerate(directions):
        own = [row for row in summary["runs"] if row["direction"] == direction]
        seconds = [row["adapt_s"] for row in own if row["adapt_s"] is not None]
        latest_s = max([latest_s, *seconds])
        axes.plot(seconds, [place] * len(seconds), "o", color="0.2", alpha=0.45, ms=6)
        middle_s = summary["medians"][direction]["adapt_s"]
        if middle_s is not None:
            axes.plot([middle_s], [place], "|", color=THROTTLE_COLOUR, ms=18, mew=2)
    texts = [f"{direction}:\n{_told(summary['medians'][direction])}" for direction in directions]
    axes.set_yticks(range(len(directions)), texts)
    axes.set_ylim(len(directions) - 0.5, -0.5)
    axes.axvline(MOST_S, color="0.6", ls="--", lw=1)
    axes.annotate(
        f"to reach: {MOST_S:g} s\nor {MOST_REQUESTS} requests",
        (MOST_S, 0.5),
        (3, -3),
        textcoords="offset points",
        fontsize=8,
    )
    axes.set_xlim(0, 1.1 * latest_s)
    runs = len(summary["runs"]) // len(directions)
    told = "seconds from the change until the plan followed (red: median)"
    axes.set_xlabel(f"all {runs} runs: {told}", fontsize=9)


def _told(medians: Mapping[str, float | None]) -> str:
    return value_text((medians["adapt_s"], medians["adapt_requests"]))


def _finish(figure: Figure, summary: Mapping[str, Any]) -> None:
    course = summary["settings"]["course"]
    for axes in figure.axes:
        axes.tick_params(labelsize=8)
        axes.grid(axis="both", color="0.92")
        axes.set_axisbelow(True)
    handles = [Patch(color=c, label=f"layers on {tier}") for tier, c in TIER_COLOURS.items()]
    throttled = f"wide link at {course['throttled']}, else {course['nominal']}"
    handles.append(Patch(color=THROTTLE_COLOUR, alpha=0.3, label=throttled))
    figure.legend(handles=handles, loc="upper center", ncols=4, fontsize=9, frameon=False)
    caption = (
        f"{summary['settings']['model']}, the first run. The wide link is every link into the "
        f"cloud. {summary['provenance']} {summary['boundary'].capitalize()} boundary."
    )
    figure.text(0.5, 0.02, textwrap.fill(caption, 140), ha="center", fontsize=8, color="0.35")


def _throttled(run: Run) -> tuple[float, float]:
    return run.changed_s[THROTTLED], run.changed_s[RESTORED]


def _came(run: Run) -> list[Sent]:
    return [one for one in run.requests if one.answer.figures is not None]


def _at(sent: Sequence[Sent]) -> list[float]:
    return [one.sent_s for one in sent]


def _figure(sent: Sent, name: str) -> float:
    assert sent.answer.figures is not None
    return float(getattr(sent.answer.figures, name))
