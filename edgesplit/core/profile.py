"""What is known of the tiers and links: seconds, watts, rates, and where each figure came from."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from edgesplit.core.energy.metering import Metering
from edgesplit.core.power import Power
from edgesplit.errors import ProfileError, UnknownNameError


@dataclass(frozen=True)
class Tier:
    """One tier: seconds per layer on the calibrated input, its slowdown now, its power.

    slowdown is the online ratio measured / profiled: 2.0 runs at half the profiled speed.
    metering: how the joules of its samples come about; None: as the power has it.
    """

    name: str
    layer_s: tuple[float, ...]
    power: Power
    slowdown: float = 1.0
    source: str = "given"
    metering: Metering | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(s) and s >= 0 for s in self.layer_s):
            raise ProfileError(f"tier {self.name!r}: layer seconds must be finite and >= 0")
        if not (math.isfinite(self.slowdown) and self.slowdown > 0):
            raise ProfileError(f"tier {self.name!r}: slowdown must be > 0, given {self.slowdown}")

    @property
    def meter(self) -> Metering:
        """How the joules of its samples come about."""
        return self.metering or Metering(self.power.scope, "modelled", self.power.source)


@dataclass(frozen=True)
class Link:
    """A directed connection: seconds until the first byte, then bytes per second."""

    source: str
    target: str
    latency_s: float
    bytes_per_s: float
    origin: str = "given"

    def __post_init__(self) -> None:
        if not (math.isfinite(self.latency_s) and self.latency_s >= 0 and self.bytes_per_s > 0):
            raise ProfileError(
                f"link {self.source}->{self.target}: latency must be >= 0 s and the rate > 0 "
                f"bytes/s, given {self.latency_s} s and {self.bytes_per_s} bytes/s"
            )

    @property
    def pair(self) -> tuple[str, str]:
        """(source, target)."""
        return (self.source, self.target)


@dataclass(frozen=True)
class Norms:
    """What divides the three terms of the score: the all-on-end plan's values at calibration."""

    end_energy_j: float
    total_energy_j: float
    latency_s: float


@dataclass(frozen=True)
class Profile:
    """Tiers (first the one that holds the input), the links between them, the score's norms.

    Every link has its reverse, since a reply goes back along the route. norms None: taken from
    the profile itself, as at calibration.
    """

    tiers: tuple[Tier, ...]
    links: tuple[Link, ...]
    norms: Norms | None = None

    def __post_init__(self) -> None:
        names = self.names
        if not names or len(set(names)) != len(names):
            raise ProfileError(f"tier names must be there and differ, given {list(names)}")
        if len({len(tier.layer_s) for tier in self.tiers}) != 1:
            sizes = {tier.name: len(tier.layer_s) for tier in self.tiers}
            raise ProfileError(f"tiers were profiled on different layer counts: {sizes}")
        pairs = [link.pair for link in self.links]
        if len(set(pairs)) != len(pairs):
            raise ProfileError(f"a link is given twice: {pairs}")
        for source, target in pairs:
            if source not in names or target not in names or source == target:
                raise ProfileError(f"link {source}->{target}: tiers are {', '.join(names)}")
            if (target, source) not in pairs:
                raise ProfileError(
                    f"link {source}->{target} has no reverse; replies need {target}->{source}"
                )

    @property
    def names(self) -> tuple[str, ...]:
        """Tier names, first the one that holds the input."""
        return tuple(tier.name for tier in self.tiers)

    @property
    def source(self) -> str:
        """The tier that holds the input: the end device."""
        return self.tiers[0].name

    def tier(self, name: str) -> Tier:
        """The tier of that name. Raises UnknownNameError."""
        for tier in self.tiers:
            if tier.name == name:
                return tier
        raise UnknownNameError(f"no tier {name!r}; known: {', '.join(self.names)}")

    def link(self, source: str, target: str) -> Link | None:
        """The link source -> target, None where there is none."""
        for link in self.links:
            if link.pair == (source, target):
                return link
        return None

    def with_tier(self, tier: Tier) -> "Profile":
        """The same profile with the tier of that name replaced."""
        tiers = tuple(tier if old.name == tier.name else old for old in self.tiers)
        return replace(self, tiers=tiers)

    def with_link(self, link: Link) -> "Profile":
        """The same profile with that link replaced."""
        links = tuple(link if old.pair == link.pair else old for old in self.links)
        return replace(self, links=links)

    def without(self, lost: Sequence[str]) -> "Profile":
        """The same profile without the links of the tiers in `lost`, so that no plan uses them."""
        links = tuple(ln for ln in self.links if ln.source not in lost and ln.target not in lost)
        return replace(self, links=links)
