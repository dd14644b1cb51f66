"""The caller's thread between the data plane and the scheduler: timings out, plans in."""

import collections
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from edgesplit.cluster.actors.call_log import ActorCallLog
from edgesplit.cluster.actors.workload import Activation
from edgesplit.cluster.session.membership import SessionActors
from edgesplit.cluster.session.session import Session
from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import ClosedError, ClusterError
from edgesplit.node.transport.wire import TransferProgress

_PERIOD_S = 0.05  # of telling the scheduler: each telling costs the caller about a millisecond
_ASK_S = 10.0
_RETRY_S = 1.0
_log = logging.getLogger(__name__)


@dataclass
class _Watched:
    """One workload: what to call with a new plan, and the newest version.

    question: under way, and asked of what is in asked_of. is_older: whether the plan in force is
    older than those actors, so that requests still go to others.
    """

    activate: Callable[[Activation], None]
    version: int
    question: Any = None
    asked_of: ActorCallLog | None = None
    is_older: bool = False


class PlanWatch:
    """Tells the scheduler of finished requests and calls back when a new plan is active."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._watched: dict[str, _Watched] = {}
        self._finished: collections.deque[tuple[str, tuple[TierTiming, ...]]] = collections.deque()
        # The latest word of each link: what was told before is in it.
        self._transferring: dict[tuple[str, str, str], TransferProgress] = {}
        self._is_lost = False
        self._has_said = False  # so, since the last answer
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="edgesplit-watch", daemon=True)

    def start(self) -> None:
        """Begin; call once."""
        self._thread.start()

    def stop(self, timeout_s: float = 5.0) -> None:
        """End the thread; what was not told yet is dropped."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout_s)

    def add(
        self, workload_id: str, first: Activation, activate: Callable[[Activation], None]
    ) -> None:
        """Watch a workload; activate(activation) is called on the watch's thread."""
        self._watched[workload_id] = _Watched(activate, first.version)

    def drop(self, workload_id: str) -> None:
        """Watch it no more."""
        self._watched.pop(workload_id, None)

    def finished(self, workload_id: str, timings: tuple[TierTiming, ...]) -> None:
        """A request has come back. Cheap: called on the hot path."""
        self._finished.append((workload_id, timings))

    def transferring(self, workload_id: str, progress: TransferProgress) -> None:
        """A payload is on its way over a link for long. Cheap: called while its answer is due."""
        if progress.moving_s > 0:
            self._transferring[workload_id, progress.source, progress.target] = progress

    def _run(self) -> None:
        while not self._stopped.wait(_PERIOD_S):
            try:
                with self._session.attached() as now:
                    self._ask(now)
                    self._tell()
                    self._listen()
                self._is_lost = False
            except ClosedError:
                return
            except (ClusterError, ray.exceptions.RayError) as error:
                if not self._has_said:
                    _log.warning("scheduler lost, requests go on with the last plan: %s", error)
                self._is_lost = self._has_said = True
                self._finished.clear()
                self._transferring.clear()
                self._stopped.wait(_RETRY_S)

    def _ask(self, now: SessionActors) -> None:
        """Of a workload that is new, of other actors, or of those that Ray has started again."""
        for workload_id, watched in list(self._watched.items()):
            if watched.asked_of is not now.call_log or self._is_lost:
                watched.is_older = watched.asked_of not in (None, now.call_log)
                watched.asked_of = now.call_log
                self._ask_for(workload_id, watched)

    def _ask_for(self, workload_id: str, watched: _Watched) -> None:
        watched.question = self._session.planning.next_activation(
            workload_id, watched.version, _ASK_S
        )

    def _tell(self) -> None:
        while self._transferring:
            (workload_id, *_), progress = self._transferring.popitem()
            watched = self._watched.get(workload_id)
            if watched is not None and not watched.is_older:
                self._session.planning.transferring(workload_id, progress)
        batches: dict[str, list[tuple[TierTiming, ...]]] = {}
        while self._finished:
            workload_id, timings = self._finished.popleft()
            watched = self._watched.get(workload_id)  # None: no tier knows that workload
            if watched is not None and not watched.is_older:  # else it says nothing of these actors
                batches.setdefault(workload_id, []).append(timings)
        for workload_id, requests in batches.items():
            self._session.planning.observe(workload_id, requests)

    def _listen(self) -> None:
        questions = {w.question: (key, w) for key, w in list(self._watched.items()) if w.question}
        if not questions:
            return
        answered, _ = ray.wait(list(questions), num_returns=len(questions), timeout=0)
        for answer in answered:
            workload_id, watched = questions[answer]
            activation = ray.get(answer, timeout=_ASK_S)
            self._has_said = False
            if activation is not None:
                watched.version, watched.is_older = activation.version, False
                watched.activate(activation)
            self._ask_for(workload_id, watched)
