"""The runtimes that each tier can run layers in, side by side, for people to look at."""

import math
from dataclasses import dataclass

from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.core.tier import Tier


@dataclass(frozen=True)
class TierRuntimes:
    """What each tier takes for the whole model in each of its runtimes, at its slowdown now."""

    tiers: tuple[Tier, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, by tier and runtime.

        seconds: of the whole model. error: relative, against eager torch; None as in LayerTimes. A
        runtime that cannot be used has `unused`, the reason, instead.
        """
        return {
            tier.name: {times.runtime: _values(tier, times) for times in _rows(tier)}
            | {runtime: {"unused": why} for runtime, why in tier.unused}
            for tier in self.tiers
        }

    def lines(self) -> list[str]:
        """A line for each tier, unless all have but eager torch; then what cannot be used."""
        unused = [
            f"{tier.name} does not use {runtime}: {why}"
            for tier in self.tiers
            for runtime, why in tier.unused
        ]
        if all(tier.runtimes == (TORCH,) for tier in self.tiers):
            return unused
        return [
            f"{tier.name} runs the whole model in {', '.join(_text(tier, r) for r in _rows(tier))}"
            for tier in self.tiers
        ] + unused


def _rows(tier: Tier) -> list[LayerTimes]:
    """All runtimes of a tier, the fastest first."""
    return sorted((tier.times_in(name) for name in tier.runtimes), key=lambda times: times.total_s)


def _values(tier: Tier, times: LayerTimes) -> dict[str, object]:
    return {
        "seconds": times.total_s * tier.slowdown,
        "error": times.error,
        "source": times.provenance,
    }


def _text(tier: Tier, times: LayerTimes) -> str:
    return f"{times.runtime} {times.total_s * tier.slowdown * 1e3:.2f} ms{_error(times)}"


def _error(times: LayerTimes) -> str:
    """How far its results are off; of a lossy runtime what that costs."""
    if times.loss is None:
        return "" if times.error is None else f" (error {times.error:.1e})"
    if math.isinf(times.loss):
        return " (lossy: what it costs in accuracy is measured where it would pay)"
    return f" (lossy: costs at most {times.loss:.2%} of the accuracy)"
