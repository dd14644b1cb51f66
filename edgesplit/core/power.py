"""Watts of one tier per phase, and how sure they are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from edgesplit.core.given import is_finite
from edgesplit.errors import ProfileError

PHASES = ("compute", "transmit", "receive", "wait", "idle")


@dataclass(frozen=True)
class Power:
    """Watts of one tier per phase. wait_w counts in the gross boundary only.

    idle_w: what the device draws when it does nothing; the marginal boundary charges what is above.
    provenance: where the watts are from, such as a file or a calibration. scope: what they cover.
    covariance: of the watts in the order of PHASES (W^2); empty where no uncertainty is known.

    Raises ProfileError for watts that are negative or not finite.

    Example:
        >>> Power(compute_w=12, transmit_w=12, receive_w=12, wait_w=2).above_idle_w("compute")
        12.0
    """

    compute_w: float
    transmit_w: float
    receive_w: float
    wait_w: float
    provenance: str = "given"
    idle_w: float = 0.0
    scope: str = "device"
    covariance: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        if not all(is_finite(w) and w >= 0 for w in self.watts):
            raise ProfileError(f"power must be finite watts >= 0 in every phase, given {self}")
        if self.covariance and np.shape(self.covariance) != (len(PHASES), len(PHASES)):
            raise ProfileError(
                f"the covariance of watts is {len(PHASES)} x {len(PHASES)} in the order of "
                f"{', '.join(PHASES)}, given the shape {np.shape(self.covariance)}"
            )

    @property
    def watts(self) -> tuple[float, ...]:
        """In the order of PHASES."""
        return (self.compute_w, self.transmit_w, self.receive_w, self.wait_w, self.idle_w)

    @cached_property
    def is_calibrated(self) -> bool:
        """Whether the watts were measured, with an uncertainty, on the device itself."""
        return bool(self.covariance)

    def above_idle_w(self, phase: str) -> float:
        """What `phase` draws more than an idle device, at least 0."""
        return max(0.0, self.watts[PHASES.index(phase)] - self.idle_w)

    def u_j(self, seconds: Mapping[str, float]) -> float:
        """Standard uncertainty of the joules of so many seconds per phase; NaN if none is known.

        Negative idle seconds are those whose idle draw is taken off.
        """
        if not any(seconds.values()):
            return 0.0
        if not self.covariance:
            return math.nan
        d = np.array([seconds.get(phase, 0.0) for phase in PHASES])
        return float(np.sqrt(max(0.0, d @ np.array(self.covariance) @ d)))
