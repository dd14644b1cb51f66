"""How a plan's payloads travel, and why the codecs that it leaves out are not used; for people."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from edgesplit.core.cost import Cost, CostModel
from edgesplit.core.payload_codec import AS_IS, PICTURE, CodecSizes, is_lossy


@dataclass(frozen=True)
class HopBytes:
    """One hop of a plan. bytes: as they are; sent_bytes: as they travel. In seconds: both ends.

    spread_bytes: the standard deviation of what travels; None: not known.
    """

    cut: int
    codec: str
    bytes: float
    sent_bytes: float
    encode_s: float
    decode_s: float
    spread_bytes: float | None = None

    def __str__(self) -> str:
        if self.codec == AS_IS:
            return f"cut {self.cut} as it is, {_size(self.bytes)}"
        coding_ms = (self.encode_s + self.decode_s) * 1e3
        spread = f" (± {_size(self.spread_bytes)})" if self.spread_bytes else ""
        coding = "" if self.codec == PICTURE else f", {coding_ms:.2f} ms to write and read"
        return (
            f"cut {self.cut} as {self.codec}, {_size(self.sent_bytes)}{spread} instead of "
            f"{_size(self.bytes)}{coding}"
        )


@dataclass(frozen=True)
class CodecChoice:
    """Of one plan. unused: pairs of a codec that it does not use and the reason.

    decoding: where requests come as picture files, (the tier that decodes them, seconds).
    """

    hops: tuple[HopBytes, ...]
    unused: tuple[tuple[str, str], ...]
    codec_s: float
    latency_s: float
    loss: float
    decoding: tuple[str, float] | None = None

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON; bytes and seconds."""
        return {
            "hops": [vars(hop).copy() for hop in self.hops],
            "codec_s": self.codec_s,
            "loss": self.loss,
            "unused": dict(self.unused),
            "decoding": self.decoding and dict(zip(("tier", "s"), self.decoding, strict=True)),
        }

    def lines(self) -> list[str]:
        """What travels how, then a line for each codec that is not used; none without codecs."""
        lines = []
        if any(hop.codec != AS_IS for hop in self.hops):
            share = self.codec_s / self.latency_s if self.latency_s > 0 else 0.0
            sent = "; ".join(map(str, self.hops))
            lines.append(f"payloads: {sent}; codecs take {share:.1%} of the latency")
        if self.decoding:
            tier, seconds = self.decoding
            took = f"{seconds * 1e3:.2f} ms each"
            lines.append(f"pictures come as files; {tier} decodes them, {took}")
        if self.loss:
            lines.append(
                f"costs at most {self.loss:.2%} of the accuracy: the upper end of the interval "
                "(95 %) of what was measured on the examples"
            )
        return lines + [f"codec {codec} is not used: {why}" for codec, why in self.unused]


def codec_choice(model: CostModel, cost: Cost) -> CodecChoice:
    """How the payloads of that plan travel."""
    plan, sizes = cost.plan, model.graph.payload_bytes
    hops = []
    for at, stage in enumerate(plan.stages[:-1]):
        hop, found = model.hop(plan, at), model.profile.codec(stage.codec)
        spread = found.spread_bytes[stage.stop] if found and found.spread_bytes else None
        times = (hop.sent_bytes, hop.encode_s, hop.decode_s, spread)
        hops.append(HopBytes(stage.stop, stage.codec, float(sizes[stage.stop]), *times))
    opener, opening_s = model.opening(plan)
    decoding = (plan.stages[opener].tier, opening_s) if model.coding.opening_s is not None else None
    unused = tuple(_unused(model, cost))
    return CodecChoice(tuple(hops), unused, cost.codec_s, cost.latency_s, cost.loss, decoding)


def _unused(model: CostModel, cost: Cost) -> Iterator[tuple[str, str]]:
    for codec in model.profile.codecs:
        if codec.codec not in cost.plan.codecs:
            yield codec.codec, _why_not(model, codec)


def _why_not(model: CostModel, codec: CodecSizes) -> str:
    """Why no hop is in that codec: it may not be used anywhere, or it does not pay."""
    coding, c = model.coding, model.coding.index(codec.codec)
    links = np.isfinite(model.transfer.latency_s[0, :, :, 0])
    known = coding.known[c]
    if not (known[:, None] & known[None, :] & links).any():
        return "no two tiers with a link between them can both write and read it"
    if codec.codec == PICTURE and coding.picture is None:
        return f"{model.profile.entry_tier} takes no pictures as files"
    if not np.isfinite(codec.payload_bytes).any():
        return "it fits no payload of this model"
    if is_lossy(codec.codec) and not coding.usable[c].any():
        return _not_granted(codec, model.goal.max_accuracy_loss)
    return "it does not pay"


def _not_granted(codec: CodecSizes, max_loss: float | None) -> str:
    if max_loss is None:
        return "it is lossy, and the goal grants no max_accuracy_loss"
    pairs = zip(codec.loss, codec.payload_bytes, strict=True)
    known = [loss for loss, size in pairs if loss is not None and np.isfinite(size)]
    if not known:
        return "what it costs in accuracy is measured only where it would pay"
    return (
        f"it costs {min(known):.2%} of the accuracy at least where that is measured, "
        f"{max_loss:.2%} is granted"
    )


def _size(n_bytes: float) -> str:
    return f"{n_bytes / 1e6:.2f} MB" if n_bytes >= 1e6 else f"{n_bytes / 1e3:.1f} kB"
