"""Callers that send without pause and compare every answer with the whole model's."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field

import torch

from edgesplit import EdgeSplit, EdgeSplitError

INPUTS = 7
_PAUSE_S = 0.005  # some hundred requests a second: the session keeps the last 100,000 records


@dataclass
class Tally:
    """What became of requests. waits_s: the longest so far; wrong, errors: texts for people."""

    requests: int = 0
    right: int = 0
    wrong: int = 0
    longest_wait_s: float = 0.0
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def lost(self) -> int:
        """Requests that ended in neither an answer nor an error."""
        return self.requests - self.right - self.wrong - sum(self.errors.values())


class Load:
    """Threads of callers on one session, until stop()."""

    def __init__(
        self, split: EdgeSplit, x: torch.Tensor, callers: int, pause_s: float = _PAUSE_S
    ) -> None:
        self._split, self._pause_s = split, pause_s
        self._inputs = [x * (n + 1) / INPUTS for n in range(INPUTS)]
        self._expected = [split.infer_on(f"end:0-{len(split.graph())}", y) for y in self._inputs]
        self._stopped, self._lock = threading.Event(), threading.Lock()
        self._going = threading.Event()
        self._going.set()
        self.tally = Tally()
        self._threads = [
            threading.Thread(target=self._call, args=(n,), daemon=True) for n in range(callers)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def pause(self) -> None:
        """No new requests until go()."""
        self._going.clear()

    def go(self) -> None:
        """Send again."""
        self._going.set()

    def stop(self, timeout_s: float) -> None:
        """No new requests; what is under way has so long to end, and is lost if it does not."""
        self._stopped.set()
        self._going.set()
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _call(self, number: int) -> None:
        while not self._stopped.is_set():
            time.sleep(self._pause_s)
            if self._going.wait() and not self._stopped.is_set():
                self.send(self._inputs[number % INPUTS], self._expected[number % INPUTS])
                number += 1

    def send(self, x: torch.Tensor, expected: torch.Tensor, is_bounded: bool = True) -> None:
        """One request, counted; its wait only where a bound is stated for it."""
        self._count(requests=1)
        began_s = time.perf_counter()
        try:
            answer = self._split.infer(x)
        except EdgeSplitError as error:
            waited_s = time.perf_counter() - began_s
            self._failed(f"{type(error).__name__}: {error}", waited_s if is_bounded else 0.0)
            return
        is_right = torch.equal(answer, expected)
        waited_s = time.perf_counter() - began_s if is_bounded else 0.0
        self._count(right=int(is_right), wrong=int(not is_right), waited_s=waited_s)

    def _count(
        self, requests: int = 0, right: int = 0, wrong: int = 0, waited_s: float = 0.0
    ) -> None:
        with self._lock:
            self.tally.requests += requests
            self.tally.right += right
            self.tally.wrong += wrong
            self.tally.longest_wait_s = max(self.tally.longest_wait_s, waited_s)

    def _failed(self, text: str, waited_s: float) -> None:
        with self._lock:
            self.tally.errors[text[:200]] += 1
        self._count(waited_s=waited_s)
