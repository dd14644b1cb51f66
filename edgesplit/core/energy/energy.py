"""A figure of energy as it is shown and stored: never a bare number.

It says what it covers, whether it was measured, what is charged, and how sure it is.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgesplit.core.goal import Boundary
from edgesplit.errors import MeterError

K = 2.0  # coverage factor of what is shown: about 95 % (JCGM 100:2008, GUM)


@dataclass(frozen=True)
class Energy:
    """Joules with their standard uncertainty u_j (k=1), NaN where none is known.

    scope: what they cover, such as `cpu package`; of a sum, all of them. flags: what to know
    before relying on it, such as `counter was reset`.
    """

    joules: float
    u_j: float
    scope: str
    kind: Literal["measured", "modelled", "measured and modelled"]
    boundary: Boundary
    provenance: str
    flags: tuple[str, ...] = ()

    @property
    def is_resolved(self) -> bool:
        """Whether the figure stands out of its own uncertainty; where none is known it does."""
        if math.isnan(self.u_j) or math.isnan(self.joules):
            return True
        return self.joules == self.u_j == 0 or self.joules > K * self.u_j

    @property
    def bound_j(self) -> float:
        """What the energy is below with k=2; NaN where no uncertainty is known."""
        return max(0.0, self.joules) + K * self.u_j

    def __str__(self) -> str:
        if math.isnan(self.joules):
            return "not known (the meter failed)"
        if math.isnan(self.u_j) or not self.u_j:
            return f"{self.joules:.3g} J"
        if not self.is_resolved:
            return f"below resolution (under {self.bound_j:.2g} J)"
        u_j = K * self.u_j
        places = max(0, 1 - math.floor(math.log10(u_j)))
        return f"{self.joules:.{places}f} ± {u_j:.{places}f} J"

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON; null where a figure is not known or does not stand out."""
        is_known = self.is_resolved and not math.isnan(self.joules)
        return {
            "joules": self.joules if is_known else None,
            "k2_j": None if math.isnan(self.u_j) else K * self.u_j,
            "below_j": self.bound_j if not self.is_resolved else None,
            "scope": self.scope,
            "kind": self.kind,
            "boundary": self.boundary,
            "source": self.provenance,
            "flags": list(self.flags),
        }

    def describe(self) -> str:
        """What the figure is, in words for a table's foot."""
        uncertain = "no uncertainty known" if math.isnan(self.u_j) else "± is k=2"
        words = [
            f"{self.kind}, {self.scope}, {self.boundary} boundary, {self.provenance}, {uncertain}"
        ]
        return "; ".join([*words, *self.flags])


def total(parts: Sequence[Energy]) -> Energy:
    """The sum of independent figures; says so where their scopes differ.

    Raises MeterError for none, or for different boundaries.
    """
    boundaries = {part.boundary for part in parts}
    if len(boundaries) != 1:
        raise MeterError(f"energies of one boundary can be added, given {sorted(boundaries)}")
    scopes, kinds = _all([p.scope for p in parts]), _all([p.kind for p in parts])
    flags = _all([flag for part in parts for flag in part.flags])
    if len(scopes) > 1:
        flags = (*flags, f"adds different scopes: {', '.join(scopes)}")
    return Energy(
        sum(part.joules for part in parts),
        math.sqrt(sum(part.u_j**2 for part in parts)),
        " + ".join(scopes),
        parts[0].kind if len(kinds) == 1 else "measured and modelled",
        parts[0].boundary,
        " + ".join(_all([part.provenance for part in parts])),
        flags,
    )


def _all(values: Sequence[str]) -> tuple[str, ...]:
    """Each value once, in order."""
    return tuple(dict.fromkeys(values))
