"""Watts of each phase from measured blocks with different mixes of phases; joules from seconds.

Least squares of joules on seconds (GUM, JCGM 100:2008, H.3): no meter needs to be fast enough to
see a phase by itself, only blocks that differ in their mix.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.energy.energy import K
from edgesplit.core.power import PHASES
from edgesplit.errors import MeterError

Floats = NDArray[np.float64]
# Mixes that differ less than one part in this many, of their own length, tell nothing apart.
WORST_CONDITION = 1e3


@dataclass(frozen=True)
class Block:
    """One measured block: seconds spent in each phase, its joules and their u (k=1)."""

    seconds: Mapping[str, float]
    joules: float
    u_j: float

    def __post_init__(self) -> None:
        seconds = list(self.seconds.values())
        if not all(math.isfinite(s) and s >= 0 for s in seconds) or sum(seconds) <= 0:
            raise MeterError(f"a block holds seconds >= 0, some above, given {dict(self.seconds)}")
        if not math.isfinite(self.joules) or not 0 < self.u_j < math.inf:
            raise MeterError(
                f"a block holds finite joules with an uncertainty above 0, given {self.joules} J "
                f"and {self.u_j} J"
            )


@dataclass(frozen=True)
class PhasePowers:
    """Watts of the named phases, in order, and their covariance (W squared)."""

    names: tuple[str, ...]
    watts: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def energy(self, seconds: Mapping[str, float]) -> tuple[float, float]:
        """Joules of so many seconds of each phase, and their u_j (k=1).

        Raises MeterError for a phase whose power is not known.
        """
        _check_names(seconds, self.names)
        row = np.array([seconds.get(name, 0.0) for name in self.names])
        variance = float(row @ np.array(self.covariance) @ row)
        return float(row @ np.array(self.watts)), math.sqrt(max(variance, 0.0))


def fit_phases(
    blocks: Sequence[Block], names: Sequence[str] = PHASES, gain: float = 0.0
) -> PhasePowers:
    """The watts of `names` that fit the blocks best, weighted by their uncertainties.

    gain: the part of those, relative and k=1, that the meter's gain is off by: the same in every
    block, so that no number of blocks averages it away.

    The covariance is scaled up where blocks scatter more than their uncertainties allow. Power
    below 0 within its uncertainty (k=2) becomes 0.

    Raises MeterError where the mixes do not tell the phases apart, for a block with a phase that
    is not in `names`, and for power that is clearly below 0.
    """
    for block in blocks:
        _check_names(block.seconds, names)
    seconds = np.array([[b.seconds.get(name, 0.0) for name in names] for b in blocks])
    _check_apart(seconds.reshape(len(blocks), len(names)), names)
    joules, u_j = (np.array([getattr(b, key) for b in blocks]) for key in ("joules", "u_j"))
    u_j = np.sqrt(np.maximum(u_j**2 - (gain * joules) ** 2, (1e-3 * u_j) ** 2))
    rows = seconds / u_j[:, None]
    watts = np.linalg.lstsq(rows, joules / u_j, rcond=None)[0]
    covariance = np.linalg.inv(rows.T @ rows) * _excess(rows @ watts - joules / u_j, len(names))
    u_w = np.sqrt(np.diag(covariance))
    covariance = covariance + gain**2 * np.outer(watts, watts)
    return PhasePowers(
        tuple(names),
        _not_negative(names, watts, u_w),
        tuple(tuple(float(value) for value in row) for row in covariance),
    )


def _excess(residuals: Floats, unknowns: int) -> float:
    """Chi squared per degree of freedom where above 1, else 1."""
    freedom = len(residuals) - unknowns
    return max(1.0, float(residuals @ residuals) / freedom) if freedom > 0 else 1.0


def _check_names(seconds: Mapping[str, float], names: Sequence[str]) -> None:
    unknown = [name for name, length_s in seconds.items() if name not in names and length_s > 0]
    if unknown:
        raise MeterError(
            f"no power is known of {', '.join(unknown)}, only of {', '.join(names)}",
            "measure blocks with it",
        )


def _check_apart(seconds: Floats, names: Sequence[str]) -> None:
    """Raise MeterError where the mixes of phases do not determine each one's power."""
    absent = [name for name, column in zip(names, seconds.T, strict=True) if not column.any()]
    if absent:
        raise MeterError(
            f"no block holds {', '.join(absent)}, so its power is not known",
            f"measure a block that is mostly {absent[0]}",
        )
    shares = seconds / seconds.sum(axis=1, keepdims=True)
    _, sizes, mixes = np.linalg.svd(shares, full_matrices=len(shares) < len(names))
    if len(sizes) < len(names) or sizes[0] > WORST_CONDITION * sizes[-1]:
        mixed = [name for name, part in zip(names, mixes[-1], strict=True) if abs(part) > 0.1]
        raise MeterError(
            f"the {len(shares)} blocks do not tell {', '.join(mixed)} apart: their mixes are "
            "too much alike",
            f"measure a block that is mostly {mixed[0]}, and one without it",
        )


def _not_negative(names: Sequence[str], watts: Floats, u_w: Floats) -> tuple[float, ...]:
    for name, power_w, sure_w in zip(names, watts, u_w, strict=True):
        if power_w < -K * sure_w:
            raise MeterError(
                f"the blocks give {name} {power_w:.3g} W ± {K * sure_w:.2g}, clearly below 0: "
                "the phases' seconds or the joules of some block are wrong",
                "measure the blocks again, with the machine otherwise at rest",
            )
    return tuple(max(0.0, float(power_w)) for power_w in watts)
