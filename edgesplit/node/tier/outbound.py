"""A tier's downstream side: requests that were sent on, and failing over from a silent next tier.

Whoever takes a waiting request out of `_sent` decides its fate: a reply, a broken connection, a
silence and a time limit may come at once, and one of them wins.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import msgspec

from edgesplit.errors import WireError
from edgesplit.node.process.threads import begin
from edgesplit.node.tier.job import Done, Job, n_bytes_of, timing_of
from edgesplit.node.tier.next_tier import Dial, NextTier
from edgesplit.node.tier.shaper import Shaper
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.judge import check_timings
from edgesplit.node.transport.peer import Watchdog

_GRACE_S = 0.1  # per tier further on


class Upstream(Protocol):
    """What becomes of requests that were sent on."""

    def answer(self, job: Job, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """Send what came back."""

    def refuse(self, job: Job, reason: str, message: str) -> None:
        """Say why nothing came back."""

    def fail_over(self, done: Done, reason: str, message: str) -> None:
        """Do what the next tier does not."""


@dataclass(frozen=True)
class _Sent:
    """A request passed on to the next tier, waiting for its reply."""

    done: Done
    to: NextTier
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
    """Requests on their way to other tiers, over connections that dial(next_tier) makes."""

    def __init__(self, tier: str, shaper: Shaper, dial: Dial, upstream: Upstream) -> None:
        self._tier, self._shaper, self._dial = tier, shaper, dial
        self._upstream = upstream
        self._sent: dict[str, _Sent] = {}
        self._next_tiers: dict[str, NextTier] = {}  # by address
        self._watchdog = Watchdog(self._look, "watchdog")

    def close(self, timeout_s: float) -> None:
        """End what looks after waiting requests."""
        for to in list(self._next_tiers.values()):
            to.peer.close()
        self._watchdog.stop(timeout_s)

    def to(self, hop: wire.Hop) -> NextTier:
        """The tier of that hop, connected or not."""
        found = self._next_tiers.get(hop.address)
        if found is None:
            made = NextTier(hop, self._tier, self._shaper, self._dial, self._silent)
            found = self._next_tiers.setdefault(hop.address, made)
        return found

    def send_on(
        self,
        done: Done,
        after: wire.Hop,
        specs: list[wire.ValueSpec],
        buffers: list[wire.Buffer],
    ) -> None:
        """Send a computed payload to the next tier. What goes wrong is the upstream's to hear.

        Where a connection has to be made first, that is waited for on a thread of its own.
        """
        to = self.to(after)
        if not to.takes_time():
            self._send_on(done, to, specs, buffers)
            return
        try:
            begin(partial(self._send_on, done, to, specs, buffers), "connect")
        except OSError as error:
            why = f"cannot connect to {after.tier}: {error}"
            self._upstream.fail_over(done, "unreachable", why)

    def _send_on(
        self, done: Done, to: NextTier, specs: list[wire.ValueSpec], buffers: list[wire.Buffer]
    ) -> None:
        job, failover_after_s = done.job, done.job.hop.failover_after_s
        left_s = job.deadline_s - time.perf_counter()
        if left_s <= 0:
            self._upstream.refuse(job, "timeout", "the time limit passed while computing")
            return
        try:
            link = to.open(min(left_s, failover_after_s or left_s))
        except OSError as error:
            reason = "silent" if isinstance(error, TimeoutError) else "unreachable"
            self._upstream.fail_over(done, reason, f"cannot connect to {to.tier}: {error}")
            return
        sent = _Sent(done, to, link, time.perf_counter(), n_bytes_of(buffers))
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
            self._shaper.send(link, to.tier, request, buffers)
        except OSError as error:
            self.lost(to, link, str(error))

    def _keep(self, sent: _Sent) -> bool:
        """Whether it is waited for from now on; not where one of its name is."""
        job = sent.done.job
        if self._sent.setdefault(job.request.id, sent) is not sent:
            return False
        look_s = sent.to.peer.expect(job.request.id, job.hop.failover_after_s, sent.sent_s)
        self._watchdog.by(min(look_s, sent.limit_s))
        return True

    def awaits(self, message: wire.Message) -> bool:
        """Whether its body is of use. A late reply's is not, nor that of a malformed one."""
        sent = self._sent.get(message.id)
        if sent is None or not isinstance(message, wire.Reply):
            return False
        try:
            job = sent.done.job
            check_timings(job.request.route[job.request.at + 1 :], message.timings)
        except WireError as error:
            self.spoilt(message.id, str(error))
            return False
        return True

    def spoilt(self, request_id: str, why: str) -> None:
        """What came cannot be that request's answer. Raises WireError where nobody knows whose."""
        if not request_id:
            raise WireError(why)
        sent = self._taken(request_id)
        if sent is not None:
            why = f"{sent.to.tier} sent what cannot be an answer: {why}"
            self._upstream.fail_over(sent.done, "malformed", why)

    def no_room(self, request_id: str) -> None:
        """There is no memory for its answer just now: whoever asked may ask again."""
        sent = self._taken(request_id)
        if sent is not None:
            self._upstream.refuse(sent.done.job, "busy", "no memory is left for the answer")

    def take_answer(self, to: NextTier, message: wire.Message, body: list[wire.Buffer]) -> None:
        """A frame of a tier that this one sends to. A reply's body is passed on as it is."""
        now_s = time.perf_counter()
        to.peer.heard(now_s)
        if isinstance(message, wire.Echo):
            to.echoed(message)
            return
        sent = self._taken(message.id)
        if sent is None:
            return  # done without it meanwhile: a late reply is dropped
        if isinstance(message, wire.Reply):
            sizes = (sent.sent_bytes, n_bytes_of(body))
            timing = timing_of(sent.done, now_s - sent.sent_s, sizes)
            reply = msgspec.structs.replace(message, timings=[timing, *message.timings])
            self._upstream.answer(sent.done.job, reply, body)
        elif isinstance(message, wire.Refusal) and message.reason in wire.RECOVERABLE_REASONS:
            self._do_without(sent, message)
        else:
            self._upstream.answer(sent.done.job, message)

    def _do_without(self, sent: _Sent, refusal: wire.Refusal) -> None:
        """Finish here, or pass on the refusal as it came."""
        if sent.done.job.hop.failover_after_s:
            self._upstream.fail_over(sent.done, refusal.reason, refusal.message)
        else:
            self._upstream.answer(sent.done.job, refusal)

    def lost(self, to: NextTier, link: Connection, why: str) -> None:
        """A connection that this tier made has broken: it does without what waits for it."""
        reason = to.lost(link)
        for request_id, sent in list(self._sent.items()):
            if sent.link is link and self._taken(request_id) is not None:
                self._upstream.fail_over(sent.done, reason, f"connection to {to.tier} lost: {why}")

    # The watchdog's thread

    def _look(self) -> float:
        """Give up on what has been waited for too long; returns when to look again."""
        now_s = time.perf_counter()
        next_s = [to.peer.look(now_s) for to in list(self._next_tiers.values())]
        for request_id, sent in list(self._sent.items()):
            if now_s >= sent.limit_s and self._taken(request_id) is not None:
                limit = f"{sent.done.job.request.timeout_s:g} s"
                why = f"no answer from {sent.to.tier} within {limit}"
                self._upstream.refuse(sent.done.job, "timeout", why)
        return min([*next_s, *(sent.limit_s for sent in list(self._sent.values()))])

    def _silent(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            sent = self._taken(request_id)
            if sent is not None:
                why = f"no sign of life from {sent.to.tier}"
                self._upstream.fail_over(sent.done, "silent", why)

    def _taken(self, request_id: str) -> _Sent | None:
        """The waiting request, which is then waited for no more; None for whoever comes second."""
        sent = self._sent.pop(request_id, None)
        if sent is not None:
            sent.to.peer.forget(request_id)
        return sent
