"""The requests of a session that came back, oldest dropped first."""

import collections
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from edgesplit.active_workload import ActiveWorkload
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.record import Finished, Record, record_of
from edgesplit.core.sample import Sample

RECORDS_KEPT = 100_000
_sample_row = attrgetter(*(item.name for item in fields(Sample)))
_T = TypeVar("_T")


class History:
    """count: of all requests, also of those no longer kept. began_s: perf_counter's.

    A request is kept as some 300 bytes that hold no objects: as objects they would take four times
    the memory, and every full garbage collection would walk over a million of them.
    """

    def __init__(self) -> None:
        self.began_s = time.perf_counter()
        self.count = 0
        self._finished = collections.deque[bytes](maxlen=RECORDS_KEPT)
        self._workloads, self._plans = _Numbered[ActiveWorkload](), _Numbered[Plan]()
        self._lock = threading.Lock()

    def add(self, workload: ActiveWorkload, done: Finished) -> None:
        """One more. Cheap: records are made when they are asked for."""
        with self._lock:
            row = (
                self._workloads.number(workload),
                self._plans.number(done.plan),
                (done.id, done.at_s, done.latency_s, done.why),
                [_sample_row(sample) for sample in done.samples],
            )
            self._finished.append(msgspec.msgpack.encode(row))
            self.count += 1

    def records(self, goal: Goal, since_s: float = 0.0) -> Iterator[Record]:
        """One per request that is kept and was sent then or later, in the order they came back.

        Made one by one: as objects all of them would take some hundred megabytes.
        """
        for row in map(msgspec.msgpack.decode, list(self._finished)):
            if row[2][1] >= since_s:
                yield self._record(row, goal)

    def last(self, goal: Goal) -> Record | None:
        """The request that came back last."""
        try:
            row = msgspec.msgpack.decode(self._finished[-1])
        except IndexError:
            return None
        return self._record(row, goal)

    def _record(self, row: Any, goal: Goal) -> Record:
        workload, plan = self._workloads.item(row[0]), self._plans.item(row[1])
        id_, at_s, latency_s, why = row[2]
        samples = tuple(Sample(*values) for values in row[3])
        done = Finished(id_, at_s, workload.graph.name, plan, latency_s, samples, why)
        return record_of(done, workload.profile, goal)


class _Numbered(Generic[_T]):
    """Things by a small number each."""

    def __init__(self) -> None:
        self._numbers: dict[_T, int] = {}
        self._items: list[_T] = []

    def number(self, item: _T) -> int:
        found = self._numbers.setdefault(item, len(self._items))
        if found == len(self._items):
            self._items.append(item)
        return found

    def item(self, number: int) -> _T:
        return self._items[number]
