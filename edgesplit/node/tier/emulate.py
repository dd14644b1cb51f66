"""Slower tiers and links on one machine. Every figure that passed through here is 'emulated'.

A tier is slowed by waiting after real work; shaper.py holds real frames back at the sender.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from edgesplit.core.given import is_finite, is_name, is_number
from edgesplit.errors import ConfigError

Pair = tuple[str, str]


@dataclass(frozen=True)
class LinkShape:
    """What a directed link is held to: a rate, and the seconds until the first byte arrives.

    Raises ConfigError for a rate of 0 or a negative latency.

    Example:
        >>> LinkShape(bytes_per_s=5e6 / 8, latency_s=0.002)  # 5 Mbit/s
        LinkShape(bytes_per_s=625000.0, latency_s=0.002)
    """

    bytes_per_s: float
    latency_s: float = 0.0

    def __post_init__(self) -> None:
        is_rate = is_number(self.bytes_per_s) and self.bytes_per_s > 0
        if not (is_rate and is_finite(self.latency_s) and self.latency_s >= 0):
            raise ConfigError(f"a link needs a rate > 0 bytes/s and latency >= 0 s, given {self}")


@dataclass(frozen=True)
class Emulation:
    """Slower tiers and links on one machine: a slowdown by tier, a shape by directed link.

    slowdown: factors of 1 or more; tiers left out have 1, this machine's own speed.
    links: shapes by pair of tiers; other pairs have no link. None: all pairs are linked, unshaped.

    Raises ConfigError for a value of the wrong kind or out of range.

    Example:
        >>> slow = Emulation(slowdown={"end": 5.0})
        >>> slow.with_link("end", "edge", LinkShape(5e6 / 8)).links["edge", "end"].bytes_per_s
        625000.0
    """

    slowdown: Mapping[str, float] = field(default_factory=dict)
    links: Mapping[Pair, LinkShape] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.slowdown, Mapping):
            raise ConfigError(f"slowdown must be factors by tier, given {self.slowdown!r}")
        for tier, factor in self.slowdown.items():
            if not (is_name(tier) and is_finite(factor) and factor >= 1):
                raise ConfigError(f"tier {tier!r}: slowdown must be 1 or more, given {factor!r}")
        if self.links is not None:
            self._check_links(self.links)

    def _check_links(self, links: object) -> None:
        if not isinstance(links, Mapping):
            raise ConfigError(f"links must be shapes by pair of tiers, or None, given {links!r}")
        for pair, shape in links.items():
            is_pair = isinstance(pair, tuple) and len(pair) == 2 and all(map(is_name, pair))
            if not (is_pair and pair[0] != pair[1] and isinstance(shape, LinkShape)):
                raise ConfigError(
                    "links are LinkShape by two different tiers, as in ('end', 'edge'), given "
                    f"{pair!r}: {shape!r}"
                )

    @property
    def is_off(self) -> bool:
        """Whether nothing is slowed and no link is shaped."""
        return all(f == 1 for f in self.slowdown.values()) and not self.links

    @property
    def tiers(self) -> frozenset[str]:
        """Every tier that it names."""
        return frozenset(self.slowdown).union(*(self.links or ()))

    def named(self, roles: Mapping[str, str]) -> "Emulation":
        """The same for nodes: what is given for a role holds for each node of it.

        roles: by name of the node.
        """
        of: dict[str, list[str]] = {}
        for name, role in roles.items():
            of.setdefault(role, []).append(name)
            of.setdefault(name, []).append(name)
        slowdown = {
            name: self.slowdown[given]
            for given in sorted(self.slowdown, key=lambda one: one in roles)  # a name counts last
            for name in of.get(given, [given])
        }
        if self.links is None:
            return Emulation(slowdown)
        links = {
            (one, other): shape
            for (source, target), shape in self.links.items()
            for one in of.get(source, [source])
            for other in of.get(target, [target])
            if one != other
        }
        return Emulation(slowdown, links)

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
