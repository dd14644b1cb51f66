"""What codecs make of payloads under one graph, profile and goal: bytes sent, seconds at both ends.

Whether a codec may be used at a cut is decided here; what a hop then costs is in cost.py.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from edgesplit.core.goal import Goal
from edgesplit.core.graph import Graph
from edgesplit.core.payload_codec import AS_IS, CodecSizes, CodecSpeed, is_lossy
from edgesplit.core.profile import Profile
from edgesplit.core.tier import Tier

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Coding:
    """Codec 0 is a payload as it is, then come the profile's codecs in their order."""

    graph: Graph
    profile: Profile
    goal: Goal

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The codecs, `as-is` first."""
        return (AS_IS, *(one.codec for one in self.profile.codecs))

    def __len__(self) -> int:
        return len(self.names)

    @cached_property
    def are_lossy(self) -> Flags:
        """Of each codec, whether it loses something, (codecs,)."""
        return np.array([is_lossy(name) for name in self.names])

    @cached_property
    def usable(self) -> Flags:
        """Where a codec has a size, and its loss is granted, (codecs, n + 1)."""
        usable = np.ones((len(self), len(self.graph) + 1), dtype=bool)
        most = self.goal.max_accuracy_loss
        for c, one in enumerate(self.profile.codecs, 1):
            usable[c] = np.isfinite(one.payload_bytes)
            if self.are_lossy[c]:  # as is_granted, of all cuts at once; NaN: not measured
                loss = np.array(one.loss, dtype=float)
                usable[c] &= loss <= (-np.inf if most is None else most)
        return usable

    @cached_property
    def known(self) -> Flags:
        """Whether a tier can write and read a codec, (codecs, tiers)."""
        known = np.ones((len(self), len(self.profile.tiers)), dtype=bool)
        for t, tier in enumerate(self.profile.tiers):
            there = {speed.codec for speed in tier.codec_speeds}
            known[1:, t] = [name in there for name in self.names[1:]]
        return known

    @cached_property
    def sent_bytes(self) -> Floats:
        """Bytes that cross a link, (codecs, n + 1); those as they are where it is not usable."""
        raw = np.asarray(self.graph.payload_bytes, dtype=float)
        if len(self) == 1:
            return raw[None]
        sent = np.tile(raw, (len(self), 1))
        for c, one in enumerate(self.profile.codecs, 1):
            sent[c] = np.where(self.usable[c], one.payload_bytes, raw)
        return sent

    @cached_property
    def seconds(self) -> tuple[Floats, Floats]:
        """Of encoding and of decoding, (codecs, tiers, n + 1) each; 0 where it cannot be done."""
        raw = np.asarray(self.graph.payload_bytes, dtype=float)
        shape = (len(self), len(self.profile.tiers), len(raw))
        encode_s, decode_s = np.zeros(shape), np.zeros(shape)
        if len(self) == 1:
            return encode_s, decode_s
        for t, tier in enumerate(self.profile.tiers):
            for c, one in enumerate(self.profile.codecs, 1):
                speed = tier.codec_speed(one.codec)
                if speed is not None:
                    encode_s[c, t], decode_s[c, t] = coding_s(speed, one, raw, tier.slowdown)
        return encode_s, decode_s

    @cached_property
    def unusable(self) -> Flags:
        """Where a codec cannot cross a link whatever it costs, (codecs, tiers, tiers, n + 1)."""
        pairs = self.known[:, :, None] & self.known[:, None, :]
        return ~(pairs[..., None] & self.usable[:, None, None, :])

    def index(self, codec: str) -> int | None:
        """Its place in `names`; None where the profile does not know it."""
        return self.names.index(codec) if codec in self.names else None

    def why_not(self, codec: str, cut: int, ends: tuple[Tier, Tier]) -> str:
        """Why a payload at that cut cannot go so from the first tier to the second, for people.

        Empty where it can, or where only its loss forbids it.
        """
        found = self.profile.codec(codec)
        if codec == AS_IS:
            return ""
        if found is None:
            there = ", ".join(self.names[1:]) or "none"
            return f"nothing was measured of codec {codec!r}; measured: {there}"
        for tier in ends:
            if tier.codec_speed(codec) is None:
                there = ", ".join(s.codec for s in tier.codec_speeds) or "none"
                return f"tier {tier.name!r} does not write or read {codec!r}; it knows: {there}"
        return "" if np.isfinite(found.payload_bytes[cut]) else f"{codec!r} fits no payload there"


def coding_s(
    speed: CodecSpeed, sizes: CodecSizes | None, raw_bytes: Floats, slowdown: float = 1.0
) -> tuple[Floats, Floats]:
    """Seconds of encoding and of decoding on a tier of that speed, (n + 1,) each.

    raw_bytes: of the payload at each cut as it is. Payloads take their effort against that of those
    which the speed was measured on.
    """
    encoding, decoding = speed.encode_s_per_byte * raw_bytes, speed.decode_s_per_byte * raw_bytes
    if sizes is not None and sizes.effort:
        effort = np.array(sizes.effort).T
        known = [cut for cut in speed.cuts if cut < len(raw_bytes)]
        if known:
            effort = effort / effort[:, known].mean(axis=1, keepdims=True)
        encoding, decoding = encoding * effort[0], decoding * effort[1]
    return (speed.encode_s + encoding) * slowdown, (speed.decode_s + decoding) * slowdown


def sent_bytes(graph: Graph, profile: Profile, codec: str, cut: int) -> float:
    """What crosses a link for the payload at that cut; as it is where no size is known."""
    found: CodecSizes | None = profile.codec(codec)
    size = float(graph.payload_bytes[cut]) if found is None else found.payload_bytes[cut]
    return size if np.isfinite(size) else float(graph.payload_bytes[cut])
