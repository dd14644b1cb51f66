"""Intervals of a mean saving, from requests in a row: a paired bootstrap of whole blocks.

Requests that follow each other are alike, so that single ones, drawn independently, would make an
interval too narrow. Blocks go round: the last request is followed by the first (circular block
bootstrap, Politis and Romano 1992).
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

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


def block_length(count: int) -> int:
    """Of so many requests: the square root, which grows with them as the number of blocks does."""
    return max(1, math.isqrt(count))


def saving(
    old: NDArray[np.float64], new: NDArray[np.float64], generator: np.random.Generator
) -> Saving:
    """What `new` saves over `old` in the mean. Both: of the same requests, in order of time."""
    share = _share(float(old.sum()), float(new.sum()))
    length = block_length(len(old))
    blocks = math.ceil(len(old) / length)
    if blocks < _LEAST_BLOCKS:
        return Saving(share)
    starts = generator.integers(0, len(old), (_DRAWS, blocks))
    sums = (_block_sums(values, length)[starts].sum(axis=1) for values in (old, new))
    shares = sorted(_share(float(a), float(b)) for a, b in zip(*sums, strict=True))
    outside = int((1 - _LEVEL) / 2 * _DRAWS)
    return Saving(share, shares[outside], shares[-1 - outside])


def _block_sums(values: NDArray[np.float64], length: int) -> NDArray[np.float64]:
    """Of the block that begins at each place."""
    count, again = len(values), np.concatenate([values, values[:length]])
    until = np.concatenate([[0.0], np.cumsum(again)])
    sums: NDArray[np.float64] = until[length : length + count] - until[:count]
    return sums


def _share(old: float, new: float) -> float:
    return round(1 - new / old, 12) if old > 0 else 0.0  # sums of the same differ in the last bits
