"""What the tail experiment prints and writes for people: milliseconds and per cent."""

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.tail.replayed import CLAIRVOYANT, HEDGED, UNHEDGED

Row = Mapping[str, Any]


def tail_cells(rows: Sequence[Row]) -> list[Row]:
    """A row per model, trace and approach."""
    return [
        {
            "model": row["model"],
            "trace": row["trace"],
            "approach": row["approach"],
            "mean, ms": f"{row['mean_s'] * 1e3:.0f}",
            "median": f"{row['p50_s'] * 1e3:.0f}",
            "95 %": f"{row['p95_s'] * 1e3:.0f}",
            "99 %": f"{row['p99_s'] * 1e3:.0f}",
            "longest": f"{row['longest_s'] * 1e3:.0f}",
            "end energy, J": "-" if row["end_energy_j"] is None else f"{row['end_energy_j']:.2f}",
            "run twice": f"{row['hedged'] / row['requests']:.1%}",
            "of these won": row["hedges_won"],
            "taken back": row["taken_back"],
            "failed over": row["failed_over"],
        }
        for row in rows
    ]


def promise_cells(rows: Sequence[Row]) -> list[Row]:
    """A row per probability and trace."""
    return [
        {
            "promised": f"{row['probability']:.2f} within {row['limit_s'] * 1e3:.0f} ms",
            "trace": row["trace"],
            "requests": row["requests"],
            "met": f"{row['met']:.2%}",
            "within the expected quantile": f"{row['within_expected']:.2%}",
            "believed to be kept": f"{row['kept_by_belief']:.1%}",
            "met of these": "-" if row["met_of_those"] is None else f"{row['met_of_those']:.2%}",
            "end energy, J": f"{row['end_energy_j']:.2f}",
        }
        for row in rows
    ]


def tail_targets(rows: Sequence[Row]) -> list[Row]:
    """What a hedge was to reach, per model and trace that was played with and without."""
    found = list[Row]()
    for pair in dict.fromkeys((row["model"], row["trace"]) for row in rows):
        own = {row["approach"]: row for row in rows if (row["model"], row["trace"]) == pair}
        if not {HEDGED, UNHEDGED} <= own.keys():
            continue
        with_, without, best = own[HEDGED], own[UNHEDGED], own[CLAIRVOYANT]
        limit_s = max(0.5 * without["p99_s"], 1.5 * best["p99_s"])
        told = (
            ("p99 half of that without, or 1.5 x the clairvoyant", with_["p99_s"], limit_s),
            ("mean no worse than without", with_["mean_s"], 1.005 * without["mean_s"]),
            ("at most 5 % run twice", with_["hedged"] / with_["requests"], 0.05),
            ("end energy at most 3 % more", with_["end_energy_j"], 1.03 * without["end_energy_j"]),
        )
        about = {"model": pair[0], "trace": pair[1]}
        found += [
            {**about, "target": target, "value": value, "limit": limit, "reached": value <= limit}
            for target, value, limit in told
        ]
    return found
