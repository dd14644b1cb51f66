"""The straight line from a sensor's watts to those of an external meter on the same device.

A sensor on the board misses what lies before it; a line fitted once adds that.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgesplit.errors import MeterError

LEAST_PAIRS = 3
LEAST_SPREAD = 0.05  # of the largest watts; below, gain and offset cannot be told apart


@dataclass(frozen=True)
class FittedLine:
    """external = gain * sensor + offset (W), with `residual` W of standard deviation around it."""

    gain: float
    offset: float
    residual: float


def fit_line(pairs: Sequence[tuple[float, float]]) -> FittedLine:
    """Least squares over pairs of watts at the same time: (sensor, external meter).

    Raises MeterError for fewer than three pairs, and where the sensor's watts hardly differ.
    """
    if len(pairs) < LEAST_PAIRS:
        raise MeterError(
            f"{len(pairs)} pairs of readings, a line needs {LEAST_PAIRS}",
            "read both meters at idle, at half and at full load",
        )
    sensor_w, external_w = np.array(pairs, dtype=np.float64).T
    if np.ptp(sensor_w) <= LEAST_SPREAD * np.max(np.abs(sensor_w)):
        raise MeterError(
            f"all pairs lie between {sensor_w.min():.4g} W and {sensor_w.max():.4g} W, which "
            "does not tell gain from offset",
            "read both meters at idle, at half and at full load",
        )
    rows = np.stack([sensor_w, np.ones_like(sensor_w)], axis=1)
    (gain, offset), *_ = np.linalg.lstsq(rows, external_w, rcond=None)
    errors = external_w - rows @ (gain, offset)
    variance = float(errors @ errors) / (len(pairs) - 2)
    return FittedLine(float(gain), float(offset), math.sqrt(variance))
