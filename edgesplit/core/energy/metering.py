"""How one tier's joules come about: what its meter covers, and whether it measures or models."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metering:
    """What is known of a tier's meter.

    name: what it is opened by, such as `rapl`; device: tells two meters apart; both empty where
    none is read. flags: what to know before relying on its joules.
    """

    scope: str
    kind: Literal["measured", "modelled"]
    source: str
    name: str = ""
    device: str = ""
    flags: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """One line: kind, scope, source and flags."""
        return "; ".join((f"{self.kind}: {self.source} ({self.scope})", *self.flags))
