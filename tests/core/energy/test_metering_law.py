"""The law of metering: the true energy of a device lies within k=2 of what an estimator says.

In at least 90 % of seeded runs (95 % is what k=2 means; 200 runs scatter by 1.5 %), and with an
uncertainty that is not bought by width: its median is at most WIDEST times the rms error. A factor
of 2 to 3 comes with bounds that hold at worst, as where an update or a burst lies is not known.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest

from edgesplit.core.energy.phases import Block, fit_phases
from edgesplit.core.energy.timeline import Timeline
from experiments.meters.simulated_device import (
    BOXCAR,
    INA3221,
    INSTANT,
    NVML,
    RAPL,
    Device,
    Meter,
    Phase,
)

RUNS = 200
LEAST_INSIDE = 0.9
WIDEST = 4.0
# Compute, transmit and wait of a Pi-like machine: 125 ms per request.
PI = (Phase("compute", 0.06, 7.0), Phase("transmit", 0.025, 4.5), Phase("wait", 0.04, 3.2))
GPU = (Phase("compute", 0.02, 30.0),)
Window = tuple[float, float]
Judged = tuple[float, float]  # (error, its standard uncertainty)


def device(phases, cycles, rng, idle_w=2.7):
    """Begins at a random moment and is a little faster or slower: nothing locks to an update."""
    pace = rng.uniform(0.98, 1.02)
    paced = tuple(replace(phase, length_s=phase.length_s * pace) for phase in phases)
    return Device(paced, cycles, idle_w, lead_s=1.5 + rng.uniform(0, 0.3), tail_s=1.5)


def runs() -> Iterator[np.random.Generator]:
    return (np.random.default_rng(seed) for seed in range(RUNS))


def check_law(judged: list[Judged], widest: float = WIDEST) -> None:
    """Raise AssertionError where the errors and uncertainties break the law."""
    errors, u = np.array(judged).T
    assert np.isfinite(u).all()
    assert np.mean(np.abs(errors) <= 2 * u) >= LEAST_INSIDE
    assert np.median(u) <= widest * np.sqrt(np.mean(errors**2))


def of_energy(meter: Meter, device_of: Callable, at_edges: bool) -> Iterator[Judged]:
    """The whole busy time, as Timeline.energy gives it."""
    for rng in runs():
        one = device_of(rng)
        found = meter.timeline(one, rng, one.busy if at_edges else ()).energy(*one.busy)
        yield found.joules - one.energy_j(*one.busy), found.u_j


# Wider by a known reason: a fast sensor resolves the phases, so its samples differ by steps that
# are counted as scatter; and a counter that is read at the edges of a device that rests before and
# after has errors far below its 1 ms in most runs.
@pytest.mark.parametrize("cycles", [1, 10, 100])
@pytest.mark.parametrize(
    ("meter", "at_edges", "widest"),
    [
        (RAPL, True, WIDEST), (RAPL, False, WIDEST), (NVML, True, WIDEST), (NVML, False, WIDEST),
        (INSTANT, False, WIDEST), (INA3221, False, 8.0), (BOXCAR, False, WIDEST),
    ],
    ids=["rapl-at-edges", "rapl", "nvml-at-edges", "nvml", "instant", "ina3221", "boxcar"],
)  # fmt: skip
@pytest.mark.parametrize("phases", [PI, GPU], ids=["pi", "gpu"])
def test_energy(phases, meter, at_edges, widest, cycles):
    idle_w = 2.7 if phases is PI else 10.0
    judged = of_energy(meter, lambda rng: device(phases, cycles, rng, idle_w), at_edges)
    check_law(list(judged), widest)


@pytest.mark.parametrize(
    "meter", [RAPL, NVML, INSTANT, INA3221], ids=["rapl", "nvml", "instant", "ina3221"]
)
def test_energy_of_a_part_of_steady_work(meter):
    steady = (Phase("compute", 0.5, 6.0),)
    judged = []
    for rng in runs():
        one = device(steady, 8, rng)
        start_s = one.busy[0] + rng.uniform(0.5, 1.5)
        window = (start_s, start_s + rng.uniform(0.5, 2.0))
        found = meter.timeline(one, rng).energy(*window)
        judged.append((found.joules - one.energy_j(*window), found.u_j))
    check_law(judged)


def test_energy_of_a_meter_with_a_gain_error():
    gain_u = 0.03
    judged = []
    for rng in runs():
        one, gain = device(PI, 40, rng), 1 + gain_u * rng.standard_normal()
        shown = INA3221.timeline(one, rng)
        wrong = tuple(replace(r, watts=r.watts * gain) for r in shown.readings)
        found = Timeline(replace(shown.info, rel_accuracy=gain_u), wrong).energy(*one.busy)
        judged.append((found.joules - one.energy_j(*one.busy), found.u_j))
    check_law(judged)


@pytest.mark.parametrize(
    ("meter", "names", "widest"),
    [
        (INSTANT, ("compute", "transmit", "wait"), WIDEST),
        # Its step of 20 mW counts in full, though as much noise averages it away.
        (INA3221, ("compute", "wait"), 6.0),
    ],
    ids=["instant", "ina3221"],
)
def test_phase_power_of_a_power_sensor(meter, names, widest):
    judged = {name: [] for name in names}
    for rng in runs():
        one = device(PI, 80, rng)
        found = meter.timeline(one, rng).phase_power(one.spans)
        for name in names:
            watts = next(phase.watts for phase in PI if phase.name == name)
            judged[name].append((found[name].watts - watts, found[name].u_w))
        refused = set(found) - set(names)
        assert all("more than a fifth" in found[name].flag for name in refused)
    for name in names:
        check_law(judged[name], widest)


def test_phase_power_of_a_counter():
    # Long phases, so that 100 ms polls of a 1 ms counter fall inside them several times.
    phases = (Phase("compute", 0.5, 7.0), Phase("wait", 0.4, 3.2))
    judged = []
    for rng in runs():
        one = device(phases, 8, rng)
        found = RAPL.timeline(one, rng).phase_power(one.spans)
        judged += [(found[p.name].watts - p.watts, found[p.name].u_w) for p in phases]
    check_law(judged)


def test_a_sensor_averaging_over_a_cycle_tells_no_phase():
    rng = np.random.default_rng(0)
    one = device(PI, 80, rng)
    for meter in (BOXCAR, replace(INSTANT, averaging_s=0.1)):
        found = meter.timeline(one, rng).phase_power(one.spans)
        assert all(math.isnan(power.watts) and power.flag for power in found.values())


# Seconds of compute, transmit, wait per cycle in calibration blocks of about 5 s. Together 0.67 s:
# a cycle that is a multiple of the samples' 100 ms may lock to them in spite of 10 % jitter, and
# k=2 then holds in about 85 % only for some devices.
MIXES = ((0.56, 0.056, 0.056), (0.056, 0.56, 0.056), (0.056, 0.056, 0.56), (0.224, 0.224, 0.224))


def blocks_of(meter: Meter, rng: np.random.Generator) -> Iterator[Block]:
    for mix in MIXES:
        phases = tuple(replace(p, length_s=s) for p, s in zip(PI, mix, strict=True))
        one = device(phases, 7, rng)
        found = meter.timeline(one, rng, one.busy if meter.update_s else ()).energy(*one.busy)
        yield Block(one.seconds(), found.joules, found.u_j)


@pytest.mark.parametrize("meter", [RAPL, NVML, INSTANT], ids=["rapl", "nvml", "instant"])
def test_fitted_phases(meter):
    names = tuple(phase.name for phase in PI)
    request = {phase.name: phase.length_s for phase in PI}
    true_j = sum(phase.length_s * phase.watts for phase in PI)
    judged, of_watts = [], []
    for rng in runs():
        powers = fit_phases(list(blocks_of(meter, rng)), names)
        joules, u_j = powers.energy(request)
        judged.append((joules - true_j, u_j))
        of_watts.append((powers.watts[0] - PI[0].watts, math.sqrt(powers.covariance[0][0])))
    check_law(judged)
    check_law(of_watts)
