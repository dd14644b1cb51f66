"""How one tier's joules come about: what its meter covers, and whether it measures or models."""

import math
from dataclasses import dataclass
from typing import Literal

from edgesplit.core.energy.sensor import Scope, overlaps


@dataclass(frozen=True)
class Metering:
    """What is known of a tier's meter.

    name: what it is opened with, such as `rapl`; covers: place and scope of each of its sensors;
    both empty where none is read. rel_accuracy: as SensorInfo has it.
    flags: what to know before relying on its joules.
    """

    scope: str
    kind: Literal["measured", "modelled"]
    provenance: str
    name: str = ""
    covers: tuple[tuple[str, Scope], ...] = ()
    flags: tuple[str, ...] = ()
    rel_accuracy: float = math.nan

    def shares(self, other: "Metering") -> bool:
        """Whether some joule is counted by both: the same place, and scopes that overlap."""
        return any(
            here == there and overlaps(mine, its)
            for here, mine in self.covers
            for there, its in other.covers
        )

    @property
    def text(self) -> str:
        """One line: kind, scope, provenance and flags."""
        return "; ".join((f"{self.kind}: {self.provenance} ({self.scope})", *self.flags))
