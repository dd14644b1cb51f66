"""How hard a host is pressed by the work of others, by its heat and by its memory.

A pressure is 0 for an empty, cool host, and 1 at the limit of its kind; it grows with the square of
the way from where it begins, so that a plan that is near the limit is left before it is reached.
"""

import math
from dataclasses import astuple, dataclass, fields

from edgesplit.core.fleet.host_load import HostLoad
from edgesplit.core.given import is_finite
from edgesplit.errors import ProfileError

# Where a pressure begins and where it is 1. Utilisation: below a tenth are a system's own services;
# at 0.7 a request waits 2.3 times as long as it runs (M/M/1). A machine throttles at its trip
# point. Where 7 % of the memory is left, segments are refused (node/process/headroom.py).
LOAD_FROM, LOAD_LIMIT = 0.1, 0.7
COOL_K = 15.0
MEMORY_FROM, MEMORY_LIMIT = 0.75, 0.93
_THROTTLED = 1.5  # at least, while a host says that it runs slower than it could
_NOTHING = 1e-3  # what is left of a pressure that has gone counts as 0


@dataclass(frozen=True)
class Pressure:
    """Of one tier, per kind. Raises ProfileError for one that is negative or not finite.

    Example:
        >>> Pressure(temperature=0.25).total(load=0.1, temperature=0.2, memory=0.1)
        0.05
    """

    load: float = 0.0
    temperature: float = 0.0
    memory: float = 0.0

    def __post_init__(self) -> None:
        if not all(is_finite(value) and value >= 0 for value in astuple(self)):
            raise ProfileError(f"pressures must be finite numbers >= 0, given {self}")

    def total(self, load: float, temperature: float, memory: float) -> float:
        """The sum of the pressures, weighted so."""
        return load * self.load + temperature * self.temperature + memory * self.memory

    def moved(self, towards: "Pressure", share: float) -> "Pressure":
        """That share of the way to another one; what is all but gone is 0."""
        mixed = (a + share * (b - a) for a, b in zip(astuple(self), astuple(towards), strict=True))
        return Pressure(*(value if value > _NOTHING else 0.0 for value in mixed))

    def words(self) -> str:
        """The kinds that press, for people: `load 0.80, memory 0.10`."""
        named = ((item.name, getattr(self, item.name)) for item in fields(self))
        return ", ".join(f"{name} {value:.2f}" for name, value in named if value)


NO_PRESSURE = Pressure()


def pressure_of(host: HostLoad) -> Pressure:
    """The pressures that follow from a host's word; 0 where it says nothing.

    Example:
        >>> pressure_of(HostLoad(utilisation=0.4)).load
        0.25
    """
    return Pressure(_of_load(host), _of_heat(host), _of_memory(host))


def settled_share(elapsed_s: float, settle_s: float) -> float:
    """The share of a change to believe after so long, where settle_s is the time constant."""
    return 1.0 if settle_s <= 0 else 1 - math.exp(-elapsed_s / settle_s)


def _of_load(host: HostLoad) -> float:
    busy = host.utilisation or 0.0
    if host.waiting is not None:  # of a queue M/M/1 that waits so long: what the host cannot show
        busy = max(busy, host.waiting / (1 + host.waiting))
    return _rising(busy, LOAD_FROM, LOAD_LIMIT)


def _of_heat(host: HostLoad) -> float:
    least = _THROTTLED if host.is_throttled else 0.0
    if host.temperature_c is None or host.throttles_at_c is None:
        return least
    limit_c = host.throttles_at_c
    return max(least, _rising(host.temperature_c, limit_c - COOL_K, limit_c))


def _of_memory(host: HostLoad) -> float:
    if host.free_bytes is None or host.total_bytes is None:
        return 0.0
    return _rising(1 - host.free_bytes / host.total_bytes, MEMORY_FROM, MEMORY_LIMIT)


def _rising(value: float, begin: float, limit: float) -> float:
    return max(0.0, (value - begin) / (limit - begin)) ** 2
