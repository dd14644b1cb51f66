"""An online estimate of one positive quantity, robust to outliers and quick to follow a change.

Log-EWMA whose residuals are clipped, with a two-sided CUSUM that resets it (E. S. Page, Biometrika
1954). An estimate is a value: `updated` returns the next one. Figures checked by simulation in
tests/core/control/test_estimate.py.
"""

import math
from dataclasses import dataclass

from edgesplit.errors import ProfileError

_CLIP = 2.5  # sigmas: what one observation may say at most, so that an outlier says little
_SLACK = 0.5  # sigmas: CUSUM's k, half of the shift that it is tuned to find
_ALARM = 6.5  # sigmas: CUSUM's h; four clipped residuals in a row reach 4 * (2.5 - 0.5) = 8
_DOUBT = 1.9  # sigmas: one clipped residual is enough
_GAIN = 0.1  # of the EWMA once it rests on ten observations; steady error 0.23 sigma
_SIGMA_GAIN = 0.03
_KEPT = 4  # raw observations kept, whose median an alarm resets to
_ABS_TO_SIGMA = 1.2  # sigma / E|clipped residual|: 1.27 for a pure normal, less for the outliers


@dataclass(frozen=True)
class Estimate:
    """What is believed of a quantity, after `count` observations.

    level: natural logarithm of the value. sigma: spread of one observation's logarithm.
    up, down: the CUSUM arms, in sigmas. recent: logarithms of the last observations.
    weight: observations that the level rests on since the last alarm.
    changed: the last update raised an alarm.
    """

    level: float
    sigma: float
    sigma_floor: float
    up: float = 0.0
    down: float = 0.0
    recent: tuple[float, ...] = ()
    weight: int = _KEPT
    count: int = 0
    changed: bool = False

    @property
    def value(self) -> float:
        """The quantity, in the unit of the observations."""
        return math.exp(self.level)

    @property
    def last(self) -> float:
        """The last raw observation, the value itself before the first one."""
        return math.exp(self.recent[-1]) if self.recent else self.value

    @property
    def suspicious(self) -> bool:
        """True while a change is likely but not yet certain: more evidence is wanted."""
        return max(self.up, self.down) > _DOUBT

    @property
    def doubted_once(self) -> bool:
        """True where one observation alone is behind the doubt: it may be an outlier."""
        return _DOUBT < max(self.up, self.down) < 2 * _DOUBT

    def updated(self, observed: float) -> "Estimate":
        """The estimate after one more observation. Raises ProfileError unless finite and > 0."""
        seen = _log(observed)
        recent = (*self.recent, seen)[-_KEPT:]
        z = max(-_CLIP, min(_CLIP, (seen - self.level) / self.sigma))
        up = max(0.0, self.up + z - _SLACK)
        down = max(0.0, self.down - z - _SLACK)
        if max(up, down) > _ALARM:
            return Estimate(
                _median(recent), self.sigma, self.sigma_floor, recent=recent,
                count=self.count + 1, changed=True,
            )  # fmt: skip
        weight = self.weight + 1
        step = z * self.sigma
        spread = self.sigma + _SIGMA_GAIN * (abs(step) * _ABS_TO_SIGMA - self.sigma)
        return Estimate(
            self.level + max(_GAIN, 1 / weight) * step, max(self.sigma_floor, spread),
            self.sigma_floor, up, down, recent, weight, self.count + 1,
        )  # fmt: skip

    def replaced(self, observed: float) -> "Estimate":
        """The estimate after an observation that leaves no doubt: what was believed is forgotten.

        Raises ProfileError unless it is finite and > 0.
        """
        seen = _log(observed)
        return Estimate(
            seen, self.sigma, self.sigma_floor, recent=(seen,), count=self.count + 1, changed=True
        )


def estimate(value: float, sigma: float = 0.1) -> Estimate:
    """An estimate that begins at a known value, with the spread expected of one observation.

    The spread adapts and stays above half of `sigma`. Raises ProfileError unless value is > 0.
    """
    return Estimate(_log(value), sigma, sigma / 2)


def _log(value: float) -> float:
    if not (math.isfinite(value) and value > 0):
        raise ProfileError(f"an estimate takes finite values above 0, given {value!r}")
    return math.log(value)


def _median(values: tuple[float, ...]) -> float:
    ordered = sorted(values)
    middle = len(ordered) // 2
    if len(ordered) % 2:
        return ordered[middle]
    return (ordered[middle - 1] + ordered[middle]) / 2
