"""What is known of the tiers and links: seconds, watts, rates, and where each figure came from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from edgesplit.core.given import is_finite, is_number
from edgesplit.core.payload_codec import PICTURE, CodecSizes, CodecSpeed
from edgesplit.core.scatter import Scatter
from edgesplit.core.tier import Tier
from edgesplit.errors import ProfileError, UnknownNameError

__all__ = ["Link", "Profile", "ScoreReference", "Tier"]


@dataclass(frozen=True)
class Link:
    """A directed link between two tiers: seconds until the first byte, then bytes per second.

    provenance: where the figures are from. scatter: how measured seconds of a payload's way and
    the reply's way back lie around the predicted ones; None: not at all. Raises ProfileError for a
    rate of 0 or a negative latency.

    Example:
        >>> Link("end", "edge", latency_s=0.001, bytes_per_s=40e6).pair
        ('end', 'edge')
    """

    source: str
    target: str
    latency_s: float
    bytes_per_s: float
    provenance: str = "given"
    scatter: Scatter | None = None

    def __post_init__(self) -> None:
        is_rate = is_number(self.bytes_per_s) and self.bytes_per_s > 0
        if not (is_rate and is_finite(self.latency_s) and self.latency_s >= 0):
            raise ProfileError(
                f"link {self.source}->{self.target}: latency must be >= 0 s and the rate > 0 "
                f"bytes/s, given {self.latency_s} s and {self.bytes_per_s} bytes/s"
            )

    @property
    def pair(self) -> tuple[str, str]:
        """(source, target)."""
        return (self.source, self.target)


@dataclass(frozen=True)
class ScoreReference:
    """What divides the terms of the score: the values of the all-on-end plan at the first input."""

    end_energy_j: float
    total_energy_j: float
    latency_s: float


@dataclass(frozen=True)
class Profile:
    """Tiers, the links between them, and the reference of the score. The first tier has the input.

    Every link needs its reverse, since a reply goes back along the route. score_reference: what
    divides the terms; None: taken from the profile itself. codecs: in which payloads may be written
    between tiers that know their speeds there. Raises ProfileError where tiers and links contradict
    each other.

    Example:
        >>> watts = Power(12, 12, 12, 12)
        >>> tiers = Tier("end", (0.5, 0.5), watts), Tier("edge", (0.1, 0.1), watts)
        >>> links = Link("end", "edge", 0.001, 40e6), Link("edge", "end", 0.001, 40e6)
        >>> Profile(tiers, links).entry_tier
        'end'
    """

    tiers: tuple[Tier, ...]
    links: tuple[Link, ...]
    score_reference: ScoreReference | None = None
    codecs: tuple[CodecSizes, ...] = ()

    def __post_init__(self) -> None:
        kinds = ((self.tiers, Tier), (self.links, Link))
        if not all(
            isinstance(given, (tuple, list)) and all(isinstance(one, kind) for one in given)
            for given, kind in kinds
        ):
            raise ProfileError(
                f"a profile has tuples of Tier and of Link, given {self.tiers!r} and {self.links!r}"
            )
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
        self._check_codecs()

    def _check_codecs(self) -> None:
        cuts, known = len(self.tiers[0].layer_s) + 1, [one.codec for one in self.codecs]
        if len(set(known)) != len(known):
            raise ProfileError(f"the sizes of a codec are given twice: {', '.join(known)}")
        for one in self.codecs:
            if len(one.payload_bytes) != cuts:
                raise ProfileError(
                    f"codec {one.codec} has sizes at {len(one.payload_bytes)} cuts, the tiers "
                    f"have {cuts - 1} layers, so {cuts} cuts"
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
        """The runtimes that each tier has layer times of, first the one in use."""
        return {tier.name: tier.runtimes for tier in self.tiers}

    @property
    def entry_tier(self) -> str:
        """The tier that holds the input: the end device."""
        return self.tiers[0].name

    @property
    def opens_pictures(self) -> bool:
        """Whether requests come as picture files, which the entry tier decodes if need be."""
        sizes = self.codec(PICTURE)
        is_known = self.tiers[0].codec_speed(PICTURE) is not None
        return is_known and sizes is not None and is_finite(sizes.payload_bytes[0])

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

    def codec(self, name: str) -> CodecSizes | None:
        """The sizes and losses of that codec, None where there are none."""
        return next((one for one in self.codecs if one.codec == name), None)

    def with_tier(self, tier: Tier) -> "Profile":
        """The same profile with the tier of that name replaced."""
        tiers = tuple(tier if old.name == tier.name else old for old in self.tiers)
        return replace(self, tiers=tiers)

    def on(self, runtimes: Mapping[str, str]) -> "Profile":
        """The same profile with those runtimes in use, given by tier; other tiers keep theirs.

        Raises UnknownNameError for an unknown tier, or for a runtime without layer times there.
        """
        profile = self
        for name, runtime in runtimes.items():
            profile = profile.with_tier(self.tier(name).on(runtime))
        return profile

    def on_quickest(self) -> "Profile":
        """The same profile with each tier's quickest runtime in use, of those that lose nothing."""
        quickest = {tier.name: tier.quickest_runtime for tier in self.tiers}
        return self if quickest == self.runtimes else self.on(quickest)

    def with_link(self, link: Link) -> "Profile":
        """The same profile with that link replaced."""
        links = tuple(link if old.pair == link.pair else old for old in self.links)
        return replace(self, links=links)

    def with_added(self, tier: Tier, links: Sequence[Link]) -> "Profile":
        """The same profile with one more tier and its links. Raises ProfileError as a new one."""
        return replace(self, tiers=(*self.tiers, tier), links=(*self.links, *links))

    def with_codecs(
        self, codecs: Sequence[CodecSizes], speeds: Mapping[str, Sequence[CodecSpeed]]
    ) -> "Profile":
        """The same profile with those codecs instead of its own. speeds: by tier, of each codec.

        Tiers that `speeds` leaves out keep theirs. Raises ProfileError where sizes do not fit.
        """
        tiers = (
            replace(tier, codec_speeds=tuple(speeds[tier.name])) if tier.name in speeds else tier
            for tier in self.tiers
        )
        return replace(self, tiers=tuple(tiers), codecs=tuple(codecs))

    def without_tiers(self, gone: Collection[str]) -> "Profile":
        """The same profile without those tiers and their links; not the entry tier."""
        tiers = tuple(tier for tier in self.tiers if tier.name not in gone)
        return replace(self.without(tuple(gone)), tiers=tiers)

    def without(self, lost: Sequence[str]) -> "Profile":
        """The same profile without the links of the tiers in `lost`, so that no plan uses them."""
        links = tuple(ln for ln in self.links if ln.source not in lost and ln.target not in lost)
        return replace(self, links=links)
