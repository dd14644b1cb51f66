"""How measured seconds lie around predicted ones: a histogram of their ratios, and sums of such.

Ratios are counted in bins of equal width in their logarithm. Old ones count less and less, so that
the histogram is that of the last few hundred.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.errors import ProfileError

_Array = NDArray[np.float64]
Summand = tuple[float, "Scatter | None"]  # predicted seconds, and how measured ones lie around them

_STEP = math.log(1.05)  # of a bin: a quantile is known to 2.5 %
_BELOW, _BINS = 28, 114  # bins below a ratio of 1, and in all: 1/4 to 66
_LEAST = 1e-3
_MUCH, _POINTS = 0.005, 5  # a bin with more than that share stands for so many ratios
_KEPT = 1 - 1 / 500  # of the weight of each ratio, with the next one
_ASSUMED = 20.0  # ratios that what is assumed counts as
_SUM_STEP = math.log(1.02)  # of the bins of a sum


@dataclass(frozen=True)
class Scatter:
    """The histogram. weights: of each bin, from the least ratio up; older ratios weigh less.

    Raises ProfileError where it is none.
    """

    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        is_none = len(self.weights) != _BINS or not min(self.weights) >= 0
        if is_none or not 0 < sum(self.weights) < math.inf:  # neither holds with a NaN
            raise ProfileError(f"a scatter has {_BINS} weights >= 0, not all 0, given {self}")

    def updated(self, ratio: float) -> "Scatter":
        """The same with one more ratio of measured to predicted seconds, 0 or more."""
        place = round(math.log(max(ratio, _LEAST)) / _STEP) + _BELOW
        weights = [_KEPT * weight for weight in self.weights]
        weights[max(0, min(_BINS - 1, place))] += 1.0
        return Scatter(tuple(weights))

    def points(self) -> tuple[_Array, _Array]:
        """(ratios, their probabilities), ascending; a bin that holds much is several points."""
        shares = np.array(self.weights)
        shares /= shares.sum()
        counts = np.where(shares > _MUCH, _POINTS, shares > 0)
        place, first = np.repeat(np.arange(_BINS), counts), np.cumsum(counts) - counts
        within = np.arange(len(place)) - first[place] - (counts[place] - 1) / 2
        logarithms = (place - _BELOW + within / counts[place]) * _STEP
        return np.exp(logarithms), (shares / np.maximum(counts, 1))[place]

    def quantile(self, level: float) -> float:
        """The ratio that is not exceeded with that probability, 0 < level < 1."""
        return _quantile(*self.points(), level)

    def shortfall(self, level: float) -> float:
        """The mean of the greatest ratios, whose probability is 1 - level; 0 <= level < 1."""
        ratios, shares = self.points()
        left = 1 - level
        beyond = np.cumsum(shares[::-1])[::-1] - shares  # of greater ratios
        taken = np.clip(left - beyond, 0.0, shares)
        return float(ratios @ taken / taken.sum())


def assumed_scatter(sigma: float) -> Scatter:
    """What is held before the first measurement: lognormal ratios around 1."""
    z = (np.arange(_BINS) - _BELOW) * _STEP / sigma
    density = np.exp(-0.5 * z * z)
    return Scatter(tuple((_ASSUMED * density / density.sum()).tolist()))


@dataclass(frozen=True)
class SecondsDistribution:
    """seconds: ascending values; shares: their probabilities."""

    seconds: _Array
    shares: _Array

    def quantile(self, probability: float) -> float:
        """The seconds that are not exceeded with that probability."""
        return _quantile(self.seconds, self.shares, probability)

    def share_within(self, limit_s: float) -> float:
        """The probability of at most so many seconds."""
        return float(self.shares[self.seconds <= limit_s].sum())


def sum_of(parts: Iterable[Summand]) -> SecondsDistribution:
    """The distribution of a sum of independent parts, folded one after another on a grid of 2 %.

    A part without a scatter takes what is predicted. The mean of the sum is kept exactly.
    """
    seconds, shares = np.zeros(1), np.ones(1)
    for predicted_s, scatter in parts:
        if scatter is None or predicted_s <= 0:
            seconds = seconds + max(predicted_s, 0.0)
            continue
        ratios, likely = scatter.points()
        every = np.add.outer(seconds, predicted_s * ratios).ravel()
        seconds, shares = _merged(every, np.multiply.outer(shares, likely).ravel())
    return SecondsDistribution(seconds, shares)


def _merged(seconds: _Array, shares: _Array) -> tuple[_Array, _Array]:
    """Values that lie within one bin as one, their mean; ascending."""
    place = np.floor(np.log(seconds) / _SUM_STEP).astype(np.intp)
    place -= place.min()
    total = np.bincount(place, weights=shares)
    mean = np.bincount(place, weights=shares * seconds)
    held = total > 0
    values: _Array = mean[held] / total[held]
    likely: _Array = total[held].astype(float)
    return values, likely


def _quantile(values: _Array, shares: _Array, level: float) -> float:
    reached = np.searchsorted(np.cumsum(shares), level * (1 - 1e-12))
    return float(values[min(int(reached), len(values) - 1)])
