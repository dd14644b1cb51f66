"""What was to be reached, over the rows of all cells; and how often ours was best."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments.head_to_head.rows import (
    BEST_TRIVIAL,
    CAUSAL,
    CLAIRVOYANT,
    EVEN,
    OURS,
    Row,
)

BEST_SHARE, ELSEWHERE, TRIVIAL, OVER_CLAIRVOYANT = 0.9, 0.02, 0.02, 0.1


def cells_of(rows: Sequence[Row]) -> dict[tuple[str, str, str], list[Row]]:
    """The rows of each model, condition and goal."""
    cells = defaultdict(list)
    for row in rows:
        cells[row["model"], row["condition"], row["goal"]].append(row)
    return dict(cells)


def rival_of(cell: Sequence[Row]) -> Row:
    """The best causal policy that is not ours."""
    return min(_rivals(cell), key=lambda row: row["score"])


def _rivals(cell: Sequence[Row]) -> list[Row]:
    return [row for row in cell if row["kind"] in CAUSAL[1:]]


def standing(cell: Sequence[Row]) -> Row:
    """How ours does beside the best other causal policy of one cell.

    over: its score over that one's, less 1. is_least: not above it by as much as EVEN, or within
    noise. is_least_charged: the same if who is told of links and tiers paid for it the joules
    of EdgeSplit's probes; who always takes one plan needs to know nothing.
    """
    ours = next(row for row in cell if row["policy"] == OURS)
    rival = rival_of(cell)
    over = ours["score"] / rival["score"] - 1
    is_least = over <= EVEN or rival["within_noise"]
    charged = [
        (row["score"] + (ours["of which probes"] if row["kind"] != "trivial" else 0.0), row)
        for row in _rivals(cell)
    ]
    least, who = min(charged, key=lambda pair: pair[0])
    return {
        **{name: ours[name] for name in ("model", "condition", "goal")},
        "rival": rival["policy"],
        "over": over,
        "within_noise": rival["within_noise"],
        "is_least": is_least,
        "is_least_charged": ours["score"] / least - 1 <= EVEN or who["within_noise"],
        "over_trivial": ours[f"over {BEST_TRIVIAL}"],
        "over_clairvoyant": ours[f"over {CLAIRVOYANT}"],
    }


def targets(rows: Sequence[Row], traces: Sequence[str]) -> list[dict[str, Any]]:
    """Each with its value, its limit and whether it is reached. traces: conditions that are one."""
    every = [standing(cell) for cell in cells_of(rows).values()]
    rest = [one["over"] for one in every if not one["is_least"]]
    on_traces = [one["over_clairvoyant"] for one in every if one["condition"] in traces]
    share = float(np.mean([one["is_least"] for one in every]))
    found = [
        ("cells in which ours has the least score of all causal policies", share, BEST_SHARE, True),
        ("elsewhere over the best one, at most", max(rest, default=0.0), ELSEWHERE, False),
        (
            "over the best trivial one, at most",
            max(o["over_trivial"] for o in every),
            TRIVIAL,
            False,
        ),
    ]
    if on_traces:
        mean = float(np.mean(on_traces))
        found.append(("over clairvoyant, mean over traces", mean, OVER_CLAIRVOYANT, False))
    return [
        {
            "target": text,
            "value": value,
            "limit": limit,
            "reached": value >= limit if is_floor else value <= limit,
        }
        for text, value, limit, is_floor in found
    ]
