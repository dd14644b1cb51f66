"""Requests of several sessions that wait for the same layers, run at once where that gains.

core/batch_rule.py says which of them; whether a range gains, and is right, was measured before
(tier_batches.py). Nobody waits for others to come.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from edgesplit.core.batch_rule import Queued, Rest, joining, together
from edgesplit.core.layer_times import TORCH
from edgesplit.node.runtime.batched import Batched
from edgesplit.node.tier.compute import ComputeThread, Lane, WaitingTask
from edgesplit.node.tier.job import Job

_MOST_LOOKED_AT = 64  # tasks that wait


class JointSource(Protocol):
    """A workload as joint runs need it: TierWorkload."""

    def segment(self, start: int, stop: int, runtime: str = TORCH) -> Any:
        """The range for one request."""

    def batch(self, start: int, stop: int, runtime: str = TORCH) -> Batched | None:
        """The range for several, where that gains."""

    def why_alone(self, start: int, stop: int, runtime: str = TORCH) -> str:
        """Why it has to run for one at a time; empty where nobody has looked."""


@dataclass(frozen=True)
class JointKey:
    """Requests of one key may share a run. slowdown: the emulated one."""

    source: JointSource
    start: int
    stop: int
    runtime: str
    slowdown: float

    @property
    def range(self) -> tuple[int, int, str]:
        """As JointSource has it."""
        return self.start, self.stop, self.runtime


@dataclass(frozen=True, eq=False)
class JointRun:
    """What shares a run with a request: mates, which wait no more. They join it at layer `begins`.

    Example:
        >>> first, *others = run.values(job)
    """

    key: JointKey
    mates: Sequence[WaitingTask]
    batched: Batched
    begins: int

    def values(self, job: Job) -> list[list[Any]]:
        """What the layers make of that request, and of each mate. Raises what a range raises."""
        values = job.values
        if self.begins > self.key.start:
            values = self.key.source.segment(self.key.start, self.begins, self.key.runtime)(values)
        return self.batched([values, *(mate.task.values for mate in self.mates)])


@dataclass(frozen=True, eq=False)
class _Turn:
    """A request whose turn it is, and what waits behind it, with the key of each."""

    lane: Lane
    job: Job
    key: JointKey
    queue: Sequence[WaitingTask]
    keys: Sequence[JointKey | None]

    def batched(self, key: JointKey) -> Batched | None:
        """The range for several; the lane's owner hears where nobody has looked."""
        batched = key.source.batch(*key.range)
        if batched is None and not key.source.why_alone(*key.range):
            self.lane.owner.may_gain(key)
        return batched

    def waiting(self, alone_s: float) -> list[Queued]:
        """All of them, the request first; alone_s: of those with its key."""
        return [
            Queued(self.key, alone_s, self.job.deadline_s),
            *(
                Queued(
                    id(queued) if other is None else other,
                    alone_s if other == self.key else queued.lane.expected_s,
                    queued.deadline_s,
                )
                for queued, other in zip(self.queue, self.keys, strict=True)
            ),
        ]


class JointRuns:
    """Of a host: called on the compute thread, before a request is run."""

    def __init__(self, compute: ComputeThread) -> None:
        self._compute = compute

    def find(self, lane: Lane, job: Job, key: JointKey) -> JointRun | None:
        """Those that run with it now; None: it runs alone.

        Where nobody knows yet whether a range gains, the lane's owner is told that it might.
        """
        if not self._compute.n_waiting:
            return None
        queue = self._compute.queue(lane, _MOST_LOOKED_AT)
        keys = [queued.lane.owner.joint_key(queued.task) for queued in queue]
        turn = _Turn(lane, job, key, queue, keys)
        return self._alike(turn) or self._joining(turn)

    def _alike(self, turn: _Turn) -> JointRun | None:
        """Those with the very same range."""
        key = turn.key
        if key not in turn.keys:
            return None
        batched = turn.batched(key)
        if batched is None:
            return None
        waiting = turn.waiting(batched.times.seconds(1))
        places = together(waiting, time.perf_counter(), batched.times)
        return self._run(turn, places[1:], batched, key.start)

    def _joining(self, turn: _Turn) -> JointRun | None:
        """Those that wait for the end of its range; torch needs nothing to be built for that."""
        key = turn.key
        ends = [
            other
            for other in turn.keys
            if other is not None
            and key.start < other.start < key.stop
            and replace(other, start=key.start) == key
        ]
        if key.runtime != TORCH or not ends:
            return None
        end = max(set(ends), key=lambda one: (ends.count(one), one.start))
        batched = turn.batched(end)
        if batched is None:
            return None
        alone_s = turn.lane.expected_s
        places = tuple(at for at, other in enumerate(turn.keys, 1) if other == end)
        first_s = max(0.0, alone_s - batched.times.seconds(1))
        rest = Rest(places, first_s, batched.times)
        mates = joining(turn.waiting(alone_s), time.perf_counter(), rest)
        return self._run(turn, mates, batched, end.start)

    def _run(
        self, turn: _Turn, places: Sequence[int], batched: Batched, begins: int
    ) -> JointRun | None:
        taken = self._compute.take([turn.queue[at - 1] for at in places])
        return JointRun(turn.key, taken, batched, begins) if taken else None
