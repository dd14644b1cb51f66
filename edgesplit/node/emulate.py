"""Slower tiers and links on one machine. Every figure that passed through here is 'emulated'.

A tier is slowed by waiting after real work; shaper.py holds real frames back at the sender.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgesplit.errors import ConfigError

Pair = tuple[str, str]


@dataclass(frozen=True)
class LinkShape:
    """What a directed link is held to: a rate and the time until the first byte arrives."""

    bytes_per_s: float
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        if not (self.bytes_per_s > 0 and self.latency_s >= 0 and math.isfinite(self.latency_s)):
            raise ConfigError(f"a link needs a rate > 0 bytes/s and latency >= 0 s, given {self}")


@dataclass(frozen=True)
class Emulation:
    """Slowdown per tier (1.0: as fast as this machine) and shape per directed link.

    links None: every pair of tiers is connected and unshaped. Otherwise the pairs named are the
    links that exist.
    """

    slowdown: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[Pair, LinkShape] | None = None

    def __post_init__(self) -> None:
        for tier, factor in self.slowdown.items():
            if not (math.isfinite(factor) and factor >= 1):
                raise ConfigError(f"tier {tier!r}: slowdown must be 1 or more, given {factor}")

    @property
    def is_off(self) -> bool:
        """Whether nothing is slowed and no link is shaped."""
        return all(f == 1 for f in self.slowdown.values()) and not self.links

    def tier(self, name: str) -> "TierEmulation":
        """The part that one tier carries out."""
        links = self.links or {}
        shapes = {target: shape for (source, target), shape in links.items() if source == name}
        return TierEmulation(self.slowdown.get(name, 1.0), shapes)

    def with_link(self, source: str, target: str, shape: LinkShape) -> "Emulation":
        """The same emulation with the link and its reverse held to `shape`."""
        links = {**(self.links or {}), (source, target): shape, (target, source): shape}
        return replace(self, links=links)

    def with_slowdown(self, tier: str, factor: float) -> "Emulation":
        """The same emulation with one tier's slowdown set."""
        return replace(self, slowdown={**self.slowdown, tier: factor})


@dataclass(frozen=True)
class TierEmulation:
    """One tier's slowdown and the shapes of the links that leave it, by target."""

    slowdown: float = 1.0
    shapes: Mapping[str, LinkShape] = field(default_factory=dict)

    def extra_s(self, compute_s: float) -> float:
        """How long to wait after computing for `compute_s`."""
        return compute_s * (self.slowdown - 1.0)
