"""The compute thread of one tier: runs the layer range a request names, one request at a time."""

import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from edgesplit.errors import RequestError
from edgesplit.node import wire
from edgesplit.node.connection import Connection
from edgesplit.node.emulate import TierEmulation
from edgesplit.node.meter import Meter


class SegmentSource(Protocol):
    """What a worker needs of a loaded program."""

    def segment(self, start: int, stop: int, runtime: str) -> Callable[[list[Any]], list[Any]]:
        """Layers [start, stop) in that runtime, as a function of the payload at cut `start`."""


@dataclass(frozen=True)
class Job:
    """A request that has arrived here, its payload, and when (this machine's monotonic clock).

    sender: the connection to answer on; upstream: its tier, None for the caller.
    """

    request: wire.Request
    values: list[Any]
    sender: Connection
    upstream: str | None
    arrived_s: float
    gap_s: float

    @property
    def hop(self) -> wire.Hop:
        """The stage of the plan that runs here."""
        return self.request.route[self.request.at]

    @property
    def deadline_s(self) -> float:
        """When the caller gives up, on this machine's clock."""
        return self.arrived_s + self.request.timeout_s


@dataclass(frozen=True)
class Done:
    """A job with the payload it produced, or with why it failed."""

    job: Job
    values: list[Any]
    queue_s: float = 0.0
    compute_s: float = 0.0
    energy_j: float = 0.0
    energy_u_j: float | None = 0.0
    failure: tuple[str, str] | None = None


class Worker:
    """One thread, one bounded queue. Everything that computes on the tier goes through it.

    begin() is called on the compute thread before anything else, finished(done) for every job
    taken.
    """

    def __init__(
        self,
        begin: Callable[[], None],
        max_queue: int,
        meter: Meter,
        finished: Callable[[Done], None],
    ) -> None:
        self.programs: dict[str, SegmentSource] = {}
        self.emulation = TierEmulation()
        self.meter = meter
        self.jobs_done = 0
        self._begin = begin
        self._finished = finished
        self._queue: queue.SimpleQueue[Job | Callable[[], None] | None] = queue.SimpleQueue()
        self._max_queue = max_queue
        self._thread = threading.Thread(target=self._loop, name="edgesplit-compute", daemon=True)

    def start(self) -> None:
        """Begin to take jobs."""
        self._thread.start()

    def stop(self, timeout_s: float) -> None:
        """Finish the job under way, then end."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    @property
    def is_free(self) -> bool:
        """Whether no job waits."""
        return self._queue.empty()

    def submit(self, job: Job) -> bool:
        """Queue a job; False if the queue is full."""
        if self._queue.qsize() >= self._max_queue:
            return False
        self._queue.put(job)
        return True

    def call(self, function: Callable[[], Any]) -> "Future[Any]":
        """Run `function` on the compute thread, between jobs, with its thread settings."""
        future: Future[Any] = Future()

        def run() -> None:
            try:
                future.set_result(function())
            except Exception as error:  # top of the thread's loop: handed to whoever waits
                future.set_exception(error)

        self._queue.put(run)
        return future

    def _loop(self) -> None:
        self._begin()
        while (task := self._queue.get()) is not None:
            if isinstance(task, Job):
                self._finished(self._answer(task))
                self.jobs_done += 1
            else:
                task()

    def _answer(self, job: Job) -> Done:
        began_s = time.perf_counter()
        if began_s > job.deadline_s:
            return _failed(job, "timeout", "the time limit passed while the request was queued")
        try:
            return self._run(job, began_s)
        except RequestError as error:
            return _failed(job, "unknown", str(error))
        except Exception as error:  # top of the thread's loop: becomes the sender's refusal
            return _failed(job, "failed", f"layers {job.hop.start}-{job.hop.stop}: {error!r}")

    def _run(self, job: Job, began_s: float) -> Done:
        hop = job.hop
        program = self.programs.get(job.request.program)
        if program is None:
            raise RequestError(f"no program {job.request.program!r} is loaded on this tier")
        segment = program.segment(hop.start, hop.stop, hop.runtime)
        metered = self.meter.start()
        start_s = time.perf_counter()
        values = segment(job.values)
        extra_s = self.emulation.extra_s(time.perf_counter() - start_s)
        if extra_s > 0:
            time.sleep(extra_s)
        compute_s = time.perf_counter() - start_s
        energy_j, energy_u_j = self.meter.stop(metered)
        return Done(job, values, began_s - job.arrived_s, compute_s, energy_j, energy_u_j)


def _failed(job: Job, reason: str, message: str) -> Done:
    return Done(job, [], failure=(reason, message))
