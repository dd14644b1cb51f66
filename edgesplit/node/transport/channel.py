"""One connection of the caller, used by one thread at a time: requests out, answers matched."""

import contextlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.core.tier_timing import TierTiming
from edgesplit.errors import DeadlineExceeded, RequestError, WireError
from edgesplit.node.transport import wire
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.judge import AnswerForm, check_timings
from edgesplit.node.transport.peer import Peer, Watchdog

_LOOK_S = 1.0  # between two looks whether another thread has closed the connection
_GRACE_S = 1.0  # the tiers give up first, so that their refusal says where it stuck


@dataclass(frozen=True)
class Outcome:
    """What became of a request: the outputs, and a timing per tier in route order.

    why: empty where the tiers answered. Else the caller ran the model itself, for that reason, and
    there are no timings. hedged: `won` or `lost`, where it ran the model beside the tiers.
    """

    values: list[Any]
    timings: tuple[TierTiming, ...]
    why: str = ""
    hedged: str = ""


Told = Callable[[wire.TransferProgress], None]


@dataclass(frozen=True)
class _Waiting:
    """What is known of a request that waits for its answer."""

    route: Sequence[wire.Hop]
    answer: AnswerForm | None
    told: Told | None


class Channel:
    """To the first tier of every route, which is the peer of all channels to it.

    max_frame_bytes: of an answer's body where its sizes cannot be known beforehand.
    """

    def __init__(
        self, connection: Connection, peer: Peer, watchdog: Watchdog, max_frame_bytes: int
    ) -> None:
        self._connection, self._max_frame_bytes = connection, max_frame_bytes
        self._peer, self._watchdog = peer, watchdog
        self._ready: dict[str, Outcome | RequestError] = {}
        self._waiting: dict[str, _Waiting] = {}
        self._owed: set[str] = set()  # sent, and no answer has come; also of those who gave up
        self._is_within = False  # a frame; it stays so where anything at all interrupts the thread
        self._has_failed = False

    def send(
        self,
        request: wire.Request,
        buffers: Sequence[wire.Buffer],
        failover_after_s: float = 0.0,
        answer: AnswerForm | None = None,
        told: Told | None = None,
    ) -> None:
        """Send a request; its answer comes from receive(). Raises RequestError.

        failover_after_s: how long the tier may be silent; 0: until the time limit. answer: what its
        values have to look like; None: nobody knows. told: hears how it is doing.
        """
        self._waiting[request.id] = _Waiting(request.route, answer, told)
        now_s = time.perf_counter()
        limit_s = now_s + request.timeout_s + _GRACE_S + _LOOK_S  # receive() ends before that
        self._watchdog.by(self._peer.expect(request.id, failover_after_s, now_s, limit_s))
        self._owed.add(request.id)
        self._is_within = True
        try:
            self._connection.send(request, buffers)
        except OSError as error:
            raise self._lost(request.id, error) from error
        self._is_within = False

    def receive(self, request_id: str, timeout_s: float) -> Outcome:
        """The answer to `request_id`. Raises DeadlineExceeded or RequestError."""
        if not self.wait(request_id, time.perf_counter() + timeout_s + _GRACE_S):
            self._done(request_id)
            raise DeadlineExceeded(
                f"request {request_id}: no answer within {timeout_s:g} s; "
                "raise timeout_s, or look at `edgesplit doctor`",
                "timeout",
            )
        self._done(request_id)
        outcome = self._ready.pop(request_id)
        if isinstance(outcome, RequestError):
            raise outcome
        return outcome

    def suspect(self, patience_s: float) -> None:
        """The tier is late: without a sign of life for so long it counts as silent."""
        self._watchdog.by(self._peer.suspect(patience_s, time.perf_counter()))

    def cancel(self, request_id: str) -> None:
        """Nobody waits for it any more. Its tier is told, and says `gone` before the next reply."""
        self._done(request_id)
        with contextlib.suppress(OSError):
            self._connection.post(wire.Cancel(id=request_id))

    def wait(self, request_id: str, until_s: float) -> bool:
        """Whether receive() has its answer by then (perf_counter's). Raises RequestError."""
        while request_id not in self._ready:
            left_s = until_s - time.perf_counter()
            if left_s <= 0:
                return False
            if self._connection.is_closed:
                raise self._lost(request_id, EOFError("closed"))
            if not self._connection.wait(min(left_s, _LOOK_S)):
                continue
            try:
                self._receive_one()
            except WireError as error:
                raise self._spoilt(request_id, error) from error
            except (EOFError, OSError, ValueError) as error:  # ValueError: closed under poll()
                raise self._lost(request_id, error) from error
        return True

    @property
    def n_waiting(self) -> int:
        """Requests that wait for the tier, on all channels to it."""
        return self._peer.n_waiting

    @property
    def is_broken(self) -> bool:
        """Whether it is of no use to anybody any more."""
        return self._has_failed or self._connection.is_closed

    @property
    def is_fit(self) -> bool:
        """Whether it is of use to the next one: all frames were whole, all requests are answered.

        A late answer would hold up the next one who has the channel, and where the tier sees the
        connection closed it computes nothing more for whoever has given up.
        """
        return not (self.is_broken or self._is_within or self._owed)

    def is_quiet(self) -> bool:
        """Whether nothing has come while nobody was waiting: neither a frame nor the end."""
        try:
            return not (self._connection.is_closed or self._connection.wait(0))
        except (OSError, ValueError):  # closed by another thread
            return False

    def awaits(self, request_ids: Iterable[str]) -> bool:
        """Whether one of them is under way here."""
        return any(request_id in self._waiting for request_id in request_ids)

    def give_up(self) -> None:
        """Called by another thread: the tier is silent; ends a send() or receive() under way."""
        self._connection.give_up()

    def forget(self) -> None:
        """Drop what is still under way: whoever asked does not wait any more."""
        for request_id in list(self._waiting):
            self._done(request_id)
        self._ready.clear()

    def close(self) -> None:
        """Close the connection; answers still under way are dropped."""
        self._connection.close()

    def _receive_one(self) -> None:
        """One frame. Raises WireError for one that cannot be an answer: nothing more is read."""
        self._is_within = True
        message, body_bytes = self._connection.receive_header(self._most_bytes())
        if isinstance(message, wire.Reply):
            self._replied(message, body_bytes)
        elif isinstance(message, wire.Refusal):
            self._refused(message)
        elif not isinstance(message, wire.TransferProgress):
            raise WireError(f"a {type(message).__name__} is not expected here")
        self._is_within = False
        self._peer.heard(time.perf_counter())
        if not isinstance(message, wire.TransferProgress):
            self._owed.discard(message.id)
        elif (waiting := self._waiting.get(message.id)) is not None and waiting.told is not None:
            waiting.told(message)

    def _replied(self, message: wire.Reply, body_bytes: int) -> None:
        waiting = self._waiting.get(message.id)
        if waiting is None and message.id in self._owed:  # it was cancelled too late
            self._connection.skip(body_bytes)
            return
        if waiting is None:
            raise WireError("a reply to what was not asked")
        check_timings(waiting.route, message.timings)
        if waiting.answer is not None:
            waiting.answer.check(message.values)
        values = self._connection.receive_values(message, body_bytes)
        self._ready[message.id] = Outcome(values, tuple(message.timings))

    def _most_bytes(self) -> int:
        """Of a reply's body, whichever is the next to come."""
        most = 0
        if self._owed - self._waiting.keys():  # of one that was cancelled nothing is known
            return self._max_frame_bytes
        for waiting in list(self._waiting.values()):
            known = None if waiting.answer is None else waiting.answer.body_bytes
            most = max(most, self._max_frame_bytes if known is None else known)
        return most

    def _refused(self, refusal: wire.Refusal) -> None:
        # A refusal without an id answers a frame the tier could not read; it then closes.
        self._has_failed = self._has_failed or not refusal.id
        for request_id in [refusal.id] if refusal.id else list(self._waiting):
            if request_id in self._waiting:
                self._ready[request_id] = _error(request_id, refusal)

    def _done(self, request_id: str) -> None:
        self._waiting.pop(request_id, None)
        self._peer.forget(request_id)

    def _spoilt(self, request_id: str, error: Exception) -> RequestError:
        self.close()
        self._done(request_id)
        message = f"request {request_id}: the first tier sent what cannot be an answer: {error}"
        return RequestError(message, "malformed")

    def _lost(self, request_id: str, error: Exception) -> RequestError:
        self._has_failed = True
        self._done(request_id)
        message = f"request {request_id}: connection to the first tier lost: {error}"
        return RequestError(message, "silent" if self._connection.is_given_up else "unreachable")


def _error(request_id: str, refusal: wire.Refusal) -> RequestError:
    kind = DeadlineExceeded if refusal.reason == "timeout" else RequestError
    return kind(
        f"request {request_id} was refused by tier {refusal.tier!r} ({refusal.reason}): "
        f"{refusal.message}",
        refusal.reason,
    )
