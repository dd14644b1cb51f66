"""A tier's downstream side: what was sent on, and what is done without a tier that does not answer.

Whoever takes a waiting request out of `_sent` decides its fate: a reply, a broken connection, a
silence and a time limit may come at once, and one of them wins.
"""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from edgesplit.node import wire
from edgesplit.node.alarm import Alarm
from edgesplit.node.connection import Connection
from edgesplit.node.job import Done, Job, n_bytes_of, sample_of
from edgesplit.node.line import Dial, Line, Lines, Way
from edgesplit.node.probes import Probes
from edgesplit.node.shaper import Shaper

_GRACE_S = 0.1  # per tier further on


class Upstream(Protocol):
    """What becomes of requests that were sent on."""

    def answer(self, job: Job, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """Send what came back."""

    def refuse(self, job: Job, reason: str, message: str) -> None:
        """Say why nothing came back."""

    def do_without(self, done: Done, reason: str, message: str) -> None:
        """Do what the next tier does not."""


@dataclass(frozen=True)
class _Sent:
    """A request passed on to the next tier, waiting for its reply."""

    done: Done
    after: str
    line: Line
    link: Connection
    sent_s: float
    sent_bytes: int

    @property
    def limit_s(self) -> float:
        """When to refuse it: tiers further on do so first, since they know where it is stuck."""
        job = self.done.job
        behind = len(job.request.route) - job.request.at - 2
        return job.deadline_s + behind * _GRACE_S


class Outbound:
    """Requests on their way to other tiers, over lines that dial(address) connects."""

    def __init__(self, tier: str, shaper: Shaper, dial: Dial, upstream: Upstream) -> None:
        self._shaper = shaper
        self._upstream = upstream
        self._sent: dict[str, _Sent] = {}
        self._probes = Probes(tier)
        self._lines = Lines(Way(dial, shaper.send, self._probes))
        self._alarm = Alarm(self._look, "edgesplit-alarm")

    def close(self, timeout_s: float) -> None:
        """End what looks after waiting requests."""
        self._lines.close()
        self._alarm.stop(timeout_s)

    def send_on(
        self,
        done: Done,
        after: wire.Hop,
        specs: list[wire.ValueSpec],
        buffers: list[wire.Buffer],
    ) -> None:
        """Send a computed payload to the next tier. What goes wrong is the upstream's to hear."""
        job, patience_s = done.job, done.job.hop.patience_s
        left_s = job.deadline_s - time.perf_counter()
        if left_s <= 0:
            self._upstream.refuse(job, "timeout", "the time limit passed while computing")
            return
        line = self._lines.to(after)
        try:
            link = line.open(min(left_s, patience_s or left_s))
        except OSError as error:
            reason = "silent" if isinstance(error, TimeoutError) else "unreachable"
            why = f"cannot connect to {after.tier}: {error}"
            self._upstream.do_without(done, reason, why)
            return
        sent = _Sent(done, after.tier, line, link, time.perf_counter(), n_bytes_of(buffers))
        if not self._keep(sent):
            # Its reply could not be told from the other's, which would then wait here for ever.
            why = f"a request {job.request.id!r} is under way already"
            self._upstream.refuse(job, "malformed", why)
            return
        request = msgspec.structs.replace(
            job.request,
            at=job.request.at + 1,
            timeout_s=max(1e-3, job.deadline_s - sent.sent_s),
            values=specs,
        )
        try:
            self._shaper.send(link, after.tier, request, buffers)
        except OSError as error:
            self.lost(link, str(error))

    def _keep(self, sent: _Sent) -> bool:
        """Whether it is waited for from now on; not where one of its name is."""
        job, pulse = sent.done.job, sent.line.pulse
        if self._sent.setdefault(job.request.id, sent) is not sent:
            return False
        look_s = pulse.expect(job.request.id, job.hop.patience_s, sent.sent_s)
        self._alarm.by(min(look_s, sent.limit_s))
        return True

    def take_answer(self, link: Connection, message: wire.Message, body: list[wire.Buffer]) -> None:
        """A frame on a connection that this tier made. A reply's body is passed on as it is."""
        now_s = time.perf_counter()
        self._lines.heard(link, now_s)
        self._probes.answered(message)
        sent = self._taken(message.id)
        if sent is None:
            return  # done without it meanwhile: a late reply is dropped
        if isinstance(message, wire.Reply):
            sizes = (sent.sent_bytes, n_bytes_of(body))
            sample = sample_of(sent.done, now_s - sent.sent_s, sizes)
            reply = msgspec.structs.replace(message, samples=[sample, *message.samples])
            self._upstream.answer(sent.done.job, reply, body)
        elif isinstance(message, wire.Refusal) and message.reason in wire.OTHERS_CAN:
            self._do_without(sent, message)
        else:
            self._upstream.answer(sent.done.job, message)

    def _do_without(self, sent: _Sent, refusal: wire.Refusal) -> None:
        """Finish here, or pass on the refusal as it came."""
        if sent.done.job.hop.patience_s:
            self._upstream.do_without(sent.done, refusal.reason, refusal.message)
        else:
            self._upstream.answer(sent.done.job, refusal)

    def lost(self, link: Connection, why: str) -> None:
        """A connection that this tier made has broken: it does without what waits for it."""
        self._lines.lost(link)
        for request_id, sent in list(self._sent.items()):
            if sent.link is link and self._taken(request_id) is not None:
                message = f"connection to {sent.after} lost: {why}"
                self._upstream.do_without(sent.done, "unreachable", message)

    def probe(self, target: wire.Hop, n_bytes: int, timeout_s: float) -> float:
        """Round trip in seconds of `n_bytes` there and a few back. Raises TimeoutError, OSError."""
        ballast = [memoryview(bytes(n_bytes))]
        link = self._lines.to(target).open(timeout_s)
        with self._probes.probe() as (message, echo):
            self._shaper.send(link, target.tier, message, ballast)
            return echo.result(timeout_s)

    # The alarm's thread

    def _look(self) -> float:
        """Give up on what has been waited for too long; returns when to look again."""
        now_s = time.perf_counter()
        for line in self._lines:
            if now_s >= line.pulse.silent_s:
                self._silent([key for key, sent in list(self._sent.items()) if sent.line is line])
                line.put_down()
            elif now_s >= line.pulse.ask_s:
                line.pulse.asked(now_s)
                line.ask()
            self._silent(line.pulse.late(now_s))
        for request_id, sent in list(self._sent.items()):
            if now_s >= sent.limit_s and self._taken(request_id) is not None:
                limit = f"{sent.done.job.request.timeout_s:g} s"
                why = f"no answer from {sent.after} within {limit}"
                self._upstream.refuse(sent.done.job, "timeout", why)
        limits_s = [sent.limit_s for sent in list(self._sent.values())]
        return min([*limits_s, *(line.pulse.next_s() for line in self._lines)], default=math.inf)

    def _silent(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            sent = self._taken(request_id)
            if sent is not None:
                why = f"no sign of life from {sent.after}"
                self._upstream.do_without(sent.done, "silent", why)

    def _taken(self, request_id: str) -> _Sent | None:
        """The waiting request, which is then waited for no more; None for whoever comes second."""
        sent = self._sent.pop(request_id, None)
        if sent is not None:
            sent.line.pulse.forget(request_id)
        return sent
