"""What a session's processes hold over time: memory, threads, descriptors, and their growth."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil

PERIOD_S = 2.0
_SETTLED_S = 30.0  # after a process was first seen; until then it imports and allocates
_FEWEST = 8
_TITLES = {"ray::SegmentActor": "segment actors", "ray::Scheduler": "scheduler"}
_KEYS = ("rss_bytes", "threads", "fds")


class Footprint:
    """A thread that looks at this process and at the actors among its children, while in `with`."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []
        self._began_s = time.monotonic()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="footprint", daemon=True)

    def __enter__(self) -> "Footprint":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join(10 * PERIOD_S)

    def _run(self) -> None:
        while not self._stopped.wait(PERIOD_S):
            at_s = round(time.monotonic() - self._began_s, 1)
            me = psutil.Process()
            self._look(at_s, "caller", me)
            for child in me.children(recursive=True):
                kind = _kind(child)
                if kind is not None:
                    self._look(at_s, kind, child)

    def _look(self, at_s: float, name: str, process: psutil.Process) -> None:
        try:
            with process.oneshot():
                values = process.memory_info().rss, process.num_threads(), process.num_fds()
        except psutil.Error:  # killed a moment ago
            return
        row = {"at_s": at_s, "process": name, "pid": process.pid}
        self.rows.append(row | dict(zip(_KEYS, values, strict=True)))


def growth(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Per kind of process, how much each figure grows a minute in the later half of the time.

    One slope for all processes of a kind, each with a level of its own, by least squares; u is its
    standard error. A kind that was seen too rarely is left out.
    """
    half_s = max((row["at_s"] for row in rows), default=0.0) / 2
    born_s: dict[int, float] = {}
    settled = defaultdict(list)
    for row in rows:
        since_s = row["at_s"] - born_s.setdefault(row["pid"], row["at_s"])
        if row["at_s"] >= half_s and since_s >= _SETTLED_S:
            settled[row["process"]].append(row)
    return [
        {"process": name, **_levels(some), **_slopes(some)}
        for name, some in settled.items()
        if len(some) >= _FEWEST
    ]


def _levels(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"seen": len(rows), "processes": len({row["pid"] for row in rows})} | {
        key: float(np.median([row[key] for row in rows])) for key in _KEYS
    }


def _slopes(rows: list[dict[str, Any]]) -> dict[str, float]:
    pids = np.array([row["pid"] for row in rows])
    minutes = _about_its_level(np.array([row["at_s"] for row in rows]) / 60, pids)
    spread = float(minutes @ minutes)
    freedom = len(rows) - len(set(pids)) - 1
    found: dict[str, float] = {}
    for key in _KEYS:
        values = _about_its_level(np.array([float(row[key]) for row in rows]), pids)
        slope = float(minutes @ values) / spread if spread else float("nan")
        left = values - slope * minutes
        u = float(np.sqrt(left @ left / freedom / spread)) if spread and freedom > 0 else np.nan
        found |= {f"{key}_per_minute": slope, f"{key}_per_minute_u": float(u)}
    return found


def _about_its_level(values: np.ndarray, pids: np.ndarray) -> np.ndarray:
    """Each process's values less their mean."""
    levelled = values.astype(float)
    for pid in set(pids):
        levelled[pids == pid] -= levelled[pids == pid].mean()
    return levelled


def _kind(process: psutil.Process) -> str | None:
    try:
        title = (process.cmdline() or [""])[0]
    except psutil.Error:
        return None
    return next((kind for start, kind in _TITLES.items() if title.startswith(start)), None)
