"""How much longer tiers take than their profile says, and how long requests wait there.

Sliding means over the last requests, for policies that learn them from timings alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from edgesplit.core.layer_times import LayerTimes
from edgesplit.core.profile import Profile, Tier
from edgesplit.core.tier_timing import TierTiming

WINDOW = 10  # requests of the sliding mean; the published ones do not say how many


@dataclass(frozen=True)
class TierLoad:
    """What one request met on one tier. at: its number. factor: measured / profiled seconds."""

    at: int
    tier: str
    factor: float
    queue_s: float


@dataclass(frozen=True)
class TierLoads:
    """Those of the last WINDOW requests; of a tier that none of them computed on nothing is known.

    count: requests so far.
    """

    count: int = 0
    seen: tuple[TierLoad, ...] = ()

    def after(self, profile: Profile, timings: Sequence[TierTiming]) -> "TierLoads":
        """With one request more. What a tier ran unprepared, failing over, does not count."""
        count = self.count + 1
        kept = tuple(load for load in self.seen if load.at > count - WINDOW)
        return TierLoads(count, (*kept, *_loads(count, profile, timings)))

    def factor(self, tier: Tier) -> float:
        """Mean of measured / profiled seconds; the believed one where nothing was seen."""
        factors = [load.factor for load in self.seen if load.tier == tier.name]
        return sum(factors) / len(factors) if factors else tier.slowdown

    def queue_s(self, tier: str) -> float:
        """Mean seconds of waiting there; 0 where nothing was seen."""
        waits = [load.queue_s for load in self.seen if load.tier == tier]
        return sum(waits) / len(waits) if waits else 0.0


NOTHING_SEEN = TierLoads()


def _loads(at: int, profile: Profile, timings: Sequence[TierTiming]) -> list[TierLoad]:
    loads = []
    for timing in timings:
        times = _times(profile, timing)
        profiled_s = sum(times.layer_s[timing.start : timing.stop]) if times else 0.0
        if profiled_s > 0 and timing.compute_s > 0 and not timing.failed_over:
            factor = timing.compute_s / profiled_s
            loads.append(TierLoad(at, timing.tier, factor, timing.queue_s))
    return loads


def _times(profile: Profile, timing: TierTiming) -> LayerTimes | None:
    """The layer times of what ran; None where the profile has them no more."""
    if timing.tier not in profile.names:
        return None
    tier = profile.tier(timing.tier)
    return tier.times_in(timing.runtime) if timing.runtime in tier.runtimes else None
