"""What the throttle experiment prints: milliseconds, kilobytes, medians."""

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def run_cells(runs: Sequence[Row]) -> list[Row]:
    """A row per run and change, for people."""
    return [
        {
            "run": row["run"],
            "change": row["direction"],
            "adapted after": _seconds(row["adapt_s"]),
            "requests": row["adapt_requests"],
            "settled after": _seconds(row["settle_s"]),
            "wide payload, KB": _before_after(row, "payload_bytes_{}", 1e-3),
            "latency, ms": _stages(row, "latency_s", 1e3),
            "end energy, J": _stages(row, "end_energy_j"),
            "switches": row["switches"],
            "failed": row["failed"],
        }
        for row in runs
    ]


def value_text(value: object) -> str:
    """A target's value: a count, or a median of seconds and of requests."""
    if not isinstance(value, (list, tuple)):
        return str(value)
    seconds, requests = value
    if seconds is None:
        return "no other plan followed"
    return f"{seconds:.2f} s, {requests:g} requests"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"


def _before_after(row: Row, name: str, scale: float) -> str:
    return " -> ".join(f"{row[name.format(when)] * scale:,.0f}" for when in ("before", "after"))


def _stages(row: Row, name: str, scale: float = 1.0) -> str:
    """Before, on the old plan meanwhile, after."""
    values = [row[f"{name}_{when}"] for when in ("before", "during", "after")]
    return " -> ".join("-" if value is None else _short(value * scale) for value in values)


def _short(value: float) -> str:
    """Three digits, or all before the point."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.3g}"
