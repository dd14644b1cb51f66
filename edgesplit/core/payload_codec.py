"""Payload codecs: how a payload is written for a link. Their names, sizes, losses and seconds.

A codec's name is a number form, an entropy coder, or both: `int8`, `zstd`, `int8-channel+zstd`.
Entropy coders lose nothing. The bytes are made in node/codec/; nothing is encoded here.
"""

from dataclasses import dataclass, replace

from edgesplit.core.given import is_finite, is_number
from edgesplit.errors import ProfileError

# A payload that travels as it is.
AS_IS = "as-is"
CODEC_NAME = r"[a-z0-9-]+(\+[a-z0-9-]+)?"
# What float32 is rounded to; `-channel`: with a scale of its own for each channel.
NUMBER_FORMS = ("float16", "bfloat16", "int8", "int8-channel", "int4-channel")
ENTROPY_CODERS = ("zstd", "lz4")
CODECS = (
    *ENTROPY_CODERS,
    *NUMBER_FORMS,
    *(f"{form}+{coder}" for form in NUMBER_FORMS for coder in ENTROPY_CODERS),
)
# What is tried where the user names none: int8 wins nearly always, entropy coders on slow links.
USUAL_CODECS = ("zstd", "lz4", "float16", "int8-channel", "int8-channel+zstd", "int8-channel+lz4")


def parts_of(codec: str) -> tuple[str | None, str | None]:
    """(number form, entropy coder) of a codec in CODECS; None for what it has not.

    Example:
        >>> parts_of("int8-channel+zstd"), parts_of("zstd")
        (('int8-channel', 'zstd'), (None, 'zstd'))
    """
    form, _, coder = codec.partition("+")
    return (None, form) if form in ENTROPY_CODERS else (form, coder or None)


def is_lossy(codec: str) -> bool:
    """Whether what is decoded may differ from what was encoded."""
    return codec != AS_IS and parts_of(codec)[0] is not None


@dataclass(frozen=True)
class CodecSizes:
    """One codec at each cut of a program, on example data.

    payload_bytes: mean bytes on the wire per cut; infinite where it is not to be used.
    loss: per cut the upper end of the accuracy that it costs there, from 0 to 1; None: not
        measured. Of a lossless codec 0 everywhere.
    spread_bytes: standard deviation of the bytes over the examples, per cut; empty: not known.
    effort: per cut (encoding, decoding), the seconds that its bytes take over those that bytes
        take on the whole: zeros are quick to compress. Empty: 1 everywhere.
    Raises ProfileError where the lengths differ, or for what is no size, no loss or no effort.
    """

    codec: str
    payload_bytes: tuple[float, ...]
    loss: tuple[float | None, ...]
    provenance: str = "measured"
    spread_bytes: tuple[float, ...] = ()
    effort: tuple[tuple[float, float], ...] = ()

    def __post_init__(self) -> None:
        if self.codec not in CODECS:
            raise ProfileError(f"no codec {self.codec!r}; known: {', '.join(CODECS)}")
        if len(self.payload_bytes) != len(self.loss):
            raise ProfileError(
                f"codec {self.codec}: {len(self.payload_bytes)} sizes, {len(self.loss)} losses; "
                "expected one of each per cut"
            )
        for name, per_cut in (("spread_bytes", self.spread_bytes), ("effort", self.effort)):
            if per_cut and len(per_cut) != len(self.loss):
                raise ProfileError(
                    f"codec {self.codec}: {name} has {len(per_cut)} values, expected none or one "
                    f"per cut, {len(self.loss)}"
                )
        if not all(is_finite(one) and one > 0 for pair in self.effort for one in pair):
            raise ProfileError(f"codec {self.codec}: efforts must be above 0: {self.effort}")
        if not all(is_number(size) and size >= 0 for size in self.payload_bytes):
            raise ProfileError(f"codec {self.codec}: no sizes in bytes: {self.payload_bytes}")
        known = [loss for loss in self.loss if loss is not None]
        if not all(is_finite(loss) and loss >= 0 for loss in known):
            raise ProfileError(f"codec {self.codec}: losses must be 0 or more: {self.loss}")
        if not is_lossy(self.codec) and any(loss != 0 for loss in self.loss):
            raise ProfileError(f"codec {self.codec} loses nothing, given losses {self.loss}")

    def is_granted(self, cut: int, max_loss: float | None) -> bool:
        """Whether a payload at that cut may be written so. max_loss: the goal's; None: none."""
        if not is_lossy(self.codec):
            return True
        loss = self.loss[cut]
        return max_loss is not None and loss is not None and loss <= max_loss


@dataclass(frozen=True)
class CodecSpeed:
    """What one codec takes on one tier: seconds, and seconds per byte of the payload as it is.

    cuts: whose payloads that was measured on; empty: not known. Of other payloads the efforts of
    CodecSizes say what they take more or less.

    Raises ProfileError for what is negative or no number.
    """

    codec: str
    encode_s: float
    encode_s_per_byte: float
    decode_s: float
    decode_s_per_byte: float
    provenance: str = "measured"
    cuts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        figures = (
            self.encode_s, self.encode_s_per_byte, self.decode_s, self.decode_s_per_byte,
        )  # fmt: skip
        if self.codec not in CODECS or not all(is_finite(s) and s >= 0 for s in figures):
            raise ProfileError(
                f"codec {self.codec!r} takes seconds of 0 or more, given {figures}; known codecs: "
                f"{', '.join(CODECS)}"
            )

    def slowed(self, factor: float) -> "CodecSpeed":
        """The same on a tier that takes so many times the seconds."""
        return replace(
            self,
            encode_s=self.encode_s * factor,
            encode_s_per_byte=self.encode_s_per_byte * factor,
            decode_s=self.decode_s * factor,
            decode_s_per_byte=self.decode_s_per_byte * factor,
        )


CodecSpeeds = tuple[tuple[str, tuple[CodecSpeed, ...]], ...]  # of tiers, by name
