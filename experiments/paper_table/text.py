"""The paper table for people: cells in milliseconds, joules and per cent, and the Markdown page."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.paper_table.approaches import ADAPTIVE, MIDDLE
from experiments.shared.paper import PAPER, Reported
from experiments.shared.report import markdown_table

Row = Mapping[str, Any]
ENERGY_NOTE = (
    "End energy is that of the end tier alone, total energy that of all tiers. The paper's energy "
    "charges its Raspberry Pi 12 W for the seconds it is busy, as our power model charges the end "
    "tier, so end energy is the nearer counterpart; both are compared. None of them is metered."
)


def row_cells(rows: Sequence[Row]) -> list[Row]:
    """The table's rows: mean ± deviation over repetitions."""
    return [
        {
            "model": row["model"],
            "approach": row["approach"],
            "latency, ms": _pm(row["latency_s_mean"], row["latency_s_std"], 1e3),
            "end energy, J": _pm(row["end_energy_j_mean"], row["end_energy_j_std"]),
            "total energy, J": _pm(row["energy_j_mean"], row["energy_j_std"]),
            "score": _pm(row["score"], row["score_std"]),
            "regret": _percent(row["regret"]),
            "plan": f"{row['plan']}{_others(row['plans'])}",
            "runtimes": row["runtimes"],
            "requests": f"{row['requests']}{_failed(row['failed'])}",
        }
        for row in rows
    ]


def change_cells(changes: Sequence[Row]) -> list[Row]:
    """Adaptive against each other approach."""
    names = {"latency_s": "latency", "end_energy_j": "end energy", "energy_j": "total energy"}
    return [
        {
            "model": row["model"],
            "adaptive against": row["against"],
            **{name: _percent(row[column]) for column, name in names.items()},
            "score": _percent(row["score"]),
        }
        for row in changes
    ]


def paper_cells(rows: Sequence[Row]) -> list[Row]:
    """Static-middle and adaptive beside the paper's static and adaptive, per model and figure."""
    found = {(row["model"], row["approach"]): row for row in rows}
    return [
        _beside(model, figure, (found[model, MIDDLE], found[model, ADAPTIVE]))
        for model in dict.fromkeys(row["model"] for row in rows)
        for figure in ("latency", "end energy", "total energy")
    ]


_COLUMNS = {
    "latency": ("latency_s", "latency_s", "ms", 1e3),
    "end energy": ("end_energy_j", "energy_j", "J", 1.0),
    "total energy": ("energy_j", "energy_j", "J", 1.0),
}


def _beside(model: str, figure: str, pair: tuple[Row, Row]) -> Row:
    ours, of_paper, unit, scale = _COLUMNS[figure]
    means = [row[f"{ours}_mean"] for row in pair]
    cells = [_pm(row[f"{ours}_mean"], row[f"{ours}_std"], scale) for row in pair]
    paper = PAPER.get(model)
    kinds = ("static", "adaptive")
    reported: list[Reported | None] = [
        getattr(paper, f"{kind}_{of_paper}") if paper else None for kind in kinds
    ]
    paper_change = getattr(paper, f"{of_paper.rpartition('_')[0]}_change") if paper else None
    return {
        "model": model,
        "figure": f"{figure}, {unit}",
        "static-middle": cells[0],
        "adaptive": cells[1],
        "change": _percent(means[1] / means[0] - 1),
        **{
            f"paper: {kind}": _pm(r.mean, r.std, scale) if r else "-"
            for kind, r in zip(kinds, reported, strict=True)
        },
        "paper: change": "-" if paper_change is None else _percent(paper_change),
    }


def table_page(summary: Row) -> str:
    """paper_table.md."""
    targets = [
        {
            "model": row["model"],
            "target": row["target"],
            "to reach": f"{row['limit']:+.0%} or less",
            "measured": _percent(row["value"]),
            "reached": "yes" if row["reached"] else "no",
        }
        for row in summary["targets"]
    ]
    return "\n".join(
        [
            f"{summary['provenance']} Energy is {summary['energy']}, {summary['boundary']} "
            f"boundary. The oracle is the best measured of {summary['oracle']}.\n",
            "Per request, mean ± standard deviation over the repetitions' means:\n",
            markdown_table(row_cells(summary["rows"])),
            "Adaptive against each other approach:\n",
            markdown_table(change_cells(summary["changes"])),
            f"Beside the paper (arXiv 2605.09623). {ENERGY_NOTE}\n",
            markdown_table(paper_cells(summary["rows"])),
            "What was to be reached:\n",
            markdown_table(targets),
        ]
    )


def _pm(mean: float, std: float | None, scale: float = 1.0) -> str:
    """Mean ± deviation, the mean with four significant digits."""
    digits = max(0, 3 - math.floor(math.log10(mean * scale))) if mean > 0 else 0
    spread = "" if std is None else f" ± {std * scale:.{digits}f}"
    return f"{mean * scale:.{digits}f}{spread}"


def _percent(change: float) -> str:
    return f"{change:+.1%}"


def _others(plans: int) -> str:
    return f" and {plans - 1} more" if plans > 1 else ""


def _failed(failed: int) -> str:
    return f", {failed} failed" if failed else ""
