"""Whether a range may be run for several requests at once, and what each number of them takes.

It may where each request gets what it would get alone: on several payloads that differ, and to the
bit whatever its neighbour in the run is. No torch is imported here.
"""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import cycle, islice
from typing import Any

from edgesplit.core.batch_times import MARGIN, BatchTimes
from edgesplit.errors import InexactRuntimeError, RuntimeUnavailableError
from edgesplit.node.program.run_slot import Clock, RunSlot, unslotted
from edgesplit.node.runtime.batched import Joint
from edgesplit.node.runtime.check import Exactness, Run, difference, require

SIZES = (2, 4, 8, 16)
LONGEST_S = 1.0  # of one run: whoever comes meanwhile waits for its end
_ROUNDS = 5
_FEWEST_ROUNDS = 3
_ENOUGH_S = 0.5  # of rounds for one size
_WORTH = 0.02  # that a size takes less per request than the best before it, or it gains nothing
_MISSES = 2  # sizes in a row that gain nothing: there are no more, unless each took much less
_FALLING = 0.9


@dataclass(frozen=True, eq=False)
class JointTrial:
    """A payload at the range's first cut, and what the range makes of it alone."""

    name: str
    payload: Sequence[Any]
    expected: Sequence[Any]


@dataclass(frozen=True, eq=False)
class BatchBench:
    """A range alone and for several at once.

    trials: the first one is timed; at least two. All runs are in run slots, the longest of which
    holds a single run and one for several. work: the clock by which runs are compared; of a single
    thread the seconds that it had of a processor, which no other program lengthens.
    """

    what: str
    single: Run
    joint: Joint
    trials: Sequence[JointTrial]
    wanted: Exactness = field(default_factory=Exactness)
    run_slot: RunSlot = unslotted
    clock: Clock = time.perf_counter
    work: Clock = time.perf_counter

    def times(self) -> BatchTimes:
        """Seconds of one run per number of requests, as far as more of them gain.

        Sizes of which one run would take over LONGEST_S, if nothing else ran, are not tried. Raises
        RuntimeUnavailableError where nothing is gained, or requests do not get their own answers.
        """
        self.require_apart()
        measured, look_s = [(1, 1.0)], self._look_s()  # in runs of one request
        singles: list[float] = []
        for size in SIZES:
            if _is_enough([runs / n for n, runs in measured]):
                break
            if measured[-1][1] * size / measured[-1][0] * look_s > LONGEST_S:
                break
            self.require_right(size)
            measured.append((size, self._in_single_runs(size, singles)))
        alone_s = statistics.median(singles or [look_s])
        return self._worthwhile(BatchTimes(tuple(measured)).scaled(alone_s))

    def require_apart(self) -> None:
        """Raise InexactRuntimeError where a request's answer depends on who is in the run with it.

        To the bit: the same kernels run on the same numbers, whatever stands beside them.
        """
        first, *others = (trial.expected for trial in self.trials)
        if not any(difference(first, other) for other in others):
            raise RuntimeUnavailableError(
                f"{self.what} give the example and all noise the same answer, so that nothing "
                "tells whether requests get their own from one run"
            )
        mine = self.trials[0].payload
        neighbours = [self.trials[1].payload, self.trials[2 % len(self.trials)].payload]
        for place in (0, 1):
            pairs = [[mine, one] if place == 0 else [one, mine] for one in neighbours]
            a, b = self.run_slot(partial(_each, self.joint, pairs))
            if difference(a[place], b[place]) != 0.0:
                raise InexactRuntimeError(
                    f"{self.what} give a request another answer beside another request: they "
                    "look across the batch, so that each request runs alone"
                )

    def require_right(self, size: int) -> None:
        """Raise InexactRuntimeError where one of so many does not get what it gets alone."""
        given = list(islice(cycle(self.trials), size))
        made = self.run_slot(partial(self.joint, [trial.payload for trial in given]))
        for trial, one in zip(given, made, strict=True):
            what = f"{self.what} for {size} requests at once"
            require(what, trial.name, difference(one, trial.expected), self.wanted)

    def _worthwhile(self, times: BatchTimes) -> BatchTimes:
        """Without what is never used."""
        if times.most > 1:
            sizes = [size for size, _ in times.measured if size < times.most] + [times.most]
            return BatchTimes(tuple((size, times.seconds(size)) for size in sizes))
        if times.largest == 1:
            raise RuntimeUnavailableError(
                f"{self.what} take so long that one run for two would take over {LONGEST_S:g} s"
            )
        each = {size: seconds / size for size, seconds in times.measured}
        found = ", ".join(f"{size}: {1e3 * seconds:.3g}" for size, seconds in each.items())
        raise RuntimeUnavailableError(
            f"{self.what} gain less than {MARGIN:.0%} by running several requests at once (ms "
            f"each: {found})"
        )

    def _in_single_runs(self, size: int, singles: list[float]) -> float:
        """How many single runs one for so many takes: by turns, so that load slows both.

        Of the rounds the last but one: noise is not to pass for a gain. singles: grows by what the
        single runs took.
        """
        payload = self.trials[0].payload
        ratios: list[float] = []
        spent_s = 0.0
        while len(ratios) < _ROUNDS and (len(ratios) < _FEWEST_ROUNDS or spent_s < _ENOUGH_S):
            runs = partial(self.single, payload), partial(self.joint, [payload] * size)
            alone, joint = self.run_slot(partial(self._seconds, *runs))
            singles.append(alone[0])
            ratios.append(joint[1] / alone[1])
            spent_s += alone[0] + joint[0]
        return sorted(ratios)[-2]

    def _look_s(self) -> float:
        """What a single run takes by `work` after the first, which allocates and picks kernels."""
        run = partial(self.single, self.trials[0].payload)
        _, (_, seconds) = self.run_slot(partial(self._seconds, run, run))
        return float(seconds)

    def _seconds(self, *runs: Callable[[], Any]) -> list[tuple[float, float]]:
        """Of each run, one after another, by `clock` and by `work`."""
        times = []
        for run in runs:
            began_s, work_s = self.clock(), self.work()
            run()
            times.append((self.clock() - began_s, self.work() - work_s))
        return times


def _each(run: Callable[[Any], Any], given: Sequence[Any]) -> list[Any]:
    return [run(one) for one in given]


def _is_enough(each: Sequence[float]) -> bool:
    """Whether more at once will gain nothing. each: seconds per request of the sizes so far.

    A matrix times two vectors may take three times as long as times one, and gain with eight.
    """
    best, misses = each[0], 0
    for one in each[1:]:
        misses = 0 if one < (1 - _WORTH) * best else misses + 1
        best = min(best, one)
    return misses >= _MISSES and each[-1] > _FALLING * each[-2]
