"""What a session's processes hold over time: memory, threads, descriptors, and their growth."""

import threading
import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import psutil

PERIOD_S = 2.0
_FEWEST = 8
_TITLES = {
    "ray::SegmentActor": "segment actors",
    "ray::Scheduler": "scheduler",
    "gcs_server": "Ray's head",
    "raylet": "Ray's node",
}
_KEYS = ("rss_bytes", "threads", "fds")


class Footprint:
    """A thread that looks at this process, its actors and Ray's own processes, while in `with`."""

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
    """Per kind of process, how much each figure of the one that lived longest grows a minute.

    In the later half of its time, by least squares; u is the slope's standard error. Others of the
    kind were killed before they could show anything. seen: how often it was looked at.
    """
    lives = defaultdict(list)
    for row in rows:
        lives[row["process"], row["pid"]].append(row)
    longest: dict[str, list[dict[str, Any]]] = {}
    for (kind, _), life in lives.items():
        longest[kind] = max(longest.get(kind, []), life, key=_lasted_s)
    return [
        {"process": kind, "lived_s": round(_lasted_s(life), 1), **_slopes(life[len(life) // 2 :])}
        for kind, life in longest.items()
        if len(life) >= 2 * _FEWEST
    ]


def _lasted_s(life: Sequence[dict[str, Any]]) -> float:
    return float(life[-1]["at_s"] - life[0]["at_s"]) if life else 0.0


def _slopes(rows: Sequence[dict[str, Any]]) -> dict[str, float]:
    minutes = np.array([row["at_s"] for row in rows]) / 60
    found: dict[str, float] = {"seen": len(rows)}
    for key in _KEYS:
        values = np.array([float(row[key]) for row in rows])
        (slope, _), covariance = np.polyfit(minutes, values, 1, cov=True)
        found |= {
            key: float(np.median(values)),
            f"{key}_per_minute": float(slope),
            f"{key}_per_minute_u": float(np.sqrt(covariance[0, 0])),
        }
    return found


def _kind(process: psutil.Process) -> str | None:
    try:
        title = (process.cmdline() or [""])[0].rpartition("/")[2]
    except psutil.Error:
        return None
    return next((kind for start, kind in _TITLES.items() if title.startswith(start)), None)
