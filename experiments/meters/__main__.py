"""How far off each way of metering is, on a simulated device whose energy is known exactly.

`python -m experiments.meters --out DIR [--quick]` writes meters.csv, meters.png, summary.json. All
figures are modelled: the device and its meters are simulated, and nothing drifts or warms up.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import matplotlib as mpl
import numpy as np

from edgesplit.core.energy.energy import K
from edgesplit.core.energy.phases import Block, PhasePowers, fit_phases
from experiments.meters.simulated_device import BOXCAR, INSTANT, NVML, RAPL, Device, Meter, Phase
from experiments.shared.out import out_option
from experiments.shared.report import console, markdown_table, print_rows, progress, write_rows

mpl.use("Agg")
from matplotlib import pyplot as plt
from matplotlib.axes import Axes

INFERENCES = (1, 10, 100, 1000)  # back to back
TITLE = "Error of metering n back-to-back inferences; modelled: a simulated device"
SEEDS, QUICK_SEEDS = 200, 4
# The paper's assumed watts of a Raspberry Pi 5 (arXiv 2605.09623).
FIXED_W = 12.0
BLOCK_S, MAIN_SHARE = 10.0, 0.85  # of calibration: its length, and what its main phase takes of it
# A calibration block's phases take turns this often; no multiple of the samples' 100 ms, to which a
# block would lock in spite of their jitter.
BLOCK_CYCLE_S = 0.73
BLOCKS = 3  # of calibration, per phase

Figure = tuple[float, float | None]  # joules and their standard uncertainty, where one is given
Row = dict[str, Any]


@dataclass(frozen=True)
class Machine:
    """What runs: shares of an inference and watts of each phase, and the watts at rest."""

    name: str
    phases: tuple[tuple[str, float, float], ...]
    idle_w: float
    fixed_w: float | None

    def device(self, inference_s: float, inferences: int, rng: np.random.Generator) -> Device:
        """It runs so many inferences, beginning at a random moment between two rests."""
        parts = tuple(Phase(name, share * inference_s, watts) for name, share, watts in self.phases)
        return Device(parts, inferences, self.idle_w, 1.5 + rng.uniform(0, 0.3), 1.5)


MACHINES = (
    Machine(
        "Pi-like",
        (("compute", 0.6, 7.0), ("transmit", 0.2, 4.5), ("wait", 0.2, 3.2)),
        2.7,
        FIXED_W,
    ),
    Machine("GPU-like", (("compute", 1.0, 30.0),), 10.0, None),
)


@dataclass(frozen=True)
class Trial:
    """One run of a device, metered in every way. powers: fitted beforehand."""

    device: Device
    powers: PhasePowers
    fixed_w: float | None
    rng: np.random.Generator

    @property
    def length_s(self) -> float:
        """Of the inferences together."""
        return self.device.busy[1] - self.device.busy[0]


def counter(meter: Meter) -> Callable[[Trial], Figure]:
    """Our estimate from a counter that is also read at both edges."""
    return lambda trial: _energy(trial, meter, trial.device.busy)


def samples(trial: Trial) -> Figure:
    """Our estimate from power samples alone."""
    return _energy(trial, INSTANT, ())


def _energy(trial: Trial, meter: Meter, also_s: tuple[float, ...]) -> Figure:
    found = meter.timeline(trial.device, trial.rng, also_s).energy(*trial.device.busy)
    return found.joules, found.u_j


def phase_model(trial: Trial) -> Figure:
    """Fitted watts times each phase's seconds."""
    return trial.powers.energy(trial.device.seconds())


def fixed_watts(trial: Trial) -> Figure | None:
    """The paper's first formula; None for a machine that it assumes no watts of."""
    return None if trial.fixed_w is None else (trial.fixed_w * trial.length_s, None)


def two_readings(trial: Trial) -> Figure:
    """The paper's second formula: the mean of two readings of a 1 s trailing mean, times time."""
    watts = BOXCAR.read(trial.device, np.array(trial.device.busy), trial.rng)
    return float(watts.mean()) * trial.length_s, None


METHODS: dict[str, Callable[[Trial], Figure | None]] = {
    "ours: counter, 1 ms (RAPL-like)": counter(RAPL),
    "ours: counter, 100 ms (NVML-like)": counter(NVML),
    "ours: power samples, 100 ms": samples,
    "ours: phase model, calibrated": phase_model,
    "paper: 12 W x t": fixed_watts,
    "paper: (P0 + P1)/2 x t, 1 s mean": two_readings,
}


def calibrate(machine: Machine, rng: np.random.Generator) -> PhasePowers:
    """Fit the machine's watts to BLOCKS blocks per phase, metered by power samples."""
    names = [name for name, _, _ in machine.phases]
    blocks = [_block(machine, name, rng) for name in [*names, "idle"] for _ in range(BLOCKS)]
    return fit_phases(blocks, (*names, "idle"))


def _block(machine: Machine, main: str, rng: np.random.Generator) -> Block:
    """A block that is mostly the main phase; the others share the rest."""
    watts = {name: watts for name, _, watts in machine.phases} | {"idle": machine.idle_w}
    rest = BLOCK_CYCLE_S * (1 - MAIN_SHARE) / (len(watts) - 1)
    lengths = dict.fromkeys(watts, rest) | {main: BLOCK_CYCLE_S * MAIN_SHARE}
    phases = tuple(Phase(name, lengths[name], watts[name]) for name in watts)
    device = Device(phases, round(BLOCK_S / BLOCK_CYCLE_S), machine.idle_w)
    found = INSTANT.timeline(device, rng).energy(*device.busy)
    return Block(device.seconds(), found.joules, found.u_j)


def measure(
    machine: Machine, inference_s: float, seeds: int, step: Callable[[], None]
) -> Iterator[Row]:
    """A row per method and number of inferences, over seeded runs."""
    rngs = [np.random.default_rng(seed) for seed in range(seeds)]
    powers = [calibrate(machine, rng) for rng in rngs]
    for inferences in INFERENCES:
        found: dict[str, list[Figure]] = {name: [] for name in METHODS}
        for rng, known in zip(rngs, powers, strict=True):
            device = machine.device(inference_s, inferences, rng)
            true_j = device.energy_j(*device.busy)
            for name, method in METHODS.items():
                figure = method(Trial(device, known, machine.fixed_w, rng))
                if figure is not None:
                    found[name].append(_relative(figure, true_j))
            step()
        for name, figures in found.items():
            if figures:
                label = f"{machine.name}, {inference_s * 1e3:g} ms"
                yield _row(label, name, inferences, figures)


def _relative(figure: Figure, true_j: float) -> Figure:
    joules, u_j = figure
    return joules / true_j - 1, None if u_j is None else u_j / true_j


def _row(device: str, method: str, inferences: int, figures: Sequence[Figure]) -> Row:
    errors = np.array([error for error, _ in figures])
    k2 = np.array([K * u for _, u in figures if u is not None])
    return {
        "device": device,
        "method": method,
        "inferences": inferences,
        "relative_error_mean": float(errors.mean()),
        "relative_error_std": float(errors.std(ddof=1)),
        "relative_u_k2": float(np.median(k2)) if len(k2) else None,
        "inside_k2": float(np.mean(np.abs(errors) <= k2)) if len(k2) else None,
    }


def table(rows: Sequence[Row]) -> list[Row]:
    """The rows as people read them, in percent: mean ± sd (k=2; share of runs inside it)."""
    lines: dict[tuple[str, str], Row] = {}
    for row in rows:
        key = row["device"], row["method"]
        line = lines.setdefault(key, dict(zip(("device", "method"), key, strict=True)))
        line[f"n = {row['inferences']:,}"] = _cell(row)
    return list(lines.values())


def _cell(row: Row) -> str:
    error = f"{_percent(row['relative_error_mean'], '+')} ± {_percent(row['relative_error_std'])}"
    if row["relative_u_k2"] is None:
        return f"{error} %"
    return f"{error} % ({_percent(row['relative_u_k2'])}; {row['inside_k2']:.0%})"


def _percent(share: float, sign: str = "") -> str:
    places = 2 if abs(share) < 0.0995 else 0
    return f"{share * 100:{sign}.{places}f}"


def draw(path: Path, rows: Sequence[Row]) -> None:
    """A panel per device: the error against the number of inferences, a line per method."""
    devices = list(dict.fromkeys(row["device"] for row in rows))
    figure, axes = plt.subplots(
        1, len(devices), figsize=(4 * len(devices), 4.5), sharey=True, layout="constrained"
    )
    for axis, device in zip(axes, devices, strict=True):
        _draw_device(axis, device, [row for row in rows if row["device"] == device])
    axes[0].set_ylabel("relative error, % (mean; bars: ± sd)")
    names = {name: line for axis in axes for line, name in zip(*_legend(axis), strict=True)}
    figure.legend(list(names.values()), list(names), loc="outside lower center", ncols=3)
    figure.suptitle(TITLE)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def _draw_device(axis: Axes, device: str, rows: Sequence[Row]) -> None:
    for i, name in enumerate(METHODS):
        own = [row for row in rows if row["method"] == name]
        if own:
            # Lines side by side, so that their bars can be told apart.
            n = [row["inferences"] * 1.12 ** (i - len(METHODS) / 2) for row in own]
            means = [row["relative_error_mean"] * 100 for row in own]
            spread = [row["relative_error_std"] * 100 for row in own]
            axis.errorbar(n, means, spread, fmt="o-", ms=3, capsize=2, color=f"C{i}", label=name)
    axis.set_xscale("log")
    axis.set_yscale("symlog", linthresh=1)
    axis.set(title=device, xlabel="inferences")
    axis.grid(alpha=0.3)


def _legend(axis: Axes) -> tuple[list[Any], list[Any]]:
    lines, names = axis.get_legend_handles_labels()
    return list(lines), list(names)


@click.command()
@out_option
@click.option("--quick", is_flag=True, help="Few runs of each.")
def main(out: Path, quick: bool) -> None:
    """Compare ways of metering with the known energy of a simulated device."""
    seeds = QUICK_SEEDS if quick else SEEDS
    kinds = [(machine, inference_s) for machine in MACHINES for inference_s in (0.02, 0.005)]
    with progress("metering", len(kinds) * len(INFERENCES) * seeds) as step:
        rows = [row for kind in kinds for row in measure(*kind, seeds, step)]
    summary = {"title": TITLE, "provenance": "modelled: a simulated device", "seeds": seeds}
    write_rows(out, "meters", rows, summary)
    draw(out / "meters.png", rows)
    print_rows(table(rows), TITLE)
    console().print(
        "mean error ± standard deviation over the runs (median k=2; share of runs inside it)"
    )
    click.echo(markdown_table(table(rows)))


if __name__ == "__main__":
    main()
