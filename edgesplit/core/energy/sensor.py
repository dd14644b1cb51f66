"""What a sensor is: what it covers, how fine, how old its figures are, where that is known from.

Scopes nest: what one covers may lie inside another. Energy of overlapping scopes is never added.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgesplit.errors import MeterError

# counter: cumulative joules. power: watts, now or averaged. model: watts that are assumed.
Kind = Literal["counter", "power", "model"]
Scope = Literal[
    "wall", "battery", "board input", "board rails", "platform", "cpu package", "dram", "gpu",
    "device",
]  # fmt: skip

# What lies inside each scope. `device` is a whole device whose watts are assumed.
_CHIPS = frozenset({"cpu package", "dram", "gpu"})
_BOARD = _CHIPS | {"board rails", "platform"}
_INSIDE: dict[Scope, frozenset[str]] = {
    "wall": _BOARD | {"battery", "board input", "device"},
    "battery": _BOARD | {"board input", "device"},
    "board input": _BOARD | {"device"},
    "board rails": _CHIPS | {"device"},
    "platform": frozenset({"cpu package", "dram", "device"}),
    "cpu package": frozenset(),
    "dram": frozenset(),
    "gpu": frozenset(),
    "device": _CHIPS,
}


@dataclass(frozen=True)
class SensorInfo:
    """One sensor of joules.

    id: its name for --meter, such as `rapl`. update_s: between two new figures. averaging_s: the
    window over which a power figure is averaged, 0 if instantaneous. resolution: the smallest
    step, in joules of a counter, in watts of power. rel_accuracy: k=1, of what is shown; NaN where
    none is stated. excludes: what the device draws that is not covered. provenance: where these
    figures come from, and any calibration.
    """

    id: str
    scope: Scope
    kind: Kind
    update_s: float
    averaging_s: float
    resolution: float
    rel_accuracy: float
    excludes: tuple[str, ...]
    provenance: str

    def __post_init__(self) -> None:
        if self.scope not in _INSIDE:
            raise MeterError(f"{self.id}: unknown scope {self.scope!r}; one of {list(_INSIDE)}")
        sizes = (self.update_s, self.averaging_s, self.resolution)
        if not all(math.isfinite(size) and size >= 0 for size in sizes):
            raise MeterError(
                f"{self.id}: update, averaging, resolution must be finite, >= 0, given {sizes}"
            )

    @property
    def is_measured(self) -> bool:
        """Whether its figures come from a sensor."""
        return self.kind != "model"


def overlaps(one: Scope, other: Scope) -> bool:
    """Whether some joule may be counted in both scopes."""
    return one == other or other in _INSIDE[one] or one in _INSIDE[other]


def check_disjoint(infos: Sequence[SensorInfo]) -> None:
    """Raise MeterError where two of the sensors cover the same joules."""
    for i, one in enumerate(infos):
        for other in infos[i + 1 :]:
            if overlaps(one.scope, other.scope):
                raise MeterError(
                    f"{one.id} ({one.scope}) and {other.id} ({other.scope}) overlap: adding them "
                    "would count joules twice; name one of them"
                )
