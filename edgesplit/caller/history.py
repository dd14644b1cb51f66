"""The requests of a session that came back, oldest dropped first."""

import collections
import threading
import time
from collections.abc import Iterator
from dataclasses import fields
from operator import attrgetter
from typing import Any, Generic, TypeVar

import msgspec

from edgesplit.caller.requests import PendingRequest
from edgesplit.core.goal import Goal
from edgesplit.core.plan import Plan
from edgesplit.core.profile import Profile
from edgesplit.core.record import Finished, Record, record_of
from edgesplit.core.tier_timing import TierTiming
from edgesplit.node.transport.channel import Outcome

RECORDS_KEPT = 100_000
_timing_row = attrgetter(*(item.name for item in fields(TierTiming)))
_K = TypeVar("_K")
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
        # By their ids: the graph's name, and the profile at the last request. Not the workload,
        # whose program and weights would outlive its giving up.
        self._workloads = _Numbered[str, tuple[str, Profile]]()
        self._plans = _Numbered[str, Plan]()  # by their texts
        # By workload: its goal, the requests within the goal's latency limit, and all under it.
        self._met = dict[str, tuple[Goal, int, int]]()
        self._lock = threading.Lock()

    def add(self, pending: PendingRequest, outcome: Outcome) -> None:
        """One more, which has just come back. Cheap: records are made when they are asked for."""
        latency_s = time.perf_counter() - pending.sent_s
        workload, route = pending.workload, pending.route
        with self._lock:
            row = (
                self._workloads.number(workload.id, (workload.graph.name, workload.profile)),
                self._plans.number(route.text, route.plan),
                (pending.id, pending.sent_s - self.began_s, latency_s, outcome.why, outcome.hedged),
                [_timing_row(timing) for timing in outcome.timings],
            )
            self._finished.append(msgspec.msgpack.encode(row))
            self.count += 1
            if workload.goal.latency_limit_s is not None:
                met, count = self.met_limit(workload.id, workload.goal)
                met += latency_s <= workload.goal.latency_limit_s
                self._met[workload.id] = (workload.goal, met, count + 1)

    def met_limit(self, workload_id: str, goal: Goal) -> tuple[int, int]:
        """Of the requests since the workload has that goal: those within its limit, and all."""
        known, met, count = self._met.get(workload_id, (goal, 0, 0))
        return (met, count) if known == goal else (0, 0)

    def records(self, goal: Goal, since_s: float = 0.0) -> Iterator[Record]:
        """One per request that is kept and was sent then or later, in the order they came back.

        Made one by one: as objects all of them would take some hundred megabytes.
        """
        for row in map(msgspec.msgpack.decode, list(self._finished)):
            if row[2][1] >= since_s:
                yield self._record(row, goal)

    def last(self, goal: Goal) -> Record | None:
        """The record of the request that was answered last."""
        try:
            row = msgspec.msgpack.decode(self._finished[-1])
        except IndexError:
            return None
        return self._record(row, goal)

    def _record(self, row: Any, goal: Goal) -> Record:
        (name, profile), plan = self._workloads.item(row[0]), self._plans.item(row[1])
        id_, at_s, latency_s, why, hedged = row[2]
        timings = tuple(TierTiming(*values) for values in row[3])
        done = Finished(id_, at_s, name, plan, latency_s, timings, why, hedged)
        return record_of(done, profile, goal)


class _Numbered(Generic[_K, _T]):
    """Things by a small number each; the latest one given counts."""

    def __init__(self) -> None:
        self._numbers: dict[_K, int] = {}
        self._items: list[_T] = []

    def number(self, key: _K, item: _T) -> int:
        found = self._numbers.get(key)
        if found is None:  # in this order: Ctrl-C between the two must not give a number away twice
            self._items.append(item)
            found = self._numbers[key] = len(self._items) - 1
        else:
            self._items[found] = item
        return found

    def item(self, number: int) -> _T:
        return self._items[number]
