"""Mean power of one phase, pooled over its repetitions; refused where the sensor is too slow.

Samples that fall inside a phase are unbiased however short it is, if they come at random moments
of the cycle (equivalent-time sampling; Lang and Rünger, Euro-Par 2013).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.energy.energy import K
from edgesplit.core.energy.reading import Reading
from edgesplit.core.energy.sensor import SensorInfo

Floats = NDArray[np.float64]
Spans = Sequence[tuple[float, float]]
LEAST = 4  # figures from which a scatter can be told
BATCHES = 10
# Of a phase, the longest averaging window: at a quarter, a neighbour is already mistaken by 5 %.
SLOWEST = 1 / 5


@dataclass(frozen=True)
class PhasePower:
    """Mean watts and their standard uncertainty, of n samples (counter: spans).

    NaN where no figure can be given; flag says why, and is empty otherwise.
    """

    watts: float
    u_w: float
    n: int
    flag: str = ""

    def __str__(self) -> str:
        return self.flag or f"{self.watts:.3g} ± {K * self.u_w:.2g} W (k=2, {self.n} figures)"


def sampled_power(info: SensorInfo, readings: Sequence[Reading], spans: Spans) -> PhasePower:
    """Of a power sensor: the mean of the samples whose averaging window lies inside a span."""
    flag = _too_slow(spans, info.averaging_s, f"{info.id} averages over")
    if flag:
        return PhasePower(math.nan, math.nan, 0, flag)
    at_s = np.array([reading.at_s for reading in readings])
    watts = np.array([reading.watts for reading in readings], dtype=np.float64)
    edges = [
        (int(np.searchsorted(at_s, start_s + info.averaging_s)), int(np.searchsorted(at_s, stop_s)))
        for start_s, stop_s in spans
    ]
    chosen = np.concatenate([watts[:0], *(watts[i:j] for i, j in edges)])
    return _pooled(info, chosen, np.ones(len(chosen)), "readings")


def counted_power(info: SensorInfo, readings: Sequence[Reading], spans: Spans) -> PhasePower:
    """Of a counter: joules over seconds between the first and the last reading in each span."""
    flag = _too_slow(spans, info.update_s, f"{info.id} moves every")
    if flag:
        return PhasePower(math.nan, math.nan, 0, flag)
    at_s = np.array([reading.at_s for reading in readings])
    joules = np.array([reading.joules for reading in readings], dtype=np.float64)
    breaks = np.cumsum([reading.is_break for reading in readings])
    growth = []
    for start_s, stop_s in spans:
        i = int(np.searchsorted(at_s, start_s + info.update_s))
        j = int(np.searchsorted(at_s, stop_s)) - 1
        if i < j and breaks[i] == breaks[j] and at_s[j] - at_s[i] >= info.update_s / SLOWEST:
            growth.append((joules[j] - joules[i], at_s[j] - at_s[i]))
    pairs = np.array(growth).reshape(-1, 2)
    return _pooled(info, pairs[:, 0], pairs[:, 1], "spans with two readings far enough apart")


def _too_slow(spans: Spans, slowness_s: float, does: str) -> str:
    """Why the sensor is too slow for these spans; empty where it is not."""
    if not spans:
        return "the phase never ran"
    phase_s = float(np.median([stop_s - start_s for start_s, stop_s in spans]))
    if slowness_s <= SLOWEST * phase_s:
        return ""
    return (
        f"{does} {slowness_s:g} s, more than a fifth of the phase's {phase_s:.3g} s: "
        "run the phase alone for longer and fit its power from such blocks"
    )


def _pooled(info: SensorInfo, amounts: Floats, weights: Floats, what: str) -> PhasePower:
    """Sum of amounts over sum of weights: watts, or joules over seconds."""
    n = len(amounts)
    if n < LEAST:
        flag = f"{n} {what}, at least {LEAST} are needed: repeat the phase more often"
        return PhasePower(math.nan, math.nan, n, flag)
    mean_w = float(amounts.sum() / weights.sum())
    scatter_w = _mean_u(amounts - mean_w * weights) * n / float(weights.sum())
    gain = 0.0 if math.isnan(info.rel_accuracy) else info.rel_accuracy
    step_w = info.resolution / (float(np.mean(weights)) * math.sqrt(12))
    return PhasePower(mean_w, math.hypot(scatter_w, step_w, mean_w * gain), n)


def _mean_u(errors: Floats) -> float:
    """Standard uncertainty of the mean of errors in order of time.

    The greater of what independent ones give and what means of batches give, as neighbours may be
    correlated; each widened for its few degrees of freedom (JCGM 101:2008, 6.4.9).
    """
    found = [_widened(errors)]
    if len(errors) >= 2 * BATCHES:
        found.append(
            _widened(np.array([batch.mean() for batch in np.array_split(errors, BATCHES)]))
        )
    return max(found)


def _widened(errors: Floats) -> float:
    n = len(errors)
    return float(np.std(errors, ddof=1)) * math.sqrt((n - 1) / (n - 3) / n)
