"""What was measured: a tier's timing of one request, and a link's transfer within it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from edgesplit.core.layer_times import TORCH


@dataclass(frozen=True)
class TierTiming:
    """One tier's measurement of one request, every duration on that tier's own monotonic clock.

    own_s: from the request's arrival to the reply's departure, all that lies downstream included.
    hop_s: from sending the payload to the reply's arrival; 0 where the tier sent nothing on.
    gap_s: from the arrival of the sender's previous payload to this one's; infinite at the first.
    sent_bytes: of the payload as it was sent, in its codec.
    energy_j: what the tier's meter counted during compute_s, an idle device's draw included.
    energy_u_j: its standard uncertainty; None where none is known.
    runtime: what executed the layers; `torch` where there were none.
    failed_over: empty where all went as planned. Else this tier also ran the layers that were the
    next tiers', and it says why: the next tier's name and one of `silent`, `unreachable` and the
    other reasons of a refusal. Such a timing sent nothing on, and its compute_s is of both
    together. A hedge that came first is such a timing, with the reason `late`.
    hedged: empty where no layers were run twice; `won` where this tier ran the next tiers' layers
    too and came first, `lost` where the next tier did. hedge_j: of energy_j, what that run took;
    of one that lost, until the answer came.
    codec_s: of decoding what came and encoding what was sent on; within own_s, in neither compute_s
    nor hop_s. energy_j covers it.
    """

    tier: str
    start: int
    stop: int
    queue_s: float
    compute_s: float
    own_s: float
    hop_s: float
    gap_s: float
    sent_bytes: int
    reply_bytes: int
    energy_j: float
    energy_u_j: float | None = None
    runtime: str = TORCH
    failed_over: str = ""
    hedged: str = ""
    hedge_j: float = 0.0
    codec_s: float = 0.0

    @property
    def busy_s(self) -> float:
        """Seconds that the tier computed: layers and codecs."""
        return self.compute_s + self.codec_s

    @property
    def given_up(self) -> tuple[str, str] | None:
        """(the tier that this one failed over from, the reason); None where all went as planned."""
        tier, _, reason = self.failed_over.rpartition(" ")
        return (tier, reason) if tier else None


@dataclass(frozen=True)
class Transfer:
    """One payload's way over a link and the reply's way back.

    seconds: the sender's round trip less what the receiver reports as its own.
    gap_s: bounds the payload's time on the link from above when payloads queue behind each other.
    """

    source: str
    target: str
    sent_bytes: int
    reply_bytes: int
    seconds: float
    gap_s: float


def transfers(timings: Sequence[TierTiming]) -> list[Transfer]:
    """The transfers between the timings of one request, given in route order."""
    return [
        Transfer(
            here.tier,
            there.tier,
            here.sent_bytes,
            there.reply_bytes,
            max(0.0, here.hop_s - there.own_s),
            there.gap_s,
        )
        for here, there in pairwise(timings)
    ]
