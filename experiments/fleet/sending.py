"""When requests are due, and what becomes of shares: pure functions."""

from collections.abc import Sequence

import numpy as np
from numpy.random import Generator


def due_times(rate_per_s: float, seconds: float, generator: Generator | None) -> list[float]:
    """Seconds from the beginning: evenly spaced, or a Poisson process of the generator's.

    Example:
        >>> due_times(2.0, 2.0, None)
        [0.0, 0.5, 1.0, 1.5]
    """
    if generator is None:
        return [n / rate_per_s for n in range(int(rate_per_s * seconds + 1e-9))]
    count = 2 * int(rate_per_s * seconds) + 20  # more than come in that time, but for a chance
    times = np.cumsum(generator.exponential(1 / rate_per_s, count))
    return [float(due_s) for due_s in times[times < seconds]]


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 where all are equal, 1 / n where one has everything.

    Example:
        >>> jain([1.0, 1.0, 1.0])
        1.0
    """
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
