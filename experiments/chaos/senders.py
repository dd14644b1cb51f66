"""Callers that can be paused, each with an input after the other, every answer compared."""

import threading
import time

import torch

from edgesplit import EdgeSplit, EdgeSplitError
from experiments.chaos.load import INPUTS, inputs_of
from experiments.shared.tally import Tally

_PAUSE_S = 0.04


class Senders:
    """Threads of callers on one session, until stop(). expected: what the model makes of inputs.

    tolerance: how far an answer may be off, of its largest element; 0: by no bit. worst: how far
    the one was that was off most.
    """

    def __init__(
        self,
        split: EdgeSplit,
        x: torch.Tensor,
        expected: list[torch.Tensor],
        callers: int,
        tolerance: float = 0.0,
    ) -> None:
        self._split, self._expected = split, expected
        self._tolerance, self.worst = tolerance, 0.0
        self._inputs = inputs_of(x)
        self._stopped, self._going = threading.Event(), threading.Event()
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
        """No new requests; what is under way has so long to end."""
        self._stopped.set()
        self._going.set()
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def send(self, x: torch.Tensor, expected: torch.Tensor, is_bounded: bool = True) -> float:
        """One request, counted; its seconds, which count only where a bound is stated for it."""
        self.tally.sent()
        began_s = time.perf_counter()
        try:
            is_right = self._is_right(self._split.infer(x), expected)
        except EdgeSplitError as error:
            took_s = time.perf_counter() - began_s
            self.tally.failed(error, took_s if is_bounded else 0.0)
        else:
            took_s = time.perf_counter() - began_s
            self.tally.answered(is_right, took_s if is_bounded else 0.0)
        return took_s

    def _is_right(self, answer: torch.Tensor, expected: torch.Tensor) -> bool:
        if torch.equal(answer, expected):
            return True
        off = float((answer - expected).abs().max() / expected.abs().max())
        self.worst = max(self.worst, off)
        return off <= self._tolerance

    def send_first(self) -> None:
        """One request with the first input, counted."""
        self.send(self._inputs[0], self._expected[0])

    def _call(self, number: int) -> None:
        while not self._stopped.is_set():
            time.sleep(_PAUSE_S)
            if self._going.wait() and not self._stopped.is_set():
                self.send(self._inputs[number % INPUTS], self._expected[number % INPUTS])
                number += 1
