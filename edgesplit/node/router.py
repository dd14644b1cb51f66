"""A tier's upstream side: takes requests in, hands results on, answers whoever asked, once.

Its methods are called by the threads that read connections, by the compute thread and by those of
outbound.py; what they share are dicts used one operation at a time. What cannot be served is
refused to its sender and harms nobody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.errors import WireError
from edgesplit.node import wire
from edgesplit.node.inbound import Inbound
from edgesplit.node.job import Done, Job, n_bytes_of, sample_of
from edgesplit.node.line import Dial
from edgesplit.node.outbound import Outbound
from edgesplit.node.security import Credentials
from edgesplit.node.shaper import Shaper
from edgesplit.node.tensor_kind import TensorKind
from edgesplit.node.worker import Worker


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


# Of requests under way here: computing, waiting to be sent on, or for their replies.
_JOBS_PER_QUEUE = 4


class Router:
    """One tier's traffic. dial(address): a new connection to another tier, read from."""

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
        self._kind = kind
        self._jobs: dict[int, Job] = {}  # taken and not answered yet, by identity
        self.outbound = Outbound(settings.tier, shaper, dial, self)

    def take(self, message: wire.Message, values: list[Any], link: Inbound) -> None:
        """A frame from whoever connected to this tier. Raises WireError for what is no request."""
        if isinstance(message, wire.Probe):
            self._shaper.send(link.connection, message.sender, wire.Echo(id=message.id))
        elif isinstance(message, wire.Request):
            self._take_request(message, values, link)
        else:
            raise WireError(f"a {type(message).__name__} is not expected here")

    def _take_request(self, request: wire.Request, values: list[Any], link: Inbound) -> None:
        if request.at >= len(request.route):
            raise WireError(f"request is at stage {request.at} of {len(request.route)}")
        hop = request.route[request.at]
        if hop.tier != self._settings.tier or hop.stop < hop.start:
            raise WireError(f"stage {hop} is not for tier {self._settings.tier!r}")
        upstream = request.route[request.at - 1].tier if request.at else None
        job = Job(request, values, link, upstream, *link.arrival())
        is_full = len(self._jobs) >= _JOBS_PER_QUEUE * self._settings.max_queue
        self._jobs[id(job)] = job
        if is_full:
            self.refuse(job, "busy", f"{len(self._jobs) - 1} requests are under way already")
        elif hop.start == hop.stop:  # a relay has nothing to compute
            self.pass_on(Done(job, values))
        elif not self._worker.submit(job):
            self.refuse(job, "busy", f"{self._settings.max_queue} requests are queued already")

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
        if done.failure is not None:
            self.refuse(job, *done.failure)
            return
        if job.sender.is_gone:
            self.refuse(job, "gone", "whoever asked has closed the connection")
            return
        specs, buffers = self._kind.pack(done.values)
        if job.after is not None and not done.finished:
            self.outbound.send_on(done, job.after, specs, buffers)
        else:
            sample = sample_of(done, 0.0, (0, n_bytes_of(buffers)))
            reply = wire.Reply(id=job.request.id, values=specs, samples=[sample])
            self.answer(job, reply, buffers)

    def do_without(self, done: Done, reason: str, message: str) -> None:
        """Run here what the next tier does not, or say why not."""
        if done.job.hop.patience_s:
            self._worker.finish(done, reason)
        else:
            self.refuse(done.job, reason, message)

    def refuse(self, job: Job, reason: str, message: str) -> None:
        """Tell the sender why there is no result."""
        refusal = wire.Refusal(
            id=job.request.id, tier=self._settings.tier, reason=reason, message=message
        )
        self.answer(job, refusal)

    def answer(self, job: Job, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """The one answer of a job; whoever comes with a second one is ignored."""
        if self._jobs.pop(id(job), None) is None:
            return
        try:
            self._shaper.send(job.sender.connection, job.upstream, message, buffers)
        except OSError:
            return  # whoever asked is gone
