"""Joules of a block of requests, as the tiers' meters measured them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgesplit.core.energy.window import TierWindow


@dataclass
class MeteredBlock:
    """What EdgeSplit.metered() hands out; filled when its block ends.

    requests: that came back meanwhile. tiers: a measured window per tier. unmetered: why the other
    tiers have none.
    """

    requests: int = 0
    tiers: Mapping[str, TierWindow] = field(default_factory=dict)
    unmetered: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.requests} requests"]
        for tier, window in self.tiers.items():
            above = window.marginal or "not known: not calibrated"
            lines.append(f"{tier}: {window.gross} in {window.seconds:.2f} s, above idle {above}")
            lines.append(f"  {window.gross.describe()}")
            lines += [f"  {name}: {power}" for name, power in window.phases.items()]
            lines.append(f"  reading the meter took {window.sampling_share:.2%} of a core")
        lines += [f"{tier}: not measured: {why}" for tier, why in self.unmetered.items()]
        return "\n".join(lines)
