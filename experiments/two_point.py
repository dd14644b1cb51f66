"""The paper's formula for its GPU, kept as a baseline: (P0 + P1) / 2 x t, arXiv 2605.09623.

Two readings of power, when a window begins and when it ends, whatever they are averaged over: on
Ampere and newer each is a trailing mean of 1 s, so a short phase mostly shows what ran before.
"""

import time
from collections.abc import Callable
from typing import Any


class TwoPoint:
    """Joules of one GPU between two moments. api: pynvml, while it is initialised."""

    def __init__(self, api: Any, gpu: int, clock: Callable[[], float] = time.perf_counter) -> None:
        self._api, self._clock = api, clock
        self._handle = api.nvmlDeviceGetHandleByIndex(gpu)

    def mark(self) -> tuple[float, float]:
        """The time, and the watts at it."""
        watts = self._api.nvmlDeviceGetPowerUsage(self._handle) / 1e3
        return self._clock(), watts

    def joules_since(self, mark: tuple[float, float]) -> float:
        """From a mark until now."""
        (start_s, start_w), (stop_s, stop_w) = mark, self.mark()
        return (start_w + stop_w) / 2 * (stop_s - start_s)
