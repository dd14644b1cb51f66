"""A tier's downstream side: requests that were sent on, hedged, and failed over from a silent tier.

Whoever takes a waiting request out of `_sent` decides its fate: a reply, a hedge's end, a broken
connection, a silence and a time limit may come at once, and one of them wins.
"""

import contextlib
import time
import weakref
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import Protocol

import msgspec

from edgesplit.core.hedge import HedgeBudget
from edgesplit.core.payload_codec import AS_IS
from edgesplit.errors import WireError
from edgesplit.node.process.threads import begin
from edgesplit.node.tier.hedge_run import HedgeRun
from edgesplit.node.tier.job import Done, Job, n_bytes_of, timing_of
from edgesplit.node.tier.next_tier import Dial, NextTier
from edgesplit.node.tier.sent_request import LOOK_S, SentRequest
from edgesplit.node.tier.shaper import Shaper
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.judge import check_timings
from edgesplit.node.transport.peer import Watchdog
from edgesplit.node.transport.wire import TensorSpec


class Upstream(Protocol):
    """What becomes of requests that were sent on."""

    def answer(self, job: Job, message: wire.Message, buffers: Sequence[wire.Buffer] = ()) -> None:
        """Send what came back."""

    def refuse(self, job: Job, reason: str, message: str) -> None:
        """Say why nothing came back."""

    def fail_over(self, done: Done, reason: str, message: str) -> None:
        """Do what the next tier does not."""

    def hedge(self, done: Done, hedge: HedgeRun) -> None:
        """Do what the next tier does too."""

    def pass_on(self, done: Done) -> None:
        """Send what a hedge has made, which is the answer."""

    def tell(self, job: Job, message: wire.TransferProgress) -> None:
        """Say how it is doing to whoever sent it."""


class Outbound:
    """Requests on their way to other tiers, over connections that dial(next_tier) makes.

    budget: of requests that are run twice.
    """

    def __init__(
        self, tier: str, shaper: Shaper, dial: Dial, upstream: Upstream, budget: HedgeBudget
    ) -> None:
        self._tier, self._shaper, self._dial = tier, shaper, dial
        self._upstream, self._budget = upstream, budget
        self._sent: dict[str, SentRequest] = {}
        self._cancelled: dict[str, SentRequest] = {}  # and not said to be gone yet
        self._aborted = weakref.WeakSet[Connection]()
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
        if job.is_pointless:
            self._upstream.refuse(job, "gone", "nobody waits for it any more")
            return
        if left_s <= 0:
            self._upstream.refuse(job, "timeout", "the time limit passed while computing")
            return
        try:
            link = to.open(min(left_s, failover_after_s or left_s))
        except OSError as error:
            reason = "silent" if isinstance(error, TimeoutError) else "unreachable"
            self._upstream.fail_over(done, reason, f"cannot connect to {to.tier}: {error}")
            return
        n_bytes, ahead = n_bytes_of(buffers), to.peer.n_waiting
        sent = SentRequest(done, to, link, time.perf_counter(), n_bytes, ahead)
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
            sent.way = self._shaper.send(link, to.tier, request, buffers)
        except OSError as error:
            self.lost(to, link, str(error))

    def _keep(self, sent: SentRequest) -> bool:
        """Whether it is waited for from now on; not where one of its name is."""
        job = sent.done.job
        if self._sent.setdefault(job.request.id, sent) is not sent:
            return False
        look_s = sent.to.peer.expect(job.request.id, job.hop.failover_after_s, sent.sent_s)
        self._watchdog.by(min(look_s, sent.limit_s, sent.sent_s + LOOK_S))
        return True

    def awaits(self, message: wire.Message) -> bool:
        """Whether its body is of use. A late reply's is not, nor that of a malformed one."""
        sent = self._sent.get(message.id)
        if sent is None or not isinstance(message, wire.Reply):
            return False
        try:
            job = sent.done.job
            check_timings(job.request.route[job.request.at + 1 :], message.timings)
            if any(spec.codec != AS_IS for spec in message.values if isinstance(spec, TensorSpec)):
                raise WireError("an answer is not coded")
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
            self._fail_over(
                sent, "malformed", f"{sent.to.tier} sent what cannot be an answer: {why}"
            )

    def no_room(self, request_id: str) -> None:
        """There is no memory for its answer just now: whoever asked may ask again."""
        sent = self._taken(request_id)
        if sent is not None:
            self._refuse(sent, "busy", "no memory is left for the answer")

    def take_answer(self, to: NextTier, message: wire.Message, body: list[wire.Buffer]) -> None:
        """A frame of a tier that this one sends to. A reply's body is passed on as it is."""
        now_s = time.perf_counter()
        to.peer.heard(now_s)
        if isinstance(message, wire.Echo):
            to.echoed(message)
            return
        if isinstance(message, wire.TransferProgress):
            self._hear(message, now_s)
            return
        sent = self._taken(message.id)
        if sent is None:  # done without it meanwhile: a late reply is dropped
            if self._cancelled.pop(message.id, None) is not None:
                to.peer.forget(message.id)
            return
        if isinstance(message, wire.Reply):
            sizes = (sent.sent_bytes, n_bytes_of(body))
            timing = timing_of(sent.done, now_s - sent.sent_s, sizes)
            if sent.hedge is not None:
                spent_j = sent.hedge.cancel()
                timing = replace(
                    timing, hedged="lost", hedge_j=spent_j, energy_j=timing.energy_j + spent_j
                )
            reply = msgspec.structs.replace(message, timings=[timing, *message.timings])
            self._upstream.answer(sent.done.job, reply, body)
        elif isinstance(message, wire.Refusal):
            self._refused(sent, message)
        else:
            self._upstream.answer(sent.done.job, message)

    def _refused(self, sent: SentRequest, refusal: wire.Refusal) -> None:
        """Finish here, or pass on the refusal as it came."""
        is_other_tiers = refusal.reason in wire.RECOVERABLE_REASONS
        if is_other_tiers and sent.job.hop.failover_after_s:
            self._fail_over(sent, refusal.reason, refusal.message)
        elif sent.hedge is not None and refusal.reason == "busy":  # which is done here by now
            self._fail_over(sent, wire.LATE, refusal.message)
        else:
            sent.drop_hedge()
            self._upstream.answer(sent.done.job, refusal)

    def _refuse(self, sent: SentRequest, reason: str, message: str) -> None:
        sent.drop_hedge()
        self._upstream.refuse(sent.done.job, reason, message)

    def _fail_over(self, sent: SentRequest, reason: str, message: str) -> None:
        """Do what the next tier does not; a hedge that is at it already goes on alone."""
        if sent.hedge is None:
            self._upstream.fail_over(sent.done, reason, message)
            return
        made = sent.hedge.adopt(f"{sent.to.tier} {reason}")
        if made is not None and made.failure is not None:
            self._upstream.fail_over(sent.done, reason, message)
        elif made is not None:
            self._upstream.pass_on(replace(made, failed_over=sent.hedge.why, hedge=None))

    # Hedges

    def _hear(self, progress: wire.TransferProgress, now_s: float) -> None:
        """A tier further on has said how it is doing: passed on."""
        sent = self._sent.get(progress.id)
        if sent is not None:
            sent.heard(progress, now_s)
            self._upstream.tell(sent.job, progress)

    def hedge_ended(self, hedge: HedgeRun, done: Done) -> Done | None:
        """What is to be answered with it, if anything: it came first, or is alone."""
        request_id = done.job.request.id
        sent = self._sent.get(request_id)
        answer: Done | None = None
        is_answer = sent is not None and (done.failure is None or sent.is_taken_back)
        if sent is not None and is_answer and self._is_of(hedge, sent):
            answer = self._first(sent, done, hedge.why)
        elif hedge.ended(done):
            answer = replace(done, failed_over=hedge.why, hedge=None)
        self._watchdog.by(time.perf_counter())  # others that are late may have their turn
        return answer

    def _is_of(self, hedge: HedgeRun, sent: SentRequest) -> bool:
        """Whether that request still waits for this run, which then decides its fate."""
        return sent.hedge is hedge and self._sent.pop(sent.job.request.id, None) is sent

    def _first(self, sent: SentRequest, done: Done, why: str) -> Done | None:
        """What is to be answered with a run that came first, or is the only one."""
        if not sent.is_taken_back:
            self._give_up(sent)
            return done
        if done.failure is not None and done.failure[0] not in ("timeout", "gone"):
            done.job.is_stuck_here = True
            self._upstream.pass_on(sent.done)  # after all
            return None
        return replace(done, failed_over=why, hedge=None, hedge_j=0.0)

    def cancel(self, job: Job) -> None:
        """Whoever sent that request waits for it no more: nor does this tier."""
        sent = self._sent.get(job.request.id)
        if sent is not None and sent.job is job and self._taken(job.request.id) is not None:
            sent.drop_hedge()
            self._give_up(sent)

    def _give_up(self, sent: SentRequest) -> None:
        """The next tier need not answer. What of the payload is still here need not leave.

        Half a frame can be taken back with its connection only: where others wait on that, the rest
        of it goes its way. One on which nothing moves is left to the watchdog, which finds out
        whether the tier lives; whatever comes back, or its silence, is a sign.
        """
        request_id = sent.job.request.id
        if not sent.has_arrived:
            self._upstream.tell(sent.job, sent.last_words(time.perf_counter()))
        if not self._take_back(sent):
            self._cancelled[request_id] = sent
            with contextlib.suppress(OSError):  # it is lost: so is the request there
                self._shaper.send(sent.link, sent.to.tier, wire.Cancel(id=request_id))

    def _take_back(self, sent: SentRequest) -> bool:
        """Whether it does not come to the next tier: it had not begun to leave, or is alone."""
        if sent.is_taken_back:
            return True
        if sent.way is None or sent.has_arrived:
            return False
        if sent.way.withdraw():
            sent.is_taken_back = True
        elif sent.is_moving and not self._others_on(sent):
            sent.is_taken_back = True
            self._aborted.add(sent.link)
            sent.link.abort()
        if sent.is_taken_back:
            sent.to.peer.forget(sent.job.request.id)
        return sent.is_taken_back

    def _others_on(self, sent: SentRequest) -> bool:
        """Whether other requests wait on its connection."""
        others = (one for one in list(self._sent.values()) if one is not sent)
        return any(one.link is sent.link and not one.is_taken_back for one in others)

    def lost(self, to: NextTier, link: Connection, why: str) -> None:
        """A connection that this tier made has broken: it does without what waits for it."""
        reason = to.lost(link)
        if link in self._aborted:  # by this tier: what was just being sent is no sign of anything
            reason = wire.LATE
        for request_id, sent in list(self._cancelled.items()):
            if sent.link is link and self._cancelled.pop(request_id, None) is not None:
                to.peer.forget(request_id)
        for request_id, sent in list(self._sent.items()):
            if sent.link is not link or sent.is_taken_back:
                continue
            if self._taken(request_id) is not None:
                self._fail_over(sent, reason, f"connection to {to.tier} lost: {why}")

    # The watchdog's thread

    def _look(self) -> float:
        """Give up on what has been waited for too long; returns when to look again."""
        now_s = time.perf_counter()
        next_s = [to.peer.look(now_s) for to in list(self._next_tiers.values())]
        for request_id, sent in list(self._sent.items()):
            if now_s >= sent.limit_s and self._taken(request_id) is not None:
                limit = f"{sent.done.job.request.timeout_s:g} s"
                why = f"no answer from {sent.to.tier} within {limit}"
                self._refuse(sent, "timeout", why)
            else:
                self._look_after(sent, now_s)
        if self._sent:
            next_s.append(now_s + LOOK_S)
        return min([*next_s, *(sent.limit_s for sent in list(self._sent.values()))])

    def _look_after(self, sent: SentRequest, now_s: float) -> None:
        """See how a request is doing, say so, and run the rest here where it is late."""
        sent.look(now_s)
        if sent.is_late(now_s):
            if not self._is_any_moving(sent.to):  # else its word may be behind a payload
                sent.to.peer.suspect(sent.patience_s, now_s)
            if not self._is_at_rest_of_any():
                self._without_next_tier(sent, now_s)
        words = sent.words(now_s)
        if words is not None:
            self._upstream.tell(sent.job, words)

    def _is_at_rest_of_any(self) -> bool:
        """Whether a late request's rest is run here: two would only hold each other up."""
        hedges = (sent.hedge for sent in list(self._sent.values()))
        return any(hedge is not None and not hedge.has_ended for hedge in hedges)

    def _without_next_tier(self, sent: SentRequest, now_s: float) -> None:
        """Run the rest here. Instead of there, if sending costs the device of the user joules.

        That is where the request has entered. Elsewhere what is sent may as well arrive.
        """
        is_entry = sent.job.request.at == 0
        if not (is_entry and self._take_back(sent)) and not self._budget.take():
            return
        hedge = HedgeRun(f"{sent.to.tier} {wire.LATE}")
        sent.hedged(hedge, now_s)
        if sent.is_taken_back:
            self._upstream.tell(sent.job, sent.last_words(now_s))
        self._upstream.hedge(sent.done, hedge)
        if sent.job.request.id not in self._sent:  # it was answered meanwhile
            hedge.cancel()

    def _is_any_moving(self, to: NextTier) -> bool:
        """Whether payloads are on their way to that tier, and have not come to a stop."""
        return any(sent.is_moving for sent in list(self._sent.values()) if sent.to is to)

    def _silent(self, request_ids: list[str]) -> None:
        for request_id in request_ids:
            sent = self._taken(request_id)
            if sent is not None:
                self._fail_over(sent, "silent", f"no sign of life from {sent.to.tier}")

    def _taken(self, request_id: str) -> SentRequest | None:
        """The waiting request, which is then waited for no more; None for whoever comes second."""
        sent = self._sent.pop(request_id, None)
        if sent is not None:
            sent.to.peer.forget(request_id)
        return sent
