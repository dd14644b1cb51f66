"""One connection of the caller, used by one thread at a time: requests out, answers matched."""

import time
from collections.abc import Iterable, Sequence
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
    there are no timings.
    """

    values: list[Any]
    timings: tuple[TierTiming, ...]
    why: str = ""


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
        self._waiting: dict[str, tuple[Sequence[wire.Hop], AnswerForm | None]] = {}
        self._owed: set[str] = set()  # sent, and no answer has come; also of those who gave up
        self._is_within = False  # a frame; it stays so where anything at all interrupts the thread
        self._has_failed = False

    def send(
        self,
        request: wire.Request,
        buffers: Sequence[wire.Buffer],
        failover_after_s: float = 0.0,
        answer: AnswerForm | None = None,
    ) -> None:
        """Send a request; its answer comes from receive(). Raises RequestError.

        failover_after_s: how long the tier may be silent; 0: until the time limit. answer: what its
        values have to look like; None: nobody knows.
        """
        self._waiting[request.id] = request.route, answer
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
        deadline_s = time.perf_counter() + timeout_s + _GRACE_S
        while request_id not in self._ready:
            left_s = deadline_s - time.perf_counter()
            if left_s <= 0:
                self._done(request_id)
                raise DeadlineExceeded(
                    f"request {request_id}: no answer within {timeout_s:g} s; "
                    "raise timeout_s, or look at `edgesplit doctor`",
                    "timeout",
                )
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
        self._done(request_id)
        outcome = self._ready.pop(request_id)
        if isinstance(outcome, RequestError):
            raise outcome
        return outcome

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
            if message.id not in self._waiting:
                raise WireError("a reply to what was not asked")
            hops, answer = self._waiting[message.id]
            check_timings(hops, message.timings)
            if answer is not None:
                answer.check(message.values)
            values = self._connection.receive_values(message, body_bytes)
            self._ready[message.id] = Outcome(values, tuple(message.timings))
        elif isinstance(message, wire.Refusal):
            self._refused(message)
        else:
            raise WireError(f"a {type(message).__name__} is not expected here")
        self._owed.discard(message.id)
        self._is_within = False
        self._peer.heard(time.perf_counter())

    def _most_bytes(self) -> int:
        """Of a reply's body, whichever is the next to come."""
        most = 0
        for _, answer in list(self._waiting.values()):
            known = None if answer is None else answer.body_bytes
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
