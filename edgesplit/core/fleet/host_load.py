"""What the host of a tier says of itself, once a second at most."""

from dataclasses import dataclass, fields

from edgesplit.core.given import is_finite
from edgesplit.errors import ProfileError

_MOST_C = 500.0


@dataclass(frozen=True)
class HostLoad:
    """One word of a host; None: not known there.

    utilisation: share of its processors that others took since the last word, 0 to 1.
    waiting: seconds that requests of others waited per second that they computed.
    free_bytes, total_bytes: of memory, by the tightest limit.
    temperature_c: of the sensor that is nearest to its throttling temperature, throttles_at_c.
    is_throttled: whether it runs slower than it could, to stay cool or for lack of power.

    Raises ProfileError for a value of the wrong kind or out of range.

    Example:
        >>> HostLoad(utilisation=0.5, temperature_c=61.0, throttles_at_c=80.0).waiting is None
        True
    """

    utilisation: float | None = None
    waiting: float | None = None
    free_bytes: int | None = None
    total_bytes: int | None = None
    temperature_c: float | None = None
    throttles_at_c: float | None = None
    is_throttled: bool | None = None

    def __post_init__(self) -> None:
        for item in fields(self):
            value = getattr(self, item.name)
            if value is not None and not self._is_sane(item.name, value):
                raise ProfileError(f"a host's {item.name} cannot be {value!r}")
        if self.total_bytes == 0:
            raise ProfileError("a host has memory, given total_bytes=0")

    def _is_sane(self, name: str, value: object) -> bool:
        if name == "is_throttled":
            return isinstance(value, bool)
        if not is_finite(value):
            return False
        if name.endswith("_c"):
            return abs(value) <= _MOST_C
        return value >= 0 and (name != "utilisation" or value <= 1)
