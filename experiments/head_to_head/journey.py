"""One request on its way along a plan, as it is simulated: what each stage measures, what it costs.

Nothing happens here; simulation.py and waiting.py move it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from edgesplit.core.hedge import HedgeRule
from edgesplit.core.plan import Plan, Stage
from edgesplit.core.profile import Profile
from edgesplit.core.tier_timing import TierTiming
from experiments.head_to_head.station import Work


@dataclass
class Account:
    """Joules of the entry tier and of all tiers."""

    end_j: float = 0.0
    total_j: float = 0.0


@dataclass(frozen=True)
class Watts:
    """What each tier draws above an idle one, by phase."""

    entry: str
    by_tier: Mapping[str, Mapping[str, float]]

    def charge(self, account: Account, tier: str, phase: str, seconds: float) -> None:
        """Put the joules of so many seconds on that account."""
        joules = self.by_tier[tier][phase] * seconds
        account.total_j += joules
        if tier == self.entry:
            account.end_j += joules


def watts_of(profile: Profile) -> Watts:
    """Those of a profile's tiers."""
    phases = ("compute", "transmit", "receive")
    by_tier = {
        tier.name: {phase: tier.power.above_idle_w(phase) for phase in phases}
        for tier in profile.tiers
    }
    return Watts(profile.entry_tier, by_tier)


@dataclass(eq=False)
class Leg:
    """One stage of a request, and how its tier waits for the next one. Seconds and moments.

    work: its computing. payload: what it sent, gone_s: when the last byte left. is_waiting: for an
    answer of the next tier. hedge: the run of the rest on this tier. heard: when the next tier said
    how long it will take, and how long.
    """

    stage: Stage
    arrived_s: float = 0.0
    gap_s: float = math.inf
    queue_s: float = 0.0
    compute_s: float = 0.0
    own_s: float = 0.0
    hop_s: float = 0.0
    work: Work | None = None
    sent_s: float = math.inf
    payload: Work | None = None
    gone_s: float = math.inf
    is_waiting: bool = False
    failed_over: str = ""
    hedge: Work | None = None
    hedged_s: float = math.inf
    hedged: str = ""
    heard: tuple[float, float] | None = None


# Per sender of a plan: when to hedge, and how long to wait for a sign of life.
Rules = list[tuple[HedgeRule | None, float]]


@dataclass(eq=False)
class Journey:
    """A request. depth: the leg beyond which nobody waits for it any more."""

    number: int
    plan: Plan
    rules: Rules
    began_s: float
    legs: list[Leg] = field(init=False)
    depth: int = field(init=False)
    ended_s: float = math.inf
    waited_s: float = 0.0
    spent: Account = field(default_factory=Account)

    def __post_init__(self) -> None:
        self.legs = [Leg(stage) for stage in self.plan.stages]
        self.depth = len(self.legs) - 1

    @property
    def used(self) -> list[Leg]:
        """The legs that the answer came along: up to one that failed over."""
        for place, leg in enumerate(self.legs):
            if leg.failed_over:
                return self.legs[: place + 1]
        return self.legs

    @property
    def is_hedged(self) -> bool:
        """Whether any of its layers were run twice."""
        return any(leg.hedged_s < math.inf for leg in self.legs)

    @property
    def has_failed_over(self) -> bool:
        """Whether a tier ran another one's layers because that was silent."""
        return any(leg.failed_over and leg.hedged != "won" for leg in self.legs)

    def timings(self, payload_bytes: tuple[int, ...]) -> tuple[TierTiming, ...]:
        """What the tiers would tell of it, in route order."""
        used, found = self.used, []
        for leg in used:
            is_last = leg is used[-1]
            stage, stop = leg.stage, self.plan.n_layers if is_last else leg.stage.stop
            hop_s, sent = (0.0, 0) if is_last else (leg.hop_s, payload_bytes[stage.stop])
            found.append(
                TierTiming(
                    stage.tier, stage.start, stop, leg.queue_s, leg.compute_s, leg.own_s, hop_s,
                    leg.gap_s, sent, payload_bytes[-1], 0.0, runtime=stage.runtime,
                    failed_over=leg.failed_over, hedged=leg.hedged,
                )
            )  # fmt: skip
        return tuple(found)
