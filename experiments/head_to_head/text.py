"""The tables of head_to_head for people: regret by condition, and every figure of a cell."""

from collections.abc import Sequence

import numpy as np

from experiments.head_to_head.rows import BEST_STATIC, CLAIRVOYANT, OURS, RANDOM, Row
from experiments.head_to_head.targets import cells_of, standing


def by_policy(rows: Sequence[Row]) -> list[Row]:
    """A row per policy: over all cells how it stands beside ours and beside clairvoyance.

    Random and hindsight come last.
    """
    names = list(dict.fromkeys(row["policy"] for row in rows))
    found = []
    for name in names:
        own = [row for row in rows if row["policy"] == name]
        over = np.array([row["over ours"] for row in own])
        clear = [row for row in own if not row["within_noise"]]
        found.append(
            {
                "policy": name,
                "kind": own[0]["kind"],
                "cells": len(own),
                "score over clairvoyant, mean": _percent(_mean(own, f"over {CLAIRVOYANT}")),
                "over best static": _percent(_mean(own, f"over {BEST_STATIC}")),
                "over ours, median": _percent(float(np.median(over))),
                "better than ours": sum(row["over ours"] < 0 for row in clear),
                "within noise": len(own) - len(clear),
                "worse": sum(row["over ours"] > 0 for row in clear),
                "late": f"{_mean(own, 'late'):.1%}",
                "switches per 100": f"{_switches(own):.1f}",
            }
        )
    return found


def by_condition(rows: Sequence[Row], goal: str) -> list[Row]:
    """A row per condition: score over clairvoyant of each policy, mean over models."""
    own = [
        row for row in rows if row["goal"] == goal and row["policy"] not in (CLAIRVOYANT, RANDOM)
    ]
    found = []
    for condition in dict.fromkeys(row["condition"] for row in own):
        line: Row = {"condition": condition}
        for name in dict.fromkeys(row["policy"] for row in own):
            some = [r for r in own if r["condition"] == condition and r["policy"] == name]
            line[name] = _percent(_mean(some, f"over {CLAIRVOYANT}")) if some else "-"
        found.append(line)
    return found


def cell_tables(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    """(title, table) of every model, condition and goal."""
    found = []
    for (model, condition, goal), cell in cells_of(rows).items():
        title = f"{model}, {condition}, goal {goal}"
        found.append((title, [_line(row) for row in sorted(cell, key=lambda row: row["score"])]))
    return found


def _line(row: Row) -> Row:
    name = f"**{row['policy']}**" if row["policy"] == OURS else row["policy"]
    sign = "~ " if row["within_noise"] and row["policy"] != OURS else ""
    return {
        "policy": name,
        "score": f"{row['score']:.4f} ({row['score, low']:.4f} to {row['score, high']:.4f})",
        "over ours": "" if row["policy"] == OURS else sign + _percent(row["over ours"]),
        "over clairvoyant": _percent(row[f"over {CLAIRVOYANT}"]),
        "mean, ms": f"{row['mean_s'] * 1e3:.0f}",
        "median": f"{row['p50_s'] * 1e3:.0f}",
        "95 %": f"{row['p95_s'] * 1e3:.0f}",
        "99 %": f"{row['p99_s'] * 1e3:.0f}",
        "waited": f"{row['waited_s'] * 1e3:.0f}",
        "end, J": f"{row['end_j']:.2f}",
        "all, J": f"{row['total_j']:.2f}",
        "late": f"{row['late']:.1%}",
        "switches": row["switches"],
        "run twice": row["hedged"],
        "failed over": row["failed_over"],
        "plan": row["plan"] or None,
    }


def standings(rows: Sequence[Row]) -> list[Row]:
    """How ours stands in each cell beside the best other causal policy."""
    return [standing(cell) for cell in cells_of(rows).values()]


def _mean(rows: Sequence[Row], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def _switches(rows: Sequence[Row]) -> float:
    return float(100 * sum(r["switches"] for r in rows) / sum(r["requests"] for r in rows))


def _percent(share: float) -> str:
    """Signed; far-off ones as factors."""
    return f"x {1 + share:.3g}" if share >= 1 else f"{100 * share:+.1f} %"
