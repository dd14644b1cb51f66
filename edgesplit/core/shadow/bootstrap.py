"""Intervals of a mean saving, from requests in a row: a paired bootstrap of whole blocks.

Requests that follow each other are alike, so that single ones, drawn independently, would make an
interval too narrow. BlockDraws go round: the last request is followed by the first (circular block
bootstrap, Politis and Romano 1992).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.cost import Array

_DRAWS = 2000
_LEAST_BLOCKS = 10  # of fewer there is no interval to speak of
_LEVEL = 0.95


@dataclass(frozen=True)
class Saving:
    """What one thing saves over another, as a share of the other; negative: it costs more.

    low, high: an interval of 95 %; None where there are too few requests for one.
    """

    share: float
    low: float | None = None
    high: float | None = None

    @property
    def is_within_noise(self) -> bool:
        """Whether it may as well be nothing, or there is no telling."""
        return self.low is None or self.high is None or self.low <= 0 <= self.high


@dataclass(frozen=True)
class BlockDraws:
    """Which blocks are drawn, the same for all that is compared: equal rows get equal intervals.

    length: requests of a block. draws: (draws, blocks), where each block begins, as a share of all.
    """

    length: int
    draws: NDArray[np.float64]

    def saving(self, old: Array, new: Array) -> Saving:
        """What `new` saves over `old` in the mean. Both: of the same requests, in order of time."""
        share = _share(float(old.sum()), float(new.sum()))
        if self.draws.shape[1] < _LEAST_BLOCKS:
            return Saving(share)
        starts = (self.draws * len(old)).astype(int)
        sums = [self._sums(values)[starts].sum(axis=1).tolist() for values in (old, new)]
        shares = sorted(map(_share, *sums))
        outside = int((1 - _LEVEL) / 2 * len(shares))
        return Saving(share, shares[outside], shares[-1 - outside])

    def _sums(self, values: Array) -> Array:
        """Of the block that begins at each place."""
        length, count = min(self.length, len(values)), len(values)
        until = np.concatenate([[0.0], np.cumsum(np.concatenate([values, values[:length]]))])
        sums: Array = until[length : length + count] - until[:count]
        return sums


def blocks_of(count: int, generator: np.random.Generator) -> BlockDraws:
    """Of so many requests, each block of their square root: length and number grow together."""
    length = max(1, math.isqrt(count))
    return BlockDraws(length, generator.random((_DRAWS, math.ceil(count / length))))


def _share(old: float, new: float) -> float:
    return round(1 - new / old, 12) if old > 0 else 0.0  # sums of the same differ in the last bits
