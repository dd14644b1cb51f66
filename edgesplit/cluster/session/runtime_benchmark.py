"""The caller's thread that has runtimes measured while requests flow already."""

import contextlib
import logging
import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from edgesplit.cluster.measure.runtimes import Offered, RuntimeTask, UnusedRuntimeWarning
from edgesplit.cluster.session.session import Session
from edgesplit.errors import ClosedError, EdgeSplitError

_STOP_TIMEOUT_S = 10.0
_log = logging.getLogger(__name__)


@dataclass(eq=False)
class _Surveyed:
    """One workload's turn. found: called with each runtime of each tier as it is measured."""

    task: RuntimeTask
    found: Callable[[Offered], None]
    is_done: threading.Event = field(default_factory=threading.Event)
    is_dropped: bool = False


class RuntimeBenchmark:
    """Measures the runtimes of one workload after the other, and tells the scheduler.

    is_loud: warn of a runtime that cannot be used; else it only stands in explain().
    """

    def __init__(self, session: Session, is_loud: bool) -> None:
        self._session = session
        self._is_loud = is_loud
        self._wanted: queue.SimpleQueue[_Surveyed | None] = queue.SimpleQueue()
        self._all: list[_Surveyed] = []
        self._failed: list[_Surveyed] = []
        self._is_stopped = False
        self._thread = threading.Thread(target=self._run, name="edgesplit-runtimes", daemon=True)

    def start(self) -> None:
        """Begin; call once."""
        self._thread.start()

    def stop(self) -> None:
        """Measure nothing more; returns when nothing of Ray's is called any more."""
        self._is_stopped = True
        self._wanted.put(None)
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(_STOP_TIMEOUT_S)

    def add(self, task: RuntimeTask, found: Callable[[Offered], None]) -> None:
        """Measure this workload's runtimes; found is called on the benchmark's thread."""
        surveyed = _Surveyed(task, found)
        self._all.append(surveyed)
        self._wanted.put(surveyed)

    def drop(self, workload_id: str) -> None:
        """Measure nothing more of it that has not begun."""
        for surveyed in [one for one in self._all if one.task.id == workload_id]:
            surveyed.is_dropped = True
            self._all.remove(surveyed)
        self._failed = [one for one in self._failed if not one.is_dropped]

    def again(self) -> None:
        """Measure what could not be measured, now that the tiers are others."""
        failed, self._failed = self._failed, []
        for surveyed in failed:
            self._wanted.put(surveyed)

    def wait(self, workload_id: str, timeout_s: float) -> bool:
        """Whether all of the workload's runtimes have been measured within the time."""
        mine = [surveyed for surveyed in self._all if surveyed.task.id == workload_id]
        return all(surveyed.is_done.wait(timeout_s) for surveyed in mine)

    def _run(self) -> None:
        while (surveyed := self._wanted.get()) is not None and not self._is_stopped:
            try:
                if not surveyed.is_dropped:
                    self._measure(surveyed)
            except EdgeSplitError as error:
                if not isinstance(error, ClosedError):
                    self._failed.append(surveyed)
                    _log.warning("runtimes are not measured, plans go on in torch: %s", error)
            finally:
                surveyed.is_done.set()

    def _goes_on(self, surveyed: _Surveyed) -> bool:
        return not (self._is_stopped or surveyed.is_dropped)

    def _measure(self, surveyed: _Surveyed) -> None:
        with self._session.attached() as now, now.connection.sending():
            goes_on = partial(self._goes_on, surveyed)
            runtimes = self._session.runtimes(goes_on)
            for offered in runtimes.measure(surveyed.task):
                surveyed.found(offered)
                self._session.planning.tell_runtime(surveyed.task.id, offered)
                if self._is_loud:
                    with contextlib.suppress(UnusedRuntimeWarning):  # where warnings are errors
                        offered.warn()
                elif offered.problem:
                    _log.info("%s", offered.problem)
