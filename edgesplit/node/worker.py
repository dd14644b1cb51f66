"""The compute thread of one tier: runs the layer range a request names, one request at a time."""

import math
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol

from edgesplit.core.row import TORCH
from edgesplit.errors import PlanError, RequestError, RuntimeUnavailableError
from edgesplit.node.emulate import TierEmulation
from edgesplit.node.job import Done, Job, Rest
from edgesplit.node.meter import Meter

Segment = Callable[[list[Any]], list[Any]]
# What a tier finishes in: eager torch defines the right answer and needs no check; where there is
# no torch, what the tier runs its own stage in.
_ONNX = "onnx"


class SegmentSource(Protocol):
    """What a worker needs of a loaded program."""

    def segment(self, start: int, stop: int, runtime: str) -> Segment:
        """Layers [start, stop) in that runtime, as a function of the payload at cut `start`."""


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
        self._queue: queue.SimpleQueue[Job | Rest | Callable[[], None] | None] = queue.SimpleQueue()
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

    def finish(self, done: Done, reason: str) -> None:
        """Queue what the next tier does not do of a job, for that reason. Never refused.

        The router bounds the jobs under way, of which this is one.
        """
        after = done.job.after
        assert after is not None, "there is a next tier to do without"
        self._queue.put(Rest(done, f"{after.tier} {reason}"))

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
            if isinstance(task, Job | Rest):
                self._finished(self._answer(task))
                self.jobs_done += 1
            else:
                task()

    def _answer(self, task: Job | Rest) -> Done:
        job = _job(task)
        began_s = time.perf_counter()
        if job.sender.is_gone:
            return _failed(job, "gone", "whoever asked has closed the connection")
        if began_s > job.deadline_s:
            return _failed(job, "timeout", "the time limit passed while the request was queued")
        try:
            segment = self._segment(task)
        except RequestError as error:
            return _failed(job, "unknown", str(error))
        except Exception as error:  # a range that cannot be built here may be on another tier
            return _failed(job, "unable", f"layers {_text(task)} cannot be prepared: {error!r}")
        try:
            return self._run(task, segment, began_s)
        except RequestError as error:
            return _failed(job, "unknown", str(error))
        except (RuntimeUnavailableError, MemoryError) as error:
            return _failed(job, "unable", f"layers {_text(task)}: {error!r}")
        except Exception as error:  # top of the thread's loop: becomes the sender's refusal
            return _failed(job, "failed", f"layers {_text(task)}: {error!r}")

    def _segment(self, task: Job | Rest) -> Segment:
        name = _job(task).request.program
        program = self.programs.get(name)
        if program is None:
            raise RequestError(f"no program {name!r} is loaded on this tier")
        if isinstance(task, Job):
            return program.segment(*task.layers, task.hop.runtime)
        return _rest_of(program, task)

    def _run(self, task: Job | Rest, segment: Segment, began_s: float) -> Done:
        metered = self.meter.start()
        start_s = time.perf_counter()
        values = segment(task.values)
        extra_s = self.emulation.extra_s(time.perf_counter() - start_s)
        if extra_s > 0:
            time.sleep(extra_s)
        compute_s = time.perf_counter() - start_s
        energy_j, energy_u_j = self.meter.stop(metered)
        if isinstance(task, Job):
            return Done(task, values, began_s - task.arrived_s, compute_s, energy_j, energy_u_j)
        return _added(task, Done(task.job, values, 0.0, compute_s, energy_j, energy_u_j))


def _rest_of(program: SegmentSource, rest: Rest) -> Segment:
    """The rest in torch, else in the runtime of the tier's stage, else in ONNX Runtime."""
    first: Exception | None = None
    for runtime in dict.fromkeys((TORCH, rest.job.hop.runtime, _ONNX)):
        try:
            return program.segment(*rest.layers, runtime)
        except (RuntimeUnavailableError, PlanError, ImportError) as error:
            first = first or error
    assert first is not None, "there is a runtime to try"
    raise first


def _added(rest: Rest, now: Done) -> Done:
    """Both parts of the work together."""
    before = rest.done
    u_j = None
    if before.energy_u_j is not None and now.energy_u_j is not None:
        u_j = math.hypot(before.energy_u_j, now.energy_u_j)
    return replace(
        now,
        queue_s=before.queue_s,
        compute_s=before.compute_s + now.compute_s,
        energy_j=before.energy_j + now.energy_j,
        energy_u_j=u_j,
        finished=rest.why,
    )


def _job(task: Job | Rest) -> Job:
    return task if isinstance(task, Job) else task.job


def _text(task: Job | Rest) -> str:
    return "{}-{}".format(*task.layers)


def _failed(job: Job, reason: str, message: str) -> Done:
    return Done(job, [], failure=(reason, message))
