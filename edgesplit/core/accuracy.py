"""What an approximation costs in accuracy, from paired outcomes, with its interval of 95 %."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgesplit.errors import InputError

Z = 1.96  # of a normal distribution: 95 % lie within so many standard deviations
_OVER = 1e-12  # what rounding may add


@dataclass(frozen=True)
class Loss:
    """Of accuracy, as a share of the examples, or of their magnitude. count: of examples.

    lower, upper: ends of the interval that holds the true loss with 95 %. A negative loss is a
    gain. Where there were no examples it is anything.
    """

    share: float
    lower: float
    upper: float
    count: int

    @property
    def most(self) -> float:
        """What it is to be held for, from 0 to 1: the upper end; all where that is not known.

        Example:
            >>> paired_loss(worse=0, better=900, count=1000).most, UNKNOWN_LOSS.most
            (0.0, 1.0)
        """
        return min(1.0, max(0.0, self.upper)) if math.isfinite(self.upper) else 1.0

    def __str__(self) -> str:
        return f"{self.share:.2%} ({self.lower:.2%} to {self.upper:.2%}, {self.count} examples)"


UNKNOWN_LOSS = Loss(0.0, -math.inf, math.inf, 0)


def paired_loss(worse: int, better: int, count: int, z: float = Z) -> Loss:
    """Of `count` examples that both ways answered: those right before only, and after only.

    The interval is the adjusted Wald one for a difference of paired shares (Agresti and Min,
    Statistics in Medicine 24, 2005): half an example is added to each of the four outcomes. z: so
    many standard deviations wide to each side, here and below.

    Example:
        >>> print(paired_loss(worse=3, better=1, count=1000))
        0.20% (-0.24% to 0.64%, 1000 examples)
    """
    _check(worse, better, count)
    if not count:
        return UNKNOWN_LOSS
    n, b, c = count + 2, worse + 0.5, better + 0.5
    middle = (b - c) / n
    deviation = math.sqrt(b + c - (b - c) ** 2 / n) / n
    return Loss((worse - better) / count, middle - z * deviation, middle + z * deviation, count)


def share_of(different: int, count: int, z: float = Z) -> Loss:
    """Of `count` examples, those that are answered differently: the score interval (Wilson 1927).

    Example:
        >>> print(share_of(different=0, count=1000))
        0.00% (0.00% to 0.38%, 1000 examples)
    """
    _check(different, 0, count)
    if not count:
        return UNKNOWN_LOSS
    share, z2 = different / count, z * z
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = z / (1 + z2 / count) * math.sqrt(share * (1 - share) / count + z2 / (4 * count**2))
    return Loss(share, max(0.0, middle - half), min(1.0, middle + half + _OVER), count)


def mean_loss(losses: Sequence[float], z: float = Z) -> Loss:
    """Of losses per example: their mean, by the central limit theorem.

    Example:
        >>> print(mean_loss([0.01, 0.02, 0.03]))
        2.00% (0.87% to 3.13%, 3 examples)
    """
    count = len(losses)
    if count < 2:
        return Loss(losses[0], -math.inf, math.inf, 1) if count else UNKNOWN_LOSS
    mean = math.fsum(losses) / count
    variance = math.fsum((loss - mean) ** 2 for loss in losses) / (count - 1)
    half = z * math.sqrt(variance / count)
    return Loss(mean, mean - half, mean + half, count)


def examples_needed(max_loss: float, are_labelled: bool) -> int:
    """Examples below which no loss can be shown to stay within that, were all answered alike.

    Example:
        >>> examples_needed(0.005, are_labelled=True), examples_needed(0.005, are_labelled=False)
        (390, 765)
    """
    if are_labelled:  # paired_loss(0, 0, count).upper, solved for count
        return max(1, math.ceil(Z / max_loss) - 2)
    return max(1, math.ceil(Z * Z * (1 / max_loss - 1)))


def _check(first: int, second: int, count: int) -> None:
    if not (first >= 0 and second >= 0 and first + second <= count):
        raise InputError(f"{first} and {second} outcomes of {count} examples cannot be")
