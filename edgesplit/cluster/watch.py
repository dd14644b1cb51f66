"""The caller's thread between the data plane and the scheduler: samples out, plans in."""

import collections
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ray
import ray.exceptions

from edgesplit.cluster.loop import Activation
from edgesplit.cluster.session import Session
from edgesplit.core.sample import Sample

_PERIOD_S = 0.05  # of telling the scheduler: each telling costs the caller about a millisecond
_ASK_S = 10.0
_RETRY_S = 1.0
_log = logging.getLogger(__name__)


@dataclass
class _Watched:
    """One workload: who to tell of a new plan, the newest version, the question under way."""

    activate: Callable[[Activation], None]
    version: int
    question: Any


class PlanWatch:
    """Tells the scheduler of finished requests and calls back when a new plan is active."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._watched: dict[str, _Watched] = {}
        self._finished: collections.deque[tuple[str, tuple[Sample, ...]]] = collections.deque()
        self._is_lost = False
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
        question = self._session.next_activation(workload_id, first.version, _ASK_S)
        self._watched[workload_id] = _Watched(activate, first.version, question)

    def finished(self, workload_id: str, samples: tuple[Sample, ...]) -> None:
        """A request has come back. Cheap: called on the hot path."""
        self._finished.append((workload_id, samples))

    def _run(self) -> None:
        # Ray would start a cluster by itself for a call that finds none.
        while not self._stopped.wait(_PERIOD_S) and ray.is_initialized():
            try:
                self._tell()
                self._listen()
                self._is_lost = False
            except ray.exceptions.RayError as error:
                if not self._is_lost:
                    _log.warning("scheduler lost, requests go on with the last plan: %s", error)
                self._is_lost = True
                self._ask_again()

    def _ask_again(self) -> None:
        """Ray restarts the scheduler, and the keeper tells it what it needs to answer."""
        self._finished.clear()
        if self._stopped.wait(_RETRY_S) or not ray.is_initialized():
            return
        for workload_id, watched in list(self._watched.items()):
            watched.question = self._session.next_activation(workload_id, watched.version, _ASK_S)

    def _tell(self) -> None:
        batches: dict[str, list[tuple[Sample, ...]]] = {}
        while self._finished:
            workload_id, samples = self._finished.popleft()
            batches.setdefault(workload_id, []).append(samples)
        for workload_id, requests in batches.items():
            self._session.observe(workload_id, requests)

    def _listen(self) -> None:
        questions = {w.question: (key, w) for key, w in list(self._watched.items())}
        if not questions:
            return
        answered, _ = ray.wait(list(questions), num_returns=len(questions), timeout=0)
        for answer in answered:
            workload_id, watched = questions[answer]
            activation = ray.get(answer, timeout=_ASK_S)
            if activation is not None:
                watched.version = activation.version
                watched.activate(activation)
            watched.question = self._session.next_activation(workload_id, watched.version, _ASK_S)
