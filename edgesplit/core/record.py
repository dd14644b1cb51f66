"""Records: what one request took and cost, from the tier timings that came with its reply."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from edgesplit.core.accuracy_loss import expected_loss
from edgesplit.core.energy.energy import Energy, total
from edgesplit.core.energy.request_energy import spent
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming, Transfer, transfers

CALLER = "caller"
UNCOUNTED = "computed by the caller, whose joules are not counted"


@dataclass(frozen=True)
class Record:
    """One request. at_s: when it was sent, since the session began. Energy per the boundary.

    compute_s (of layers), link_s: sums over the route; timings has them per tier. energy: by tier,
    also of tiers that had no part in it. end: the tier that holds the input. why: empty where all
    went as planned, else why another tier or the caller ran the layers. caller_hedge: see hedged.
    The caller's joules are not counted, nor those of a planned tier whose answer came second.
    met_limit: whether it took no longer than the goal's latency limit; None: it has none.
    expected_loss: of accuracy by its plan, as measured on examples; NaN: not known.
    """

    id: str
    at_s: float
    model: str
    plan: Plan
    latency_s: float
    compute_s: float
    link_s: float
    energy: Mapping[str, Energy]
    end: str
    timings: tuple[TierTiming, ...]
    why: str = ""
    caller_hedge: str = ""
    met_limit: bool | None = None
    expected_loss: float = 0.0

    @property
    def codecs(self) -> tuple[str, ...]:
        """How its payload was to travel at each cut of the plan."""
        return self.plan.codecs

    @property
    def codec_s(self) -> float:
        """Seconds of encoding and decoding payloads, over the route."""
        return sum(timing.codec_s for timing in self.timings)

    @property
    def finished_by(self) -> str:
        """The tier that ran the last layer, or `caller`."""
        return self.timings[-1].tier if self.timings else CALLER

    @property
    def hedged(self) -> str:
        """Who ran layers that others ran too, and whether it came first: `end won`, `edge lost`.

        Empty where nobody did.
        """
        by_caller = [f"{CALLER} {self.caller_hedge}"] if self.caller_hedge else []
        return ", ".join([*by_caller, *(f"{t.tier} {t.hedged}" for t in self.timings if t.hedged)])

    @property
    def end_energy(self) -> Energy:
        """What the end tier spent."""
        return self.energy[self.end]

    @property
    def total_energy(self) -> Energy:
        """What all tiers spent; says so where their scopes differ."""
        return total([e for e in self.energy.values() if e.joules or e.u_j] or [self.end_energy])

    @property
    def end_energy_j(self) -> float:
        """The end tier's joules, alone; also where they do not stand out of their uncertainty."""
        return self.end_energy.joules

    @property
    def total_energy_j(self) -> float:
        """All tiers' joules, alone."""
        return self.total_energy.joules


@dataclass(frozen=True)
class Finished:
    """What the caller knows of a request that came back.

    timings: none where the caller ran the layers itself; why then says for what reason.
    caller_hedge: `won` or `lost` where the caller ran the model beside the tiers.
    """

    id: str
    at_s: float
    model: str
    plan: Plan
    latency_s: float
    timings: tuple[TierTiming, ...]
    why: str = ""
    caller_hedge: str = ""


def record_of(done: Finished, profile: Profile, goal: Goal) -> Record:
    """The record of a request under the tiers' power in `profile` and the goal's boundary.

    Compute energy is what each tier's meter counted; a link's two ends are charged transmit and
    receive watts for the time the payload and the reply were on it, and its delay nothing.
    """
    seen = transfers(done.timings)
    seconds = _link_seconds(profile, seen)
    timings = {timing.tier: timing for timing in done.timings}
    if goal.boundary == "gross":
        for tier, phases in seconds.items():
            busy_s = timings[tier].busy_s if tier in timings else 0.0
            phases["wait"] = max(0.0, done.latency_s - busy_s - sum(phases.values()))
    energy = {
        tier.name: spent(tier, timings.get(tier.name), seconds[tier.name], goal.boundary)
        for tier in profile.tiers
    }
    if not done.timings:
        energy = {
            tier: replace(e, joules=math.nan, flags=(UNCOUNTED,)) for tier, e in energy.items()
        }
    return Record(
        done.id,
        done.at_s,
        done.model,
        done.plan,
        done.latency_s,
        sum(timing.compute_s for timing in done.timings),
        sum(transfer.seconds for transfer in seen),
        energy,
        profile.entry_tier,
        done.timings,
        done.why or (done.timings[-1].failed_over if done.timings else ""),
        done.caller_hedge,
        None if goal.latency_limit_s is None else done.latency_s <= goal.latency_limit_s,
        expected_loss(done.plan, profile),
    )


def _link_seconds(profile: Profile, seen: Sequence[Transfer]) -> dict[str, dict[str, float]]:
    """Seconds that each tier was sending and receiving."""
    seconds = {name: {"transmit": 0.0, "receive": 0.0} for name in profile.names}
    for transfer in seen:
        out_s, reply_s = _on_the_link_s(profile, transfer)
        here, there = seconds[transfer.source], seconds[transfer.target]
        here["transmit"] += out_s
        here["receive"] += reply_s
        there["receive"] += out_s
        there["transmit"] += reply_s
    return seconds


def _on_the_link_s(profile: Profile, transfer: Transfer) -> tuple[float, float]:
    """Seconds the payload and the reply were on the link, delays taken off.

    The measured time is one sum; it is shared out as the link's rates would.
    """
    out = profile.link(transfer.source, transfer.target)
    back = profile.link(transfer.target, transfer.source)
    if out is None or back is None:
        return 0.0, 0.0
    busy_s = max(0.0, transfer.seconds - out.latency_s - back.latency_s)
    busy_s = min(busy_s, transfer.gap_s)  # what queued behind another payload was not on the link
    sent, reply = transfer.sent_bytes / out.bytes_per_s, transfer.reply_bytes / back.bytes_per_s
    whole = sent + reply
    return (busy_s * sent / whole, busy_s * reply / whole) if whole > 0 else (0.0, 0.0)
