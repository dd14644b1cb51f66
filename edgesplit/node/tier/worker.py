"""What a session has computed on a tier: the layer range that a request names, one at a time."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace
from typing import Any, Protocol, cast

from edgesplit.core.layer_times import TORCH
from edgesplit.core.payload_codec import AS_IS
from edgesplit.errors import ClosedError, RequestError, RuntimeUnavailableError, WireError
from edgesplit.node.meter import Meter
from edgesplit.node.tier.coding import Closed, JointCoding, closed, opened
from edgesplit.node.tier.compute import ComputeThread, Lane, Settling
from edgesplit.node.tier.emulate import TierEmulation
from edgesplit.node.tier.hedge_run import HedgeRun
from edgesplit.node.tier.job import Done, Job, Ran, Remainder
from edgesplit.node.tier.joint_run import JointKey, JointRun, JointRuns, JointSource
from edgesplit.node.transport.coded_tensor import CodedTensor

_log = logging.getLogger(__name__)

RunSegment = Callable[[list[Any]], list[Any]]
_UNABLE = "unable"
_Task = Job | Remainder | Callable[[], None]  # what waits in a lane


class SegmentSource(Protocol):
    """What a worker needs of a loaded program."""

    def segment(self, start: int, stop: int, runtime: str) -> RunSegment:
        """Layers [start, stop) in that runtime, as a function of the payload at cut `start`."""

    def ran(self, ran: Ran) -> None:
        """A request's layers were run in another runtime than torch. Returns at once."""


class Worker:
    """One session's, with one bounded queue on the host's compute thread.

    finished(done) is called there for every job taken. joint_sources: workloads whose requests may
    share a run with others, by their ids; measure_joint(key): finds out whether that gains, beside
    requests.
    """

    def __init__(
        self,
        compute: ComputeThread,
        settling: Settling,
        max_queue: int,
        meter: Meter,
        finished: Callable[[Done], None],
        weight: float = 1.0,
    ) -> None:
        self.programs: dict[str, SegmentSource] = {}
        self.joint_sources: dict[str, JointSource] = {}
        self.measure_joint: Callable[[JointKey], None] = lambda key: None
        self.emulation = TierEmulation()
        self.meter = meter
        self.jobs_done = 0
        self.waited_s = self.computed_s = 0.0  # of all jobs
        self._finished = finished
        self._compute, self._max_queue = compute, max_queue
        self._lane = compute.lane(self, settling, weight)
        self._joint_runs = JointRuns(compute)
        self._calls = set[Future[Any]]()  # that have not begun
        self._is_closed = False

    def close(self) -> None:
        """Take no more turns; those who wait for a call are told."""
        self._is_closed = True
        self._lane.close()
        for future in list(self._calls):
            self._give_up(future)

    @property
    def is_free(self) -> bool:
        """Whether no job waits."""
        return not self._lane.waiting

    def submit(self, job: Job) -> bool:
        """Queue a job; False if there is no room for it.

        Where the host is full, a session of less weight makes room.
        """
        if len(self._lane) >= self._max_queue or not self._lane.make_room():
            return False
        self._lane.put(job, job.deadline_s)
        return True

    @property
    def queue_text(self) -> str:
        """What waits here, for a refusal."""
        everywhere, expected_s = self._compute.n_waiting, self._compute.waiting_s
        return (
            f"{len(self._lane)} requests of this session wait already, {everywhere} of all "
            f"sessions, for some {expected_s:.2g} s"
        )

    def finish(self, done: Done, reason: str) -> None:
        """Queue what the next tier does not do of a job, for that reason. Never refused.

        The router bounds the jobs under way, of which this is one.
        """
        after = done.job.after
        assert after is not None, "there is a next tier to fail over from"
        self._put(Remainder(done, f"{after.tier} {reason}"))

    def hedge(self, done: Done, hedge: HedgeRun) -> None:
        """Queue what the next tier does too. Never refused, as finish()."""
        self._put(Remainder(done, hedge.why, hedge))

    def _put(self, rest: Remainder) -> None:
        self._lane.put(rest, rest.job.deadline_s)

    def call(self, function: Callable[[], Any]) -> "Future[Any]":
        """Run `function` on the compute thread, between jobs, with its thread settings.

        The future's error is a ClosedError where the session ends before its turn.
        """
        future: Future[Any] = Future()

        def run() -> None:
            if not self._begins(future):
                return
            try:
                future.set_result(function())
            except Exception as error:  # top of the thread's loop: handed to the waiting thread
                future.set_exception(error)

        self._calls.add(future)
        self._lane.put(run)
        if self._is_closed:  # its turn may never come
            self._give_up(future)
        return future

    def _begins(self, future: "Future[Any]") -> bool:
        """Whether it is still to be done; one thread hears so of each."""
        try:
            self._calls.remove(future)
        except KeyError:
            return False
        return True

    def _give_up(self, future: "Future[Any]") -> None:
        if self._begins(future):
            future.set_exception(ClosedError("the session has ended on this tier"))

    # For the compute thread

    def drop(self, task: _Task) -> bool:
        """Make room for another session's; only a request that has not begun can."""
        if isinstance(task, Job):
            why = f"it made room for a session of more weight: {self.queue_text}"
            self._finished(_failed(task, "busy", why))
        return isinstance(task, Job)

    def joint_key(self, task: _Task) -> JointKey | None:
        """What a request shares with those that may run with it."""
        if not isinstance(task, Job) or task.is_pointless or task.hop.start == task.hop.stop:
            return None
        source = self.joint_sources.get(task.request.program)
        if source is None or task.deadline_s < time.perf_counter():
            return None
        return JointKey(source, *task.layers, task.hop.runtime, self.emulation.slowdown)

    def may_gain(self, key: JointKey) -> None:
        """See measure_joint."""
        self.measure_joint(key)

    def do(self, task: _Task) -> Sequence[Lane]:
        """One turn of the compute thread. Raises nothing."""
        key = self.joint_key(task) if self.joint_sources else None
        if isinstance(task, Job) and key is not None:
            joint = self._joint_runs.find(self._lane, task, key)
            if joint is not None:
                return self._together(task, joint)
        self.do_alone(task)
        return ()

    def do_alone(self, task: _Task) -> None:
        """The same without others. Raises nothing."""
        if not isinstance(task, Job | Remainder):
            task()
            return
        try:
            done = self._answer(task)
            self._done(done)
            self._show(task, done)
        except Exception:  # top of the thread's loop: the next job's turn comes
            _log.exception("request %r was lost", _job(task).request.id)

    def _together(self, job: Job, joint: JointRun) -> Sequence[Lane]:
        """The request and its mates in one run; each alone where that fails."""
        mates = [(cast(Worker, mate.lane.owner), mate.task) for mate in joint.mates]
        members = [(self, job), *mates]
        coding = JointCoding([one for _, one in members], self.emulation)
        try:
            metered = {id(one.meter): (one.meter, one.meter.start()) for one, _ in members}
            coding.open()
            start_s = time.perf_counter()
            made = joint.values(job)
        except Exception as error:  # a runtime raises anything; alone each has its own answer
            _log.info("%d requests are run one by one: %s", len(members), error)
            for worker, one in members:
                worker.do_alone(one)
            return [mate.lane for mate in joint.mates]
        if self.emulation.slowdown > 1.0:
            time.sleep(self.emulation.extra_s(time.perf_counter() - start_s))
        compute_s = (time.perf_counter() - start_s) / len(members)
        coded = coding.close(made)
        ended_s = time.perf_counter()
        joules = {key: meter.stop(started) for key, (meter, started) in metered.items()}
        for (worker, one), values, sent in zip(members, made, coded, strict=True):
            share = _share(one, values, compute_s, sent)
            worker.take_share(share, ended_s, joules[id(worker.meter)], len(members))
        return [mate.lane for mate in joint.mates]

    def take_share(
        self, share: Done, ended_s: float, joules: tuple[float, float | None], members: int
    ) -> None:
        """One request of a run that several shared: it computed its part, and waited for the rest.

        ended_s: when all were done. joules: of all, and their uncertainty. Raises nothing.
        """
        (energy_j, u_j), job = joules, share.job
        done = replace(
            share,
            queue_s=ended_s - job.arrived_s - share.compute_s - share.codec_s,
            energy_j=energy_j / members,
            energy_u_j=None if u_j is None else u_j / members,
        )
        try:
            self._done(done)
            program = self.programs.get(job.request.program)
            if program is not None:
                seen = (*job.layers, done.runtime, job.values, done.values, done.compute_s, members)
                program.ran(Ran(*seen))
        except Exception:  # as above
            _log.exception("request %r was lost", job.request.id)

    def _done(self, done: Done) -> None:
        self._finished(done)
        self.waited_s += done.queue_s
        self.computed_s += done.compute_s
        self.jobs_done += 1

    def _show(self, task: Job | Remainder, done: Done) -> None:
        """The program what another runtime than torch has made: it looks at a few, later."""
        program = self.programs.get(done.job.request.program)
        is_shown = isinstance(task, Job) and done.failure is None and done.runtime != TORCH
        if is_shown and program is not None:
            program.ran(Ran(*task.layers, done.runtime, task.values, done.values, done.compute_s))

    def _answer(self, task: Job | Remainder) -> Done:
        done = self._tried(task)
        return replace(done, hedge=task.hedge) if isinstance(task, Remainder) else done

    def _tried(self, task: Job | Remainder) -> Done:
        job = _job(task)
        began_s = time.perf_counter()
        if job.is_pointless or not _is_wanted(task):
            return _failed(job, "gone", "nobody waits for it any more")
        if began_s > job.deadline_s:
            return _failed(job, "timeout", "the time limit passed while the request was queued")
        done = self._in(task, task.runtimes[0], began_s)
        for runtime in task.runtimes[1:]:
            if not _is_unable(done):
                return done
            other = self._in(task, runtime, began_s)
            done = done if _is_unable(other) else other
        return done

    def _in(self, task: Job | Remainder, runtime: str, began_s: float) -> Done:
        """The task done in that runtime, or why it is not."""
        job = _job(task)
        try:
            segment = self._segment(task, runtime)
        except RequestError as error:
            return _failed(job, "unknown", str(error))
        except Exception as error:  # a range that cannot be built here may be on another tier
            return _failed(job, _UNABLE, f"layers {_text(task)} cannot be prepared: {error!r}")
        try:
            return self._run(task, (segment, runtime), began_s)
        except RequestError as error:
            return _failed(job, "unknown", str(error))
        except WireError as error:
            return _failed(job, "malformed", f"its payload cannot be decoded: {error}")
        except (RuntimeUnavailableError, MemoryError) as error:
            return _failed(job, _UNABLE, f"layers {_text(task)}: {error!r}")
        except Exception as error:  # top of the thread's loop: becomes the sender's refusal
            return _failed(job, "failed", f"layers {_text(task)}: {error!r}")

    def _segment(self, task: Job | Remainder, runtime: str) -> RunSegment:
        if isinstance(task, Job) and task.hop.start == task.hop.stop:
            return list  # a relay that decodes or encodes
        name = _job(task).request.program
        program = self.programs.get(name)
        if program is None:
            raise RequestError(f"no program {name!r} is loaded on this tier")
        return program.segment(*task.layers, runtime)

    def _run(self, task: Job | Remainder, prepared: tuple[RunSegment, str], began_s: float) -> Done:
        segment, runtime = prepared
        metered = self.meter.start()
        if isinstance(task, Remainder) and task.hedge is not None:
            task.hedge.began(self.meter.power.compute_w)
        given, codec_s = task.values, 0.0
        if any(isinstance(value, CodedTensor) for value in given):
            given, codec_s = opened(task, self.emulation)
        start_s = time.perf_counter()
        values, sent = segment(given), None
        if self.emulation.slowdown > 1.0:
            time.sleep(self.emulation.extra_s(time.perf_counter() - start_s))
        compute_s = time.perf_counter() - start_s
        if isinstance(task, Job) and (task.hop.codec != AS_IS or task.decode_s):
            sent, codec_s = closed(task, values, self.emulation)
        energy_j, energy_u_j = self.meter.stop(metered)
        queue_s = began_s - _job(task).arrived_s
        done = Done(
            _job(task), values, queue_s, compute_s, energy_j, energy_u_j,
            runtime=runtime, sent=sent, codec_s=codec_s,
        )  # fmt: skip
        return done if isinstance(task, Job) else _added(task, done)


def _added(rest: Remainder, now: Done) -> Done:
    """Both parts of the work together."""
    before = rest.done
    u_j = None
    if before.energy_u_j is not None and now.energy_u_j is not None:
        u_j = math.hypot(before.energy_u_j, now.energy_u_j)
    return replace(
        now,
        queue_s=before.queue_s,
        runtime=before.runtime,
        compute_s=before.compute_s + now.compute_s,
        codec_s=before.codec_s + now.codec_s,
        energy_j=before.energy_j + now.energy_j,
        energy_u_j=u_j,
        failed_over=rest.why,
        hedge_j=0.0 if rest.hedge is None else now.energy_j,
    )


def _share(job: Job, values: list[Any], compute_s: float, coded: Closed) -> Done:
    """Of a run that several shared, before it is known what all of it took."""
    sent, codec_s = coded
    return Done(
        job, values, compute_s=compute_s, runtime=job.hop.runtime, sent=sent, codec_s=codec_s
    )


def _is_wanted(task: Job | Remainder) -> bool:
    return isinstance(task, Job) or task.hedge is None or task.hedge.is_wanted


def _job(task: Job | Remainder) -> Job:
    return task if isinstance(task, Job) else task.job


def _text(task: Job | Remainder) -> str:
    return "{}-{}".format(*task.layers)


def _is_unable(done: Done) -> bool:
    return done.failure is not None and done.failure[0] == _UNABLE


def _failed(job: Job, reason: str, message: str) -> Done:
    return Done(job, [], failure=(reason, message))
