"""Callers of every kind that send without pause and compare every answer with the whole model's."""

import collections
import itertools
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import torch

from edgesplit import EdgeSplit, EdgeSplitError
from experiments.shared.tally import Tally

INPUTS = 7
LIMIT_S = 60.0  # of the callers that set one; more than any bound of the matrix
_PAUSE_S = 0.005  # some hundred requests a second
_MAPPED = 24


class Load:
    """Threads of callers on one session, until stop().

    By turns: one that infers, one that infers two images at once, one that sets a time limit, one
    that maps over 24 inputs. A wait in `map` is the time from one result to the next.
    """

    def __init__(self, split: EdgeSplit, x: torch.Tensor, callers: int) -> None:
        self._split = split
        self._single, self._double = _Inputs(split, x), _Inputs(split, torch.cat([x, -x]))
        self._stopped = threading.Event()
        self.tally = Tally()
        kinds = itertools.cycle([self._infer, self._infer_two, self._infer_within, self._map])
        self._threads = [
            threading.Thread(target=self._call, args=(kind, n), daemon=True)
            for n, kind in zip(range(callers), kinds, strict=False)
        ]

    def start(self) -> None:
        """Begin to send."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout_s: float) -> None:
        """No new requests; what is under way has so long to end, and is lost if it does not."""
        self._stopped.set()
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _call(self, send: Callable[[int], None], number: int) -> None:
        while not self._stopped.is_set():
            time.sleep(_PAUSE_S)
            send(number)
            number += 1

    def _infer(self, number: int) -> None:
        self._ask(self._single, number, self._split.infer)

    def _infer_two(self, number: int) -> None:
        self._ask(self._double, number, self._split.infer)

    def _infer_within(self, number: int) -> None:
        self._ask(self._single, number, lambda x: self._split.infer_within(LIMIT_S, x))

    def _ask(self, inputs: "_Inputs", number: int, infer: Callable[[Any], Any]) -> None:
        which = number % INPUTS
        self.tally.sent()
        began_s = time.perf_counter()
        try:
            answer = infer(inputs.given[which])
        except EdgeSplitError as error:
            self.tally.failed(error, time.perf_counter() - began_s)
        else:
            self._compare(answer, inputs.expected[which], time.perf_counter() - began_s)

    def _map(self, number: int) -> None:
        which = [k % INPUTS for k in range(number, number + _MAPPED)]
        unanswered = collections.deque[int]()

        def inputs() -> Iterator[torch.Tensor]:
            for k in which:
                unanswered.append(k)
                self.tally.sent()
                yield self._single.given[k]

        answers = self._split.map(inputs())
        while True:
            began_s = time.perf_counter()
            try:
                answer = next(answers)
            except StopIteration:
                return
            except EdgeSplitError as error:  # ends the map, and with it all that it has taken in
                self.tally.failed(error, time.perf_counter() - began_s, len(unanswered))
                return
            expected = self._single.expected[unanswered.popleft()]
            self._compare(answer, expected, time.perf_counter() - began_s)

    def _compare(self, answer: Any, expected: torch.Tensor, waited_s: float) -> None:
        self.tally.answered(torch.equal(answer, expected), waited_s)


class _Inputs:
    """Inputs of one shape and what the whole model makes of them."""

    def __init__(self, split: EdgeSplit, x: torch.Tensor) -> None:
        self.given = inputs_of(x)
        split.infer(x)
        self.expected = [split.infer_on(f"end:0-{len(split.graph)}", y) for y in self.given]


def inputs_of(x: torch.Tensor) -> list[torch.Tensor]:
    """As many as a caller sends by turns."""
    return [x * (n + 1) / INPUTS for n in range(INPUTS)]


def is_calm(split: EdgeSplit) -> bool:
    """Whether no tier is left out of plans and the last request went as planned."""
    try:
        record = split.last_record
        return not split.excluded_tiers and record is not None and not record.why
    except EdgeSplitError:  # the scheduler is away
        return False
