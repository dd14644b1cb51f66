"""A tier's upstream side: takes requests in, hands results on, answers each once.

Its methods are called by the threads that read connections, by the compute thread and by those of
outbound.py; what they share are dicts used one operation at a time. What cannot be served is
refused to its sender and harms nobody else.
"""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from edgesplit.core.hedge import HedgeBudget
from edgesplit.core.payload_codec import ALL_CODECS, AS_IS
from edgesplit.errors import WireError
from edgesplit.node.runtime.check import Exactness
from edgesplit.node.tier.coding import is_passed_on_untouched
from edgesplit.node.tier.hedge_run import HedgeRun
from edgesplit.node.tier.job import Done, Job, UpstreamConnection, n_bytes_of, timing_of
from edgesplit.node.tier.next_tier import Dial
from edgesplit.node.tier.outbound import Outbound
from edgesplit.node.tier.shaper import Shaper
from edgesplit.node.tier.worker import Worker
from edgesplit.node.transport import wire
from edgesplit.node.transport.payload_memory import Room
from edgesplit.node.transport.security import UNSECURED, Credentials
from edgesplit.node.transport.tensor_kind import TensorKind


@dataclass(frozen=True)
class ServeSettings:
    """How a tier serves one session, and what it bears. threads: how many a segment may compute on.

    credentials: the session's, which whoever connects must have too. flushes_denormals: segments
    compute so. hedge: the largest share of requests that are run twice. weight: of its share of the
    compute thread, beside other sessions. exactness: of the runtimes it may use.
    """

    tier: str
    threads: int = 1
    max_queue: int = 64
    max_frame_bytes: int = wire.DEFAULT_MAX_FRAME_BYTES
    credentials: Credentials = UNSECURED
    flushes_denormals: bool = False
    hedge: float = 0.05
    weight: float = 1.0
    exactness: Exactness = field(default_factory=Exactness)

    @property
    def session(self) -> str:
        """Its name."""
        return self.credentials.session


# Of requests under way here: computing, waiting to be sent on, or for their replies.
_JOBS_PER_QUEUE = 4
_FRAMES_HELD = 2  # of the largest; smaller ones are more


class Router:
    """One tier's traffic. dial(next_tier): a new connection to another tier, read from.

    room: for the payloads that are held here.
    """

    def __init__(
        self,
        settings: ServeSettings,
        worker: Worker,
        shaper: Shaper,
        dial: Dial,
        kind: TensorKind,
    ) -> None:
        self.room = Room(_FRAMES_HELD * settings.max_frame_bytes)
        self._settings = settings
        self._worker = worker
        self._shaper = shaper
        self._kind = kind
        self._jobs: dict[int, Job] = {}  # taken and not answered yet, by identity
        self._budget = HedgeBudget(settings.hedge)
        self.outbound = Outbound(settings.tier, shaper, dial, self, self._budget)

    def check(self, message: wire.Message) -> None:
        """Raise WireError for what is no frame for this tier, before its body is received."""
        if isinstance(message, wire.Probe | wire.Cancel):
            return
        if not isinstance(message, wire.Request):
            raise WireError(f"a {type(message).__name__} is not expected here")
        if message.at >= len(message.route):
            raise WireError(f"request is at stage {message.at} of {len(message.route)}")
        hop = message.route[message.at]
        if hop.tier != self._settings.tier or hop.stop < hop.start:
            raise WireError(f"stage {hop} is not for tier {self._settings.tier!r}")
        if hop.codec != AS_IS and hop.codec not in ALL_CODECS:
            raise WireError(f"no codec {hop.codec!r}; known: {AS_IS}, {', '.join(ALL_CODECS)}")

    def take(
        self, message: wire.Message, values: list[Any], body_bytes: int, link: UpstreamConnection
    ) -> None:
        """A frame that check() has passed, from whoever connected to this tier.

        body_bytes: of room that has been taken for it, which is given back with the answer.
        """
        if isinstance(message, wire.Probe):
            link.is_tiers |= bool(message.sender)
            self._shaper.send(link.connection, message.sender, wire.Echo(id=message.id))
        elif isinstance(message, wire.Cancel):
            self._cancel(message.id, link)
        elif isinstance(message, wire.Request):
            upstream = message.route[message.at - 1].tier if message.at else None
            link.is_tiers |= upstream is not None
            self._take(Job(message, values, body_bytes, link, upstream, *link.arrival()))

    def _take(self, job: Job) -> None:
        is_full = len(self._jobs) >= _JOBS_PER_QUEUE * self._settings.max_queue
        self._jobs[id(job)] = job
        self._budget.count()
        if is_full:
            self.refuse(job, "busy", f"{len(self._jobs) - 1} requests are under way already")
        elif job.hop.start == job.hop.stop and is_passed_on_untouched(job):  # a relay
            self.pass_on(Done(job, job.values))
        elif not self._worker.submit(job):
            self.refuse(job, "busy", self._worker.queue_text)

    def _cancel(self, request_id: str, link: UpstreamConnection) -> None:
        """Its sender waits no more: what has not begun never does. Unknown: it was answered."""
        for job in list(self._jobs.values()):
            if job.sender is link and job.request.id == request_id:
                job.is_cancelled = True
                self.outbound.cancel(job)
                self.refuse(job, "gone", "it was cancelled")

    @property
    def n_jobs(self) -> int:
        """Requests taken and not answered yet."""
        return len(self._jobs)

    def senders(self) -> set[UpstreamConnection]:
        """Connections that wait for an answer."""
        return {job.sender for job in list(self._jobs.values())}

    def pass_on(self, done: Done) -> None:
        """Send a finished job to the next tier of its route, or back to its sender.

        Called at the top of several threads' loops: whatever goes wrong is the sender's to hear,
        and the next job's turn comes.
        """
        try:
            self._pass_on(done)
        except Exception as error:
            self.refuse(done.job, "failed", f"its payload cannot be sent on: {error}")

    def _pass_on(self, done: Done) -> None:
        job = done.job
        if done.hedge is not None:
            answer = self.outbound.hedge_ended(done.hedge, done)
            if answer is None:
                return
            done = answer
        if done.failure is not None:
            self.refuse(job, *done.failure)
            return
        if job.is_pointless:
            self.refuse(job, "gone", "nobody waits for it any more")
            return
        if job.after is not None and not done.failed_over:
            specs, buffers = self._kind.pack(done.values if done.sent is None else done.sent)
            self.outbound.send_on(done, job.after, specs, buffers)
        else:
            specs, buffers = self._kind.pack(done.values)
            timing = timing_of(done, 0.0, (0, n_bytes_of(buffers)))
            reply = wire.Reply(id=job.request.id, values=specs, timings=[timing])
            self.answer(job, reply, buffers)

    def fail_over(self, done: Done, reason: str, message: str) -> None:
        """Run here what the next tier does not, or say why not."""
        if done.job.hop.failover_after_s:
            self._worker.finish(done, reason)
        else:
            self.refuse(done.job, reason, message)

    def hedge(self, done: Done, hedge: HedgeRun) -> None:
        """Run here what the next tier does too."""
        self._worker.hedge(done, hedge)

    def tell(self, job: Job, message: wire.TransferProgress) -> None:
        """Say how a job is doing to its sender, if that waits."""
        if id(job) in self._jobs:
            with contextlib.suppress(OSError):  # whoever asked is gone
                self._shaper.send(job.sender.connection, job.upstream, message)

    def refuse(self, job: Job, reason: str, message: str) -> None:
        """Tell the sender why there is no result."""
        self.answer(job, self._refusal(job, reason, message))

    def answer(self, job: Job, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """The one answer of a job; a second one is ignored."""
        if self._jobs.pop(id(job), None) is None:
            return
        self.room.give_back(job.body_bytes)
        link = job.sender.connection
        if link.is_behind and not self.room.bears(n_bytes_of(buffers)):
            why = "it does not read its answers, and no memory is left for one more"
            message, buffers = self._refusal(job, "busy", why), ()
        try:
            self._shaper.send(link, job.upstream, message, buffers)
        except OSError:
            return  # whoever asked is gone

    def _refusal(self, job: Job, reason: str, message: str) -> wire.Refusal:
        return wire.Refusal(
            id=job.request.id, tier=self._settings.tier, reason=reason, message=message
        )
