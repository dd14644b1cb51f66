"""Sends frames, held back as the emulated links that leave a tier would."""

import contextlib
import heapq
import itertools
import math
import threading
import time
from collections.abc import Callable, Sequence

from edgesplit.node import wire
from edgesplit.node.connection import Connection
from edgesplit.node.emulate import LinkShape, TierEmulation

Send = Callable[[], None]


class Shaper:
    """One thread that sends what was held back, once it is due."""

    def __init__(self) -> None:
        self.emulation = TierEmulation()
        self._due: list[tuple[float, int, Send]] = []
        self._free_at_s: dict[str | None, float] = {}
        self._order = itertools.count()
        self._changed = threading.Condition()
        self._running = True
        self._thread = threading.Thread(target=self._run, name="edgesplit-shaper", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End; what is still held back is dropped."""
        with self._changed:
            self._running = False
            self._changed.notify()
        self._thread.join(timeout_s)

    def send(
        self,
        link: Connection,
        target: str | None,
        message: wire.Message,
        buffers: Sequence[wire.Buffer] = (),
    ) -> None:
        """Send now, or once the emulated link to `target` would have brought it over.

        target None: the caller, never held back. Raises OSError where the peer is gone.
        """
        shape = None if target is None else self.emulation.shapes.get(target)
        if shape is None:
            link.send(message, buffers)
        else:
            n_bytes = sum([buffer.nbytes for buffer in buffers])
            self._hold(target, shape, n_bytes, lambda: link.send(message, buffers))

    def _hold(self, target: str | None, shape: LinkShape, n_bytes: int, send: Send) -> None:
        with self._changed:
            due_s = self._due_s(target, n_bytes, shape)
            heapq.heappush(self._due, (due_s, next(self._order), send))
            self._changed.notify()

    def _due_s(self, target: str | None, n_bytes: int, shape: LinkShape) -> float:
        """Frames of one link follow each other; their latency overlaps."""
        start_s = max(time.perf_counter(), self._free_at_s.get(target, 0.0))
        self._free_at_s[target] = start_s + n_bytes / shape.bytes_per_s
        return self._free_at_s[target] + shape.latency_s

    def _run(self) -> None:
        while self._running:
            for send in self._wait():
                with contextlib.suppress(OSError):  # the peer is gone: its reader tells
                    send()

    def _wait(self) -> list[Send]:
        """What is due, after waiting for it."""
        with self._changed:
            rest_s = self._next_s() - time.perf_counter()
            if rest_s > 0 and self._running:
                self._changed.wait(min(rest_s, threading.TIMEOUT_MAX))
            now_s = time.perf_counter()
            sends = []
            while self._due and self._due[0][0] <= now_s:
                sends.append(heapq.heappop(self._due)[2])
            return sends

    def _next_s(self) -> float:
        return self._due[0][0] if self._due else math.inf
