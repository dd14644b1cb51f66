"""The picture of the fleet on the testbed: latencies, who computed, scores, floods."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np

mpl.use("Agg")
from matplotlib import pyplot as plt

from experiments.fleet.turns import ALONE, APPROACHES, FLOODED, FleetTurns

_COLOURS = {name: f"C{number}" for number, name in enumerate(APPROACHES)}


def draw_testbed(path: Path, played: FleetTurns, summary: dict[str, Any]) -> None:
    """Four panels, each readable by itself."""
    figure, axes = plt.subplots(2, 2, figsize=(11, 8), layout="constrained")
    _latencies(axes[0, 0], played)
    _tiers(axes[0, 1], summary["approaches"])
    _scores(axes[1, 0], played)
    _floods(axes[1, 1], played, summary["floods"])
    figure.suptitle(
        "Three devices, two edges, one cloud on one machine: speeds and link rates emulated, "
        "seconds measured, joules modelled",
        fontsize=9,
    )
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _latencies(axis: Any, played: FleetTurns) -> None:
    for name in APPROACHES:
        mine = [row["latency_s"] for row in played.requests if row["approach"] == name]
        _sorted(axis, mine, name, _COLOURS[name])
    axis.set(title="All requests of the three devices", xscale="log")
    axis.legend(frameon=False, fontsize=8, loc="lower right")


def _sorted(axis: Any, latency_s: Sequence[float], label: str, colour: str) -> None:
    share = 100 * np.arange(1, len(latency_s) + 1) / max(1, len(latency_s))
    axis.step(sorted(latency_s), share, where="post", color=colour, label=label)
    axis.set(xlabel="latency since the request was due, s", ylabel="% of requests within it")
    axis.grid(alpha=0.3)


def _tiers(axis: Any, approaches: Sequence[dict[str, Any]]) -> None:
    tiers = sorted({tier for row in approaches for tier in row["computed"]}, key=_order)
    left = np.zeros(len(approaches))
    for number, tier in enumerate(tiers):
        sums = [sum(row["computed"].values()) for row in approaches]
        share = [
            100 * row["computed"].get(tier, 0.0) / max(whole, 1e-9)
            for row, whole in zip(approaches, sums, strict=True)
        ]
        label = "the devices" if tier == "end" else tier
        axis.barh(APPROACHES, share, left=left, color=f"C{number + 4}", label=label)
        left += share
    axis.set(title="Where it was computed", xlabel="% of computed seconds", xlim=(0, 100))
    axis.invert_yaxis()
    axis.legend(frameon=False, fontsize=8, ncols=4, loc="upper center", bbox_to_anchor=(0.5, -0.12))


def _order(tier: str) -> tuple[int, str]:
    return ("end", "edge", "cloud").index(tier.partition("-")[0]), tier


def _scores(axis: Any, played: FleetTurns) -> None:
    devices = list(dict.fromkeys((row["device"], row["model"]) for row in played.requests))
    for number, name in enumerate(APPROACHES):
        means = [
            np.mean(
                [
                    row["score"]
                    for row in played.requests
                    if row["approach"] == name and row["device"] == device
                ]
            )
            for device, _ in devices
        ]
        place = np.arange(len(devices)) + 0.27 * (number - 1)
        axis.bar(place, means, 0.25, color=_COLOURS[name], label=name)
    axis.axhline(1.0, color="0.3", lw=1, ls="--")
    axis.set_xticks(range(len(devices)), [f"{host}\n{model}" for host, model in devices])
    axis.set(title="Mean score (1: all layers on an idle device; less is better)", ylabel="score")
    axis.legend(frameon=False, fontsize=8)


def _floods(axis: Any, played: FleetTurns, floods: dict[str, Any]) -> None:
    steady = played.floods[0]["device"]
    for state, colour in ((ALONE, "C0"), (FLOODED, "C3")):
        mine = [
            row["latency_s"]
            for row in played.floods
            if row["state"] == state and row["device"] == steady
        ]
        _sorted(axis, mine, f"{steady}, {state}", colour)
    axis.set(title=f"A steady session on {played.edge} while another one floods it")
    computed = ", ".join(f"{seconds:.1f}" for seconds in floods["computed_s"].values())
    axis.text(
        0.97,
        0.25,
        f"three floods at once: {computed} s\ncomputed, Jain's index {floods['jain']:.3f}",
        transform=axis.transAxes,
        ha="right",
        fontsize=8,
    )
    axis.legend(frameon=False, fontsize=8, loc="lower right")
