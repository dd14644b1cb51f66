"""The one thread of a host that computes, for every session in turn.

Everything that computes on a tier goes through it. What a session has to do waits in a lane of its
own; core/fleet/fair_share.py says whose turn it is.
"""

import collections
import itertools
import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from edgesplit.core.fleet.fair_share import FairShare, Head

_AGING = 0.2  # of what was measured last, in what a task is expected to take
_MOST_WAITING = 512  # tasks of all sessions together
_log = logging.getLogger(__name__)


class LaneOwner(Protocol):
    """A session, as the compute thread knows it."""

    def do(self, task: Any) -> Sequence["Lane"]:
        """Run a task; raises nothing. Lanes of other tasks that were done in the same run."""

    def drop(self, task: Any) -> bool:
        """A task has to make room, in whichever thread; whether it does."""

    def joint_key(self, task: Any) -> Any:
        """Tasks with equal ones may share a run; None: it runs alone."""

    def may_gain(self, key: Any) -> None:
        """Tasks of that key wait together, and nobody knows whether a run for all gains."""


@dataclass(frozen=True, eq=False)
class WaitingTask:
    """A task that waits, in whose lane, and when it is too late."""

    lane: "Lane"
    task: Any
    deadline_s: float


@dataclass(frozen=True)
class Settling:
    """How a session's tasks compute: begin() sets the thread so, once for all with the same key."""

    key: object
    begin: Callable[[], None]


NO_SETTLING = Settling(None, lambda: None)


class Lane:
    """One session's tasks, in the order they came.

    weight: of its share; a lane of less weight makes room for one of more.
    """

    def __init__(
        self,
        compute: "ComputeThread",
        name: str,
        owner: LaneOwner,
        settling: Settling,
        weight: float,
    ) -> None:
        self.name, self.owner = name, owner
        self.settling, self.weight = settling, weight
        self.expected_s = 0.0  # that a task takes
        self.waiting = collections.deque[tuple[Any, float]]()  # and when each is too late
        self._compute = compute

    def put(self, task: Any, deadline_s: float = float("inf")) -> None:
        """One more task, behind the others."""
        self._compute.put(self, task, deadline_s)

    def make_room(self) -> bool:
        """Whether one more may wait here.

        Where the host is full, the last task of the lane of least weight that has most waiting is
        dropped for it, unless that is this lane.
        """
        return self._compute.make_room(self)

    def __len__(self) -> int:
        return len(self.waiting)

    def close(self) -> None:
        """Take no more turns; what waits is dropped."""
        self._compute.leave(self)

    def head(self) -> Head | None:
        """Its next task; None where none waits any more: other threads drop them."""
        try:
            _, deadline_s = self.waiting[0]
        except IndexError:
            return None
        return Head(deadline_s - self.expected_s, self.expected_s)

    def took(self, seconds: float) -> None:
        """What a task has taken."""
        old_s = self.expected_s or seconds
        self.expected_s = old_s + _AGING * (seconds - old_s)


class ComputeThread:
    """One thread for all lanes. start() begins it, stop() ends it after the task under way."""

    def __init__(self) -> None:
        self._share = FairShare()
        self._lanes: dict[str, Lane] = {}
        self._names = (f"lane-{number}" for number in itertools.count())
        self._lock = threading.Lock()  # of the lanes there are, and their shares
        # One for each task that waits, in whichever lane: the quickest way to wait for any.
        self._tokens: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._loop, name="edgesplit-compute", daemon=True)
        self.busy_s = 0.0  # that tasks have taken

    def start(self) -> None:
        """Begin to take tasks."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """End after the task under way."""
        self._tokens.put(False)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    def lane(self, owner: LaneOwner, settling: Settling = NO_SETTLING, weight: float = 1.0) -> Lane:
        """A new one, for whoever has tasks. As Lane."""
        with self._lock:
            made = Lane(self, next(self._names), owner, settling, weight)
            self._share.join(made.name, weight)
            self._lanes[made.name] = made
        return made

    def leave(self, lane: Lane) -> None:
        """See Lane.close()."""
        with self._lock:
            if self._lanes.pop(lane.name, None) is not None:
                self._share.leave(lane.name)
        lane.waiting.clear()

    def put(self, lane: Lane, task: Any, deadline_s: float) -> None:
        """See Lane."""
        lane.waiting.append((task, deadline_s))
        self._tokens.put(True)

    def make_room(self, lane: Lane) -> bool:
        """See Lane."""
        if self.n_waiting < _MOST_WAITING:
            return True
        with self._lock:
            full = [one for one in self._lanes.values() if one.waiting]
        most = min(full, key=lambda one: (one.weight, -len(one)), default=lane)
        if most is lane or most.weight > lane.weight:
            return False
        try:
            task, deadline_s = most.waiting.pop()
        except IndexError:  # the thread has just taken it
            return True
        if most.owner.drop(task):
            return True
        most.waiting.append((task, deadline_s))
        return False

    def queue(self, first: Lane, most: int) -> list[WaitingTask]:
        """What waits, at most so many: of that lane, then of the others. For the compute thread."""
        found: list[WaitingTask] = []
        lanes = [first, *(lane for lane in list(self._lanes.values()) if lane is not first)]
        for lane in lanes:
            found += [
                WaitingTask(lane, *waiting) for waiting in list(lane.waiting)[: most - len(found)]
            ]
        return found

    def take(self, queued: Sequence[WaitingTask]) -> list[WaitingTask]:
        """Have these wait no more: those of them that still did. For the compute thread."""
        taken = []
        for one in queued:
            try:
                one.lane.waiting.remove((one.task, one.deadline_s))
            except ValueError:  # it has made room for another
                continue
            taken.append(one)
        return taken

    @property
    def n_waiting(self) -> int:
        """Tasks of all lanes."""
        return sum(len(lane) for lane in list(self._lanes.values()))

    @property
    def waiting_s(self) -> float:
        """What all that waits is expected to take."""
        return sum(len(lane) * lane.expected_s for lane in list(self._lanes.values()))

    def _loop(self) -> None:
        settled: object = None
        while self._tokens.get():
            settled = self._next(settled)

    def _next(self, settled: object) -> object:
        """One task; what the thread is settled for. Nothing holds the task while none waits."""
        lane = self._turn()
        if lane is None:  # its task was dropped
            return settled
        try:
            task, _ = lane.waiting.popleft()
        except IndexError:
            return settled
        if lane.settling.key != settled:
            lane.settling.begin()
        began_s = time.perf_counter()
        sharing = [lane, *self._done(lane, task)]
        self._took(sharing, time.perf_counter() - began_s)
        return lane.settling.key

    def _done(self, lane: Lane, task: Any) -> Sequence[Lane]:
        """Other lanes whose tasks it did. Whatever goes wrong, the next session's turn comes."""
        try:
            return lane.owner.do(task)
        except Exception:
            _log.exception("a task was lost")
            return ()

    def _turn(self) -> Lane | None:
        waiting = [lane for lane in list(self._lanes.values()) if lane.waiting]
        if len(waiting) <= 1:  # as mostly
            return waiting[0] if waiting else None
        with self._lock:
            found = ((lane.name, lane.head()) for lane in self._waiting())
            heads = {name: head for name, head in found if head is not None}
            return self._lanes[self._share.turn(heads, time.perf_counter())] if heads else None

    def _took(self, sharing: Sequence[Lane], seconds: float) -> None:
        """Each of them had a task in one run."""
        self.busy_s += seconds
        each_s = seconds / len(sharing)
        for lane in sharing:
            lane.took(each_s)
        if len(self._lanes) > 1:
            with self._lock:
                for lane in sharing:
                    others_wait = any(one is not lane for one in self._waiting())
                    self._share.charge(lane.name, each_s, others_wait)

    def _waiting(self) -> Iterator[Lane]:
        return (lane for lane in list(self._lanes.values()) if lane.waiting)
