"""What is under way on one tier: takes requests in, passes results on, brings replies back.

Its methods are called by the threads that read connections, by the compute thread and by the
shaper's; what they share are dicts used one operation at a time. What cannot be served is refused
to its sender and harms nobody else.
"""

import itertools
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import msgspec

from edgesplit.core.row import TORCH
from edgesplit.core.sample import Sample
from edgesplit.errors import WireError
from edgesplit.node import wire
from edgesplit.node.connection import Connection
from edgesplit.node.security import Credentials
from edgesplit.node.shaper import Shaper
from edgesplit.node.tensor_kind import TensorKind
from edgesplit.node.worker import Done, Job, Worker


@dataclass(frozen=True)
class ServeSettings:
    """Where a tier listens and what it bears. threads: how many a segment may compute on.

    ports: the first of them that is free is taken; empty: any. credentials: the session's, which
    whoever connects must have too; None: anybody may.
    """

    tier: str
    host: str = "127.0.0.1"
    ports: Sequence[int] = ()
    threads: int = 1
    max_queue: int = 64
    max_frame_bytes: int = wire.DEFAULT_MAX_FRAME_BYTES
    credentials: Credentials | None = None


@dataclass(frozen=True)
class _Sent:
    """A request passed on to the next tier, waiting for its reply."""

    done: Done
    link: Connection
    sent_s: float
    sent_bytes: int


# Of requests under way here: computing, waiting to be sent on, or for their replies.
_JOBS_PER_QUEUE = 4
Dial = Callable[[str], Connection]


class Router:
    """One tier's traffic. dial(address): the connection to another tier, made where missing."""

    def __init__(
        self,
        settings: ServeSettings,
        worker: Worker,
        shaper: Shaper,
        dial: Dial,
        kind: TensorKind,
    ) -> None:
        self._settings = settings
        self._worker = worker
        self._shaper = shaper
        self._dial = dial
        self._kind = kind
        self._jobs: dict[int, Job] = {}  # taken and not answered yet, by identity
        self._sent: dict[str, _Sent] = {}
        self._probes: dict[str, tuple[float, Future[float]]] = {}
        self._probe_ids = (f"{settings.tier}-probe-{n}" for n in itertools.count())

    # From upstream

    def take(self, message: wire.Message, values: list[Any], link: "Inbound") -> None:
        """A frame from whoever connected to this tier. Raises WireError for what is no request."""
        if isinstance(message, wire.Probe):
            self._send(link.connection, message.sender, wire.Echo(id=message.id))
        elif isinstance(message, wire.Request):
            self._take_request(message, values, link)
        else:
            raise WireError(f"a {type(message).__name__} is not expected here")

    def _take_request(self, request: wire.Request, values: list[Any], link: "Inbound") -> None:
        if request.at >= len(request.route):
            raise WireError(f"request is at stage {request.at} of {len(request.route)}")
        hop = request.route[request.at]
        if hop.tier != self._settings.tier or hop.stop < hop.start:
            raise WireError(f"stage {hop} is not for tier {self._settings.tier!r}")
        upstream = request.route[request.at - 1].tier if request.at else None
        arrived_s, gap_s = link.arrival()
        job = Job(request, values, link.connection, upstream, arrived_s, gap_s)
        if len(self._jobs) >= _JOBS_PER_QUEUE * self._settings.max_queue:
            self._refuse(job, "busy", f"{len(self._jobs)} requests are under way already")
            return
        self._jobs[id(job)] = job
        if hop.start == hop.stop:  # a relay has nothing to compute
            self.pass_on(Done(job, values))
        elif not self._worker.submit(job):
            self._refuse(job, "busy", f"{self._settings.max_queue} requests are queued already")

    def pass_on(self, done: Done) -> None:
        """Send a finished job to the next tier of its route, or back to its sender.

        Called at the top of several threads' loops: whatever goes wrong is the sender's to hear,
        and the next job's turn comes.
        """
        try:
            self._pass_on(done)
        except Exception as error:
            self._refuse(done.job, "failed", f"its payload cannot be sent on: {error}")

    def _pass_on(self, done: Done) -> None:
        job = done.job
        if done.failure is not None:
            self._refuse(job, *done.failure)
            return
        specs, buffers = self._kind.pack(done.values)
        if job.request.at + 1 < len(job.request.route):
            self._send_on(done, specs, buffers)
        else:
            sample = self._sample(done, 0.0, (0, _size(buffers)))
            reply = wire.Reply(id=job.request.id, values=specs, samples=[sample])
            self._answer(job, reply, buffers)

    def _send_on(self, done: Done, specs: list[wire.ValueSpec], buffers: list[wire.Buffer]) -> None:
        job, now_s = done.job, time.perf_counter()
        left_s = job.deadline_s - now_s
        if left_s <= 0:
            self._refuse(job, "timeout", "the time limit passed while computing")
            return
        after = job.request.route[job.request.at + 1]
        request = wire.Request(
            id=job.request.id,
            program=job.request.program,
            route=job.request.route,
            at=job.request.at + 1,
            timeout_s=left_s,
            values=specs,
        )
        try:
            link = self._dial(after.address)
        except OSError as error:
            self._refuse(job, "unreachable", f"cannot connect to {after.tier}: {error}")
            return
        sent = _Sent(done, link, now_s, _size(buffers))
        if self._sent.setdefault(request.id, sent) is not sent:
            # Its reply could not be told from the other's, which would then wait here for ever.
            self._refuse(job, "malformed", f"a request {request.id!r} is under way already")
            return
        try:
            self._send(link, after.tier, request, buffers)
        except OSError as error:
            self.lost(link, str(error))

    # From downstream

    def take_answer(self, message: wire.Message, body: list[wire.Buffer]) -> None:
        """A frame on a connection that this tier made. A reply's body is passed on as it is."""
        now_s = time.perf_counter()
        if message.id in self._probes and isinstance(message, wire.Echo):
            sent_s, future = self._probes.pop(message.id)
            future.set_result(now_s - sent_s)
            return
        sent = self._sent.pop(message.id, None)
        if sent is None:
            return  # given up meanwhile
        job = sent.done.job
        if isinstance(message, wire.Refusal):
            self._answer(job, message)
        elif isinstance(message, wire.Reply):
            sample = self._sample(sent.done, now_s - sent.sent_s, (sent.sent_bytes, _size(body)))
            reply = msgspec.structs.replace(message, samples=[sample, *message.samples])
            self._answer(job, reply, body)

    def lost(self, link: Connection, why: str) -> None:
        """A connection that this tier made has broken: what waits for it is refused now."""
        for request_id, sent in list(self._sent.items()):
            if sent.link is link and self._sent.pop(request_id, None) is not None:
                job = sent.done.job
                after = job.request.route[job.request.at + 1].tier
                self._refuse(job, "unreachable", f"connection to {after} lost: {why}")

    def purge(self) -> None:
        """Refuse what has waited longer than its time limit."""
        now_s = time.perf_counter()
        for request_id, sent in list(self._sent.items()):
            job = sent.done.job
            if now_s > job.deadline_s and self._sent.pop(request_id, None) is not None:
                after = job.request.route[job.request.at + 1].tier
                limit = f"{job.request.timeout_s:g} s"
                self._refuse(job, "timeout", f"no answer from {after} within {limit}")

    def probe(self, target: wire.Hop, n_bytes: int, timeout_s: float) -> float:
        """Round trip in seconds of `n_bytes` there and a few back. Raises TimeoutError, OSError."""
        probe_id, future = next(self._probe_ids), Future[float]()
        ballast = [memoryview(bytes(n_bytes))]
        message = wire.Probe(id=probe_id, sender=self._settings.tier)
        link = self._dial(target.address)
        self._probes[probe_id] = (time.perf_counter(), future)
        try:
            self._send(link, target.tier, message, ballast)
            return future.result(timeout_s)
        finally:
            self._probes.pop(probe_id, None)

    # Sending

    def _refuse(self, job: Job, reason: str, message: str) -> None:
        refusal = wire.Refusal(
            id=job.request.id, tier=self._settings.tier, reason=reason, message=message
        )
        self._answer(job, refusal)

    def _answer(self, job: Job, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        self._jobs.pop(id(job), None)
        try:
            self._send(job.sender, job.upstream, message, buffers)
        except OSError:
            return  # whoever asked is gone

    def _send(
        self,
        link: Connection,
        target: str | None,
        message: wire.Message,
        buffers: Sequence[wire.Buffer] = (),
    ) -> None:
        shape = self._shaper.shape(target)
        if shape is None:
            link.send(message, buffers)
        else:
            self._shaper.hold(target, shape, _size(buffers), lambda: link.send(message, buffers))

    def _sample(self, done: Done, hop_s: float, sizes: tuple[int, int]) -> Sample:
        job = done.job
        return Sample(
            tier=job.hop.tier,
            start=job.hop.start,
            stop=job.hop.stop,
            queue_s=done.queue_s,
            compute_s=done.compute_s,
            own_s=time.perf_counter() - job.arrived_s,
            hop_s=hop_s,
            gap_s=job.gap_s,
            sent_bytes=sizes[0],
            reply_bytes=sizes[1],
            energy_j=done.energy_j,
            energy_u_j=done.energy_u_j,
            runtime=job.hop.runtime if job.hop.stop > job.hop.start else TORCH,
        )


class Inbound:
    """A connection that somebody made to this tier, and when its last payload had arrived."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._arrived_s = float("-inf")
        self._lock = threading.Lock()

    def arrival(self) -> tuple[float, float]:
        """(now, seconds since the payload before)."""
        with self._lock:
            now_s = time.perf_counter()
            gap_s, self._arrived_s = now_s - self._arrived_s, now_s
            return now_s, gap_s


def _size(buffers: Sequence[wire.Buffer]) -> int:
    return sum([buffer.nbytes for buffer in buffers])
