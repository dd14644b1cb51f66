"""Meters: cumulative joule counters of one device. One seam, several sources."""

from typing import Literal, Protocol

Phase = Literal["compute", "transmit", "receive", "wait"]


class Meter(Protocol):
    """A cumulative joule counter which says what it covers and how it knows.

    scope: what the joules cover. kind: 'modelled' or 'measured'. source: id of the method.
    """

    scope: str
    kind: Literal["modelled", "measured"]
    source: str

    def enter(self, phase: Phase) -> None:
        """Tell the meter what the device does from now on. Hardware meters need not care."""

    def read_j(self) -> float:
        """Joules since the meter was made."""
