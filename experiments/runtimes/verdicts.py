"""From what was measured of runtimes to the verdicts: targets, the choice, the predictions. No I/O.

A model's entry is what process.py answers for it, with its name as "model".
"""

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from edgesplit.core.layer_times import TORCH
from experiments.runtimes.parts import WHOLE

Entry = Mapping[str, Any]
Row = dict[str, Any]
# How many times quicker than eager torch ONNX Runtime was to be, all on one tier.
SPEEDUPS = {"mobilenet_v2": 3.0, "vgg16": 1.5, "alexnet": 1.5}
CHOICE_MARGIN, PREDICTION_ERROR = 0.05, 0.05


def part_rows(entry: Entry) -> list[Row]:
    """A row per part and runtime, with how many times quicker than eager torch it is."""
    eager = {row["part"]: row for row in entry["parts"] if row["runtime"] == TORCH}
    return [
        {
            "model": entry["model"],
            **row,
            "speedup": eager[row["part"]]["latency_s"] / row["latency_s"],
            "cpu_speedup": eager[row["part"]]["cpu_s"] / row["cpu_s"],
        }
        for row in entry["parts"]
    ]


def prediction(entry: Entry) -> Row:
    """Median and 90th percentile of the plans' absolute errors; cpu_...: by processor seconds.

    bias_N: the median signed error by those seconds of plans of N ranges, None where none has N; a
    fixed cost per range that rows do not hold would make it fall with N.
    """
    found: Row = {"model": entry["model"], "plans": len(entry["plans"])}
    for key in ("error", "cpu_error"):
        sizes = sorted(abs(plan[key]) for plan in entry["plans"])
        found |= {f"{key}_median": median(sizes), f"{key}_p90": sizes[int(0.9 * (len(sizes) - 1))]}
    for ranges in (1, 2, 3):
        errors = [p["cpu_error"] for p in entry["plans"] if p["ranges"] == ranges]
        found[f"bias_{ranges}"] = median(errors) if errors else None
    return found


def verdicts(entry: Entry) -> list[Row]:
    """What was to be reached of one model, what came out, and whether it was reached."""
    wholes = {row["runtime"]: row for row in part_rows(entry) if row["part"] == WHOLE}
    best_s = min(row["latency_s"] for row in wholes.values())
    behind = wholes[entry["chosen"]]["latency_s"] / best_s - 1
    found = [
        ("chosen runtime's latency over the best one's", behind, CHOICE_MARGIN),
        ("median error of prediction", prediction(entry)["error_median"], PREDICTION_ERROR),
    ]
    rows = [_verdict(entry, what, value, limit, value <= limit) for what, value, limit in found]
    least = SPEEDUPS.get(entry["model"])
    if least is not None and "onnx" in wholes:
        speedup = wholes["onnx"]["speedup"]
        rows.insert(0, _verdict(entry, "onnx over torch", speedup, least, speedup >= least))
    return rows


def _verdict(entry: Entry, target: str, value: float, limit: float, reached: bool) -> Row:
    return {
        "model": entry["model"],
        "target": target,
        "limit": limit,
        "value": value,
        "reached": reached,
    }


def missing_rows(entries: Sequence[Entry]) -> list[Row]:
    """A row per model and runtime that is not there, with the reason."""
    return [
        {"model": entry["model"], "runtime": runtime, "reason": reason}
        for entry in entries
        for runtime, reason in entry["missing"].items()
    ]
