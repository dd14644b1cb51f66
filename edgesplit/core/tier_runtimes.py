"""The runtimes that each tier can run layers in, side by side, for people to look at."""

from dataclasses import dataclass

from edgesplit.core.row import TORCH, Row
from edgesplit.core.tier import Tier


@dataclass(frozen=True)
class TierRuntimes:
    """What each tier takes for the whole model in each of its runtimes, at its slowdown now."""

    tiers: tuple[Tier, ...]

    def as_dict(self) -> dict[str, object]:
        """Plain values for JSON, by tier and runtime.

        seconds: of the whole model. error: relative, against eager torch; null as in Row. A
        runtime that cannot be used has `unused`, the reason, instead.
        """
        return {
            tier.name: {row.runtime: _values(tier, row) for row in _rows(tier)}
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


def _rows(tier: Tier) -> list[Row]:
    """All rows of a tier, the quickest first."""
    return sorted((tier.row(name) for name in tier.runtimes), key=lambda row: row.total_s)


def _values(tier: Tier, row: Row) -> dict[str, object]:
    return {"seconds": row.total_s * tier.slowdown, "error": row.error, "source": row.source}


def _text(tier: Tier, row: Row) -> str:
    error = "" if row.error is None else f" (error {row.error:.1e})"
    return f"{row.runtime} {row.total_s * tier.slowdown * 1e3:.2f} ms{error}"
