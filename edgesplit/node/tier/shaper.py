"""Sends frames, held back as the emulated links that leave a tier would."""

import collections
import contextlib
import heapq
import itertools
import threading
import time
from collections.abc import Callable, Sequence

from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.lane import OPEN, EmulatedLink, Held
from edgesplit.node.tier.transmission import InLane, OnConnection, Transmission
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection

SendFrame = Callable[[], object]


class Shaper:
    """One thread that sends what was held back, once it is due."""

    def __init__(self) -> None:
        self._emulation = TierEmulation()
        self._lanes = collections.defaultdict[str, EmulatedLink](EmulatedLink)
        self._due: list[tuple[float, int, SendFrame]] = []
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

    def emulate(self, emulation: TierEmulation) -> None:
        """Shape links so from now on, also for what is held back already."""
        with self._changed:
            self._take_off()  # as the old shapes have it
            now_s = time.perf_counter()
            for target in {*self._lanes, *emulation.shapes}:
                self._lanes[target].reshape(emulation.shapes.get(target, OPEN), now_s)
            self._emulation = emulation
            self._changed.notify()

    def send(
        self,
        link: Connection,
        target: str | None,
        message: wire.Message,
        buffers: Sequence[wire.Buffer] = (),
    ) -> Transmission:
        """Post now, or once the emulated link to `target` would have brought it over.

        Nobody waits in here for a peer to read. target None: the caller, never held back. Raises
        OSError where the peer is gone.
        """
        if target is None or target not in self._emulation.shapes:
            return OnConnection(link, link.post(message, buffers))
        n_bytes = sum([buffer.nbytes for buffer in buffers])
        held = Held(n_bytes, link, lambda: link.post(message, buffers))
        with self._changed:
            lane = self._lanes[target]
            lane.add(held, time.perf_counter())
            self._changed.notify()
        return InLane(lane, held, self._changed)

    def _run(self) -> None:
        while self._running:
            for send in self._wait():
                with contextlib.suppress(Exception):  # the connection is closed: its reader tells
                    send()

    def _wait(self) -> list[SendFrame]:
        """What is due, after waiting for it."""
        with self._changed:
            self._take_off()
            rest_s = self._next_s() - time.perf_counter()
            if rest_s > 0 and self._running:
                self._changed.wait(min(rest_s, threading.TIMEOUT_MAX))
            self._take_off()
            now_s = time.perf_counter()
            sends = []
            while self._due and self._due[0][0] <= now_s:
                sends.append(heapq.heappop(self._due)[2])
            return sends

    def _take_off(self) -> None:
        """Frames that have left their lanes are under way now: their latencies overlap."""
        now_s = time.perf_counter()
        for lane in self._lanes.values():
            for due_s, held in lane.leaving(now_s):
                heapq.heappush(self._due, (due_s, next(self._order), held.send))

    def _next_s(self) -> float:
        first_s = self._due[0][0] if self._due else float("inf")
        return min([first_s, *(lane.next_s() for lane in self._lanes.values())])
