"""What is known of the tiers and links: seconds, watts, rates, and where each figure came from."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgesplit.core.tier import Tier
from edgesplit.errors import ProfileError, UnknownNameError

__all__ = ["Link", "Norms", "Profile", "Tier"]


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
    def runtimes(self) -> dict[str, str]:
        """The runtime in use of each tier."""
        return {tier.name: tier.runtime for tier in self.tiers}

    @property
    def offered(self) -> dict[str, tuple[str, ...]]:
        """The runtimes each tier has rows of, first the one in use."""
        return {tier.name: tier.runtimes for tier in self.tiers}

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

    def on(self, runtimes: Mapping[str, str]) -> "Profile":
        """The same profile with those rows in use, given by tier; others stay as they are.

        Raises UnknownNameError for an unknown tier, or a runtime that it has no row of.
        """
        profile = self
        for name, runtime in runtimes.items():
            profile = profile.with_tier(self.tier(name).on(runtime))
        return profile

    def with_link(self, link: Link) -> "Profile":
        """The same profile with that link replaced."""
        links = tuple(link if old.pair == link.pair else old for old in self.links)
        return replace(self, links=links)

    def without(self, lost: Sequence[str]) -> "Profile":
        """The same profile without the links of the tiers in `lost`, so that no plan uses them."""
        links = tuple(ln for ln in self.links if ln.source not in lost and ln.target not in lost)
        return replace(self, links=links)
