"""One request from input to result: sent, sent again, or computed by the caller. Never lost.

A request ends in exactly one answer or one error. What it is sent for is held until then, so that a
tier that is lost, refuses for reasons of its own or is busy costs time and nothing else.
"""

import random
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import msgspec

from edgesplit.caller.active_workload import ActiveWorkload, Route
from edgesplit.caller.caller_hedge import CallerHedge
from edgesplit.core.hedge import HedgeBudget
from edgesplit.errors import DeadlineExceeded, RequestError
from edgesplit.node.program.program import Program
from edgesplit.node.transport import wire
from edgesplit.node.transport.channel import Channel, Outcome
from edgesplit.node.transport.client import Client

_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.005, 0.5  # before a busy tier is asked again


@dataclass(eq=False)
class PendingRequest:
    """A request under way, with all it takes to send it again.

    values: its payload at cut 0. sent_s, deadline_s: perf_counter's, of the whole call.
    updates_beliefs: whether the plan in force learns from it. tried_s: when it was sent last;
    ahead: requests that waited for the tier then; expected: (when, seconds until the answer), as a
    tier said since. channel: where it was sent; None: error says why it was not.
    """

    id: str
    request: wire.Request
    buffers: list[wire.Buffer]
    values: list[Any]
    workload: ActiveWorkload
    route: Route
    sent_s: float
    deadline_s: float
    updates_beliefs: bool
    tried_s: float = 0.0
    ahead: int = 0
    expected: tuple[float, float] | None = None
    channel: Channel | None = None
    error: RequestError | None = None
    has_reconnected: bool = False
    attempts: int = 1
    pauses: int = 0

    @property
    def left_s(self) -> float:
        """Until the time limit."""
        return self.deadline_s - time.perf_counter()

    @property
    def wire_id(self) -> str:
        """Its name as it was sent last."""
        return self.request.id


@dataclass(frozen=True)
class RequestContext:
    """What requests of one session share beside connections.

    run_here(program, values, timeout_s): the payload at the last cut, computed by the caller;
    begin_here(program, values): the same, not waited for. told(pending, progress): hears how a
    request is doing. budget: of requests that the caller runs beside the tiers.
    """

    run_here: Callable[[Program, list[Any], float], list[Any]]
    begin_here: Callable[[Program, list[Any]], "Future[list[Any]]"]
    told: Callable[["PendingRequest", wire.TransferProgress], None]
    budget: HedgeBudget


class RequestSender:
    """The requests of one call, over one channel at a time; one that breaks is replaced.

    client_of(address): where the first tier listens may change from one request to the next.
    """

    def __init__(self, client_of: Callable[[str], Client], shared: RequestContext) -> None:
        self._client_of, self._shared = client_of, shared
        self._channel: Channel | None = None
        self._address = ""  # that the channel leads to
        self._lent = ExitStack()

    def __enter__(self) -> "RequestSender":
        return self

    def __exit__(self, *exc: object) -> None:
        self._lent.close()

    def send(self, pending: PendingRequest) -> None:
        """Send it; receive() tells what went wrong. Raises ClosedError."""
        pending.channel = pending.error = None
        try:
            channel = self._usable(pending.route.hops[0].address)
            failover_after_s, answer = pending.route.failover_after_s, pending.workload.answer
            told = partial(self._told, pending)
            pending.tried_s, pending.expected = time.perf_counter(), None
            pending.ahead = channel.n_waiting
            channel.send(pending.request, pending.buffers, failover_after_s, answer, told)
            self._shared.budget.count()
            pending.channel = channel
        except RequestError as error:
            pending.error = error

    def receive(self, pending: PendingRequest) -> Outcome:
        """The outcome, however long that takes within the limit.

        Raises RequestError for the model's own error, DeadlineExceeded, ClosedError.
        """
        while True:
            try:
                return self._received(pending)
            except DeadlineExceeded:
                raise
            except RequestError as error:
                fails_over = pending.route.failover_after_s > 0
                if error.reason == "busy":
                    self._pause(pending, error)
                elif not (fails_over and error.reason in wire.RECOVERABLE_REASONS):
                    raise
                elif error.reason == "unreachable" and not pending.has_reconnected:
                    pending.has_reconnected = True
                else:
                    return self._finished_here(pending, error)
            self._send_again(pending)

    def _received(self, pending: PendingRequest) -> Outcome:
        if pending.channel is None:
            raise pending.error or RequestError("it was not sent")
        rule = pending.route.hedge
        if rule is None:
            return pending.channel.receive(pending.request.id, max(0.0, pending.left_s))
        program = pending.workload.shipped.exported.program
        begin = partial(self._shared.begin_here, program, pending.values)
        hedge = CallerHedge(rule, self._shared.budget, begin, pending.route.plan.route[0])
        return hedge.receive(pending.channel, pending)

    def _told(self, pending: PendingRequest, progress: wire.TransferProgress) -> None:
        pending.expected = time.perf_counter(), progress.expected_s
        self._shared.told(pending, progress)

    def _send_again(self, pending: PendingRequest) -> None:
        """Under another name: the first may still be under way somewhere."""
        self._client_of(pending.route.hops[0].address).require_open()
        left_s = pending.left_s
        if left_s <= 0:
            raise DeadlineExceeded(f"request {pending.id}: no time is left", "timeout")
        pending.attempts += 1
        again = f"{pending.id}.{pending.attempts}"
        pending.request = msgspec.structs.replace(pending.request, id=again, timeout_s=left_s)
        self.send(pending)

    def _pause(self, pending: PendingRequest, error: RequestError) -> None:
        """Wait before a busy tier is asked again, longer each time, and not all callers at once."""
        pause_s = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2**pending.pauses)
        pause_s *= random.Random(pending.request.id).uniform(0.5, 1.5)
        pending.pauses += 1
        if pause_s >= pending.left_s:
            raise DeadlineExceeded(f"busy until the time limit: {error}", "timeout") from error
        time.sleep(pause_s)

    def _finished_here(self, pending: PendingRequest, error: RequestError) -> Outcome:
        self._client_of(pending.route.hops[0].address).require_open()
        if pending.left_s <= 0:
            raise DeadlineExceeded(f"no time is left to finish here: {error}", "timeout") from error
        program = pending.workload.shipped.exported.program
        values = self._shared.run_here(program, pending.values, pending.left_s)
        return Outcome(values, (), f"{pending.route.plan.route[0]} {error.reason}")

    def _usable(self, address: str) -> Channel:
        """The channel, or another one where it has broken. Raises RequestError, ClosedError."""
        if self._channel is None or self._channel.is_broken or self._address != address:
            self._channel = None
            self._channel = self._lent.enter_context(self._client_of(address).channel())
            self._address = address
        return self._channel
