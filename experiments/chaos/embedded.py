"""Chaos on the embedded cluster: processes killed and frozen, emulated links throttled, tiers slow.

First every fault of the matrix once, then single ones and pairs drawn by the seed. Every output is
compared, bit for bit, with the whole model's.
"""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch

from edgesplit import Config, EdgeSplit, Emulation
from experiments.chaos.faults import Fault, Scene, drawn, faults
from experiments.chaos.footprint import Footprint, growth
from experiments.chaos.load import Load, is_calm
from experiments.shared.small_net import small_net

PLAN = "end:0-2 | edge:2-5 | cloud:5-8"
CALLERS = 4
BACK_LIMIT_S = 120.0
_CALM_S = 2.0  # served as planned for so long: adaptation is back
_LOOK_S = 0.2
_END_S = 90.0


def run(seconds: float, seed: int, policy: str, say: Any) -> dict[str, Any]:
    """Faults for so long, at least the whole matrix; the summary, and resources over time."""
    rng, singles = np.random.default_rng(seed), faults()
    config = Config(emulation=Emulation(), runtimes=("torch",))
    with EdgeSplit(small_net(), policy=policy, config=config) as split:
        x = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(seed))
        split.infer(x)
        scene = Scene(split)
        scene.calm()
        load = Load(split, x, CALLERS)
        load.start()
        rows, until_s = [], time.monotonic() + seconds
        with Footprint() as footprint:
            while singles or time.monotonic() < until_s:
                row = _one(split, scene, load, drawn(rng, singles))
                rows.append(row)
                say(" ".join(f"{key}={value}" for key, value in row.items()))
        load.stop(_END_S)
        found = _summary(split, load, rows) | {"growth": growth(footprint.rows)}
        return found | {"seed": seed, "policy": policy, "footprint": footprint.rows}


@dataclass(frozen=True)
class _Before:
    requests: int
    errors: int
    wrong: int


def _one(split: EdgeSplit, scene: Scene, load: Load, some: tuple[Fault, ...]) -> dict[str, Any]:
    tally = load.tally
    before = _Before(tally.requests, tally.errors.total(), tally.wrong)
    tally.longest_wait_s = 0.0
    last = split.last_record
    since_s = last.at_s if last is not None else 0.0
    for fault in some:
        try:
            scene.inflict(fault)
        except psutil.NoSuchProcess:
            continue  # killed by the fault before, and not back yet
    back_s = _back(split)
    return {
        "fault": " + ".join(map(str, some)),
        "requests": tally.requests - before.requests,
        "by_fallback": _count(split, since_s, "why"),
        "hedged": _count(split, since_s, "hedged"),
        "errors": tally.errors.total() - before.errors,
        "wrong": tally.wrong - before.wrong,
        "longest_wait_s": round(tally.longest_wait_s, 3),
        "back_s": None if back_s is None else round(back_s, 1),
    }


def _count(split: EdgeSplit, since_s: float, column: str) -> int:
    """Requests sent since that moment whose records say something there."""
    return int((split.records(since_s)[column] != "").sum())


def _back(split: EdgeSplit) -> float | None:
    """Seconds until no tier was left out and requests went as planned; None: not in time."""
    began_s = calm_s = time.monotonic()
    while time.monotonic() - began_s < BACK_LIMIT_S:
        if not is_calm(split):
            calm_s = time.monotonic()
        elif time.monotonic() - calm_s >= _CALM_S:
            return calm_s - began_s
        time.sleep(_LOOK_S)
    return None


def _summary(split: EdgeSplit, load: Load, rows: list[dict[str, Any]]) -> dict[str, Any]:
    tally = load.tally
    return {
        "emulated": True,
        "requests": tally.requests,
        "right": tally.right,
        "by_fallback": sum(row["by_fallback"] for row in rows),
        "hedged": sum(row["hedged"] for row in rows),
        "errors": tally.errors.total(),
        "lost": tally.lost,
        "wrong": tally.wrong,
        "longest_wait_s": max(row["longest_wait_s"] for row in rows),
        "not_back": sum(row["back_s"] is None for row in rows),
        "faults": rows,
        "error_texts": [f"{count} x {text}" for text, count in tally.errors.most_common(10)],
    }
