"""One connection of the caller, used by one thread at a time: requests out, answers matched."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from edgesplit.core.sample import Sample
from edgesplit.errors import DeadlineExceeded, RequestError
from edgesplit.node import wire
from edgesplit.node.alarm import Alarm
from edgesplit.node.connection import Connection
from edgesplit.node.pulse import Pulse

_LOOK_S = 1.0  # between two looks whether another thread has closed the connection
_GRACE_S = 1.0  # the tiers give up first, so that their refusal says where it stuck


@dataclass(frozen=True)
class Answer:
    """What came back for one request: the outputs and a sample per tier in route order."""

    values: list[Any]
    samples: tuple[Sample, ...]


class Channel:
    """To the first tier of every route. pulse: the tier's, shared by all channels to it.

    is_broken: of no use to anybody any more.
    """

    def __init__(self, connection: Connection, pulse: Pulse, alarm: Alarm) -> None:
        self._connection = connection
        self._pulse, self._alarm = pulse, alarm
        self._ready: dict[str, Answer | RequestError] = {}
        self._waiting: set[str] = set()
        self._reason = "unreachable"
        self.is_broken = self.is_closed = False

    def send(
        self, request: wire.Request, buffers: Sequence[wire.Buffer], patience_s: float = 0.0
    ) -> None:
        """Send a request; its answer comes from receive(). Raises RequestError.

        patience_s: how long the tier may be silent; 0: until the time limit.
        """
        self._waiting.add(request.id)
        now_s = time.perf_counter()
        limit_s = now_s + request.timeout_s + _GRACE_S + _LOOK_S  # receive() ends before that
        self._alarm.by(self._pulse.expect(request.id, patience_s, now_s, limit_s))
        try:
            self._connection.send(request, buffers)
        except OSError as error:
            raise self._lost(request.id, error) from error

    def receive(self, request_id: str, timeout_s: float) -> Answer:
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
            if self.is_closed:
                raise self._lost(request_id, EOFError("closed"))
            if not self._connection.wait(min(left_s, _LOOK_S)):
                continue
            try:
                message, values = self._connection.receive()
            except (EOFError, OSError, ValueError) as error:  # ValueError: closed under poll()
                raise self._lost(request_id, error) from error
            self._pulse.heard(time.perf_counter())
            self._take(message, values)
        self._done(request_id)
        outcome = self._ready.pop(request_id)
        if isinstance(outcome, RequestError):
            raise outcome
        return outcome

    def awaits(self, request_ids: Iterable[str]) -> bool:
        """Whether one of them is under way here."""
        return not self._waiting.isdisjoint(request_ids)

    def give_up(self) -> None:
        """Called by another thread: the tier is silent; ends a send() or receive() under way."""
        self._reason = "silent"
        self.is_broken = self.is_closed = True
        self._connection.close()

    def forget(self) -> None:
        """Drop what is still under way: whoever asked does not wait any more."""
        for request_id in list(self._waiting):
            self._done(request_id)
        self._ready.clear()

    def close(self) -> None:
        """Close the connection; answers still under way are dropped."""
        self.is_broken = self.is_closed = True
        self._connection.close()

    def _take(self, message: wire.Message, values: list[Any]) -> None:
        if isinstance(message, wire.Refusal):
            # A refusal without an id answers a frame the tier could not read; it then closes.
            self.is_broken = self.is_broken or not message.id
            for request_id in [message.id] if message.id else list(self._waiting):
                self._ready[request_id] = _error(request_id, message)
        elif isinstance(message, wire.Reply) and message.id in self._waiting:
            self._ready[message.id] = Answer(values, tuple(message.samples))

    def _done(self, request_id: str) -> None:
        self._waiting.discard(request_id)
        self._pulse.forget(request_id)

    def _lost(self, request_id: str, error: Exception) -> RequestError:
        self.is_broken = True
        self._done(request_id)
        message = f"request {request_id}: connection to the first tier lost: {error}"
        return RequestError(message, self._reason)


def _error(request_id: str, refusal: wire.Refusal) -> RequestError:
    kind = DeadlineExceeded if refusal.reason == "timeout" else RequestError
    return kind(
        f"request {request_id} was refused by tier {refusal.tier!r} ({refusal.reason}): "
        f"{refusal.message}",
        refusal.reason,
    )
