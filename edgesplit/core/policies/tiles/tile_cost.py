"""Machines that share tiles, and what a division among them takes."""

from dataclasses import dataclass

from edgesplit.core.given import is_finite
from edgesplit.core.policies.tiles.conv_stack import Interval
from edgesplit.errors import PlanError


@dataclass(frozen=True)
class TileDevice:
    """A machine that computes tiles. Of several, the first holds the input and wants the output.

    macs_per_s: multiply-adds per second. bytes_per_s: between it and any other. compute_w,
    transmit_w: above an idle device's, while it computes and while it sends or receives.
    Raises PlanError for a rate of 0 or negative watts.
    """

    name: str
    macs_per_s: float
    bytes_per_s: float
    compute_w: float = 0.0
    transmit_w: float = 0.0

    def __post_init__(self) -> None:
        rates, watts = (self.macs_per_s, self.bytes_per_s), (self.compute_w, self.transmit_w)
        if not (all(r > 0 for r in rates) and all(is_finite(w) and w >= 0 for w in watts)):
            raise PlanError(
                f"device {self.name!r}: rates must be above 0 and watts 0 or more, given {rates} "
                f"and {watts}"
            )


@dataclass(frozen=True)
class TileRun:
    """Layers start to stop - 1 on one device, of whose output it makes these rows and columns."""

    device: str
    start: int
    stop: int
    rows: Interval
    columns: Interval


@dataclass(frozen=True)
class TileCost:
    """What a division takes: seconds from the input to the output on the first device, joules of
    all devices, and which device runs what.
    """

    seconds: float
    joules: float
    runs: tuple[TileRun, ...]


@dataclass(frozen=True)
class Spent:
    """Seconds that a device computes, and that it sends or receives."""

    compute_s: float = 0.0
    transfer_s: float = 0.0

    @property
    def total_s(self) -> float:
        """Both, one after the other."""
        return self.compute_s + self.transfer_s

    def plus(self, other: "Spent") -> "Spent":
        """The sum."""
        return Spent(self.compute_s + other.compute_s, self.transfer_s + other.transfer_s)

    def joules(self, device: TileDevice) -> float:
        """What that is in joules there."""
        return device.compute_w * self.compute_s + device.transmit_w * self.transfer_s
