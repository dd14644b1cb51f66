"""Intervals of 95 % by a paired bootstrap: whole blocks of requests are drawn, for all policies the
same, so that what one request does to the next stays in them (moving blocks, Kuensch 1989).
"""

from dataclasses import dataclass

import numpy as np

from experiments.head_to_head.served import Floats

DRAWS = 1000
LEVEL = 0.95
_NOTHING = 1e-9
BLOCK = 25  # requests, where they depend on one another


@dataclass(frozen=True)
class Interval:
    """From low to high with the given level."""

    low: float
    high: float

    @property
    def has_zero(self) -> bool:
        """Whether nothing at all is possible, rounding aside."""
        return self.low <= _NOTHING and self.high >= -_NOTHING


def drawn_means(values: Floats, block: int, generator: np.random.Generator) -> Floats:
    """Means of as many requests as there are, in drawn blocks: (DRAWS, policies).

    values: (policies, requests). The last block goes on with the first requests.
    """
    requests = values.shape[1]
    block = min(block, requests)
    wrapped = np.concatenate([values, values[:, : block - 1]], axis=1) if block > 1 else values
    sums = np.concatenate([np.zeros((len(values), 1)), np.cumsum(wrapped, axis=1)], axis=1)
    of_block = sums[:, block:] - sums[:, :-block]
    starts = generator.integers(0, requests, (DRAWS, max(1, round(requests / block))))
    return np.asarray(of_block[:, starts].mean(axis=2).T / block)


def interval(draws: Floats) -> Interval:
    """The middle of what was drawn. Infinite draws stay so."""
    tail = (1 - LEVEL) / 2
    low, high = np.quantile(draws, (tail, 1 - tail), method="nearest")
    return Interval(float(low), float(high))
