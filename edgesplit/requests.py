"""One request from input to result: sent, sent again, or finished by the caller. Never lost.

A request ends in exactly one answer or one error. What it is sent for is held until then, so that a
tier that is lost, refuses for reasons of its own or is busy costs time and nothing else.
"""

import random
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import msgspec

from edgesplit.active_workload import ActiveWorkload, Route
from edgesplit.core.sample import Sample
from edgesplit.errors import DeadlineExceeded, RequestError
from edgesplit.last_resort import LastResort
from edgesplit.node import wire
from edgesplit.node.channel import Channel
from edgesplit.node.client import Client

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.5  # before a busy tier is asked again


@dataclass(frozen=True)
class Outcome:
    """What became of a request. why: empty unless the caller finished it; then no samples."""

    values: list[Any]
    samples: tuple[Sample, ...]
    why: str = ""


@dataclass(eq=False)
class Asked:
    """A request under way, with all it takes to send it again.

    values: its payload at cut 0. sent_s, deadline_s: perf_counter's, of the whole call.
    is_telling: whether the plan in force learns from it. channel: where it was sent; None: error
    says why it was not.
    """

    id: str
    request: wire.Request
    buffers: list[wire.Buffer]
    values: list[Any]
    workload: ActiveWorkload
    route: Route
    sent_s: float
    deadline_s: float
    is_telling: bool
    channel: Channel | None = None
    error: RequestError | None = None
    has_reconnected: bool = False
    attempts: int = 1
    pauses: int = 0

    @property
    def left_s(self) -> float:
        """Until the time limit."""
        return self.deadline_s - time.perf_counter()


class Talk:
    """The requests of one call, over one channel at a time; one that breaks is replaced.

    client_of(address): where the first tier listens may change from one request to the next.
    """

    def __init__(
        self, client_of: Callable[[str], Client], last_resort: LastResort, threads: int
    ) -> None:
        self._client_of, self._last_resort, self._threads = client_of, last_resort, threads
        self._channel: Channel | None = None
        self._address = ""  # that the channel leads to
        self._lent = ExitStack()

    def __enter__(self) -> "Talk":
        return self

    def __exit__(self, *exc: object) -> None:
        self._lent.close()

    def send(self, asked: Asked) -> None:
        """Send it; receive() tells what went wrong. Raises ClosedError."""
        asked.channel = asked.error = None
        try:
            channel = self._usable(asked.route.hops[0].address)
            channel.send(asked.request, asked.buffers, asked.route.patience_s)
            asked.channel = channel
        except RequestError as error:
            asked.error = error

    def receive(self, asked: Asked) -> Outcome:
        """The outcome, however long that takes within the limit.

        Raises RequestError for the model's own error, DeadlineExceeded, ClosedError.
        """
        while True:
            try:
                return self._received(asked)
            except DeadlineExceeded:
                raise
            except RequestError as error:
                if error.reason == "busy":
                    self._pause(asked, error)
                elif not asked.route.patience_s or error.reason not in wire.OTHERS_CAN:
                    raise
                elif error.reason == "unreachable" and not asked.has_reconnected:
                    asked.has_reconnected = True
                else:
                    return self._finished_here(asked, error)
            self._send_again(asked)

    def _received(self, asked: Asked) -> Outcome:
        if asked.channel is None:
            raise asked.error or RequestError("it was not sent")
        answer = asked.channel.receive(asked.request.id, max(0.0, asked.left_s))
        return Outcome(answer.values, answer.samples)

    def _send_again(self, asked: Asked) -> None:
        """Under another name: the first may still be under way somewhere."""
        self._client_of(asked.route.hops[0].address).require_open()
        left_s = asked.left_s
        if left_s <= 0:
            raise DeadlineExceeded(f"request {asked.id}: no time is left", "timeout")
        asked.attempts += 1
        again = f"{asked.id}.{asked.attempts}"
        asked.request = msgspec.structs.replace(asked.request, id=again, timeout_s=left_s)
        self.send(asked)

    def _pause(self, asked: Asked, error: RequestError) -> None:
        """Wait before a busy tier is asked again, longer each time, and not all callers at once."""
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**asked.pauses)
        pause_s *= random.Random(asked.request.id).uniform(0.5, 1.5)
        asked.pauses += 1
        if pause_s >= asked.left_s:
            raise DeadlineExceeded(f"busy until the time limit: {error}", "timeout") from error
        time.sleep(pause_s)

    def _finished_here(self, asked: Asked, error: RequestError) -> Outcome:
        self._client_of(asked.route.hops[0].address).require_open()
        if asked.left_s <= 0:
            raise DeadlineExceeded(f"no time is left to finish here: {error}", "timeout") from error
        program = asked.workload.loaded.exported.program
        values = self._last_resort.run(program, asked.values, self._threads, asked.left_s)
        return Outcome(values, (), f"{asked.route.plan.route[0]} {error.reason}")

    def _usable(self, address: str) -> Channel:
        """The channel, or another one where it has broken. Raises RequestError, ClosedError."""
        if self._channel is None or self._channel.is_broken or self._address != address:
            self._channel = None
            self._channel = self._lent.enter_context(self._client_of(address).channel())
            self._address = address
        return self._channel
