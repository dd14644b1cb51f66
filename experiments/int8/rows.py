"""From rounds to rows: medians, ratios within a round, and what was to be reached."""

from collections.abc import Mapping, Sequence
from statistics import median, quantiles
from typing import Any

from edgesplit.core.layer_times import TORCH
from experiments.runtimes.parts import WHOLE

INT8 = "onnx-int8"
SUM = "sum of ranges"
# Of the issue: eager torch's seconds by onnx-int8's, end only, on one thread.
SPEEDUPS = {"mobilenet_v2": 5.0, "alexnet": 4.0, "resnet18": 6.5, "vgg16": 4.5}
RANGES_WITHIN = 0.1
_SHOWN = ("model", "runtime", "part", "latency_s", "cpu_s", "speedup", "cpu_speedup")
_Part = Mapping[str, Any]


def rows_of(entry: _Part) -> list[dict[str, Any]]:
    """A row per runtime and part, and for the sum of its ranges.

    speedup, cpu_speedup: eager torch's seconds by this one's for the same layers, the median over
    rounds, by the clock on the wall and by what the thread had of a processor. sum_to_whole: what
    three ranges take by what the whole takes, by the wall; cpu_sum_to_whole by the processor.
    """
    parts = [dict(part) for part in entry["parts"]]
    names = list(dict.fromkeys(part["runtime"] for part in parts))
    parts += [_sum([part for part in parts if part["runtime"] == name]) for name in names]
    eager = {part["part"]: part for part in parts if part["runtime"] == TORCH}
    return [_row(entry["model"], part, eager[part["part"]]) for part in parts]


def verdicts(entry: _Part) -> list[dict[str, Any]]:
    """What was to be reached by this model; of models that the issue does not name, ranges only."""
    model, rows = entry["model"], rows_of(entry)
    mine = {row["part"]: row for row in rows if row["runtime"] == INT8}
    found = []
    if model in SPEEDUPS:
        value, limit = mine[WHOLE]["speedup"], SPEEDUPS[model]
        found.append(("times as quick as torch", value, limit, value >= limit))
    over = mine[SUM]["sum_to_whole"] - 1
    found.append(("three ranges over the whole", over, RANGES_WITHIN, over <= RANGES_WITHIN))
    keys = ("target", "value", "limit", "reached")
    return [{"model": model, **dict(zip(keys, one, strict=True))} for one in found]


def columns_shown(row: _Part) -> dict[str, Any]:
    """Of a row, what a terminal has room for."""
    return {name: row[name] for name in _SHOWN}


def _sum(parts: Sequence[_Part]) -> dict[str, Any]:
    whole, *ranges = parts
    summed = {
        key: [sum(taken) for taken in zip(*(part[key] for part in ranges), strict=True)]
        for key in ("wall_s", "cpu_s")
    }
    ratios = {
        "sum_to_whole": _ratio(summed["wall_s"], whole["wall_s"]),
        "cpu_sum_to_whole": _ratio(summed["cpu_s"], whole["cpu_s"]),
    }
    return {**whole, **summed, "part": SUM, **ratios}


def _ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The median over rounds."""
    return median(a / b for a, b in zip(these, those, strict=True))


def _row(model: str, part: _Part, eager: _Part) -> dict[str, Any]:
    low, middle, high = quantiles(part["wall_s"], n=4)
    return {
        "model": model,
        **{key: part[key] for key in ("runtime", "part", "start", "stop")},
        **{"latency_s": middle, "latency_s_q1": low, "latency_s_q3": high},
        "cpu_s": median(part["cpu_s"]),
        "speedup": _ratio(eager["wall_s"], part["wall_s"]),
        "cpu_speedup": _ratio(eager["cpu_s"], part["cpu_s"]),
        **{key: part.get(key) for key in ("sum_to_whole", "cpu_sum_to_whole")},
        **{key: part[key] for key in ("relative_error", "split_error")},
    }
