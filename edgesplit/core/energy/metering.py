"""How one tier's joules come about: what its meter covers, and whether it measures or models."""

import math
from dataclasses import dataclass
from typing import Literal

from edgesplit.core.energy.source import Scope, overlaps


@dataclass(frozen=True)
class Metering:
    """What is known of a tier's meter.

    name: what it is opened by, such as `rapl`; covers: the place and scope of each of its sources;
    both empty where none is read. rel_accuracy: as SourceInfo has it.
    flags: what to know before relying on its joules.
    """

    scope: str
    kind: Literal["measured", "modelled"]
    source: str
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
        """One line: kind, scope, source and flags."""
        return "; ".join((f"{self.kind}: {self.source} ({self.scope})", *self.flags))
