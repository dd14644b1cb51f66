"""The caller's own hedge: it runs the model from the input it holds, beside tiers that are late."""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

from edgesplit.core.hedge import HedgeBudget, HedgeRule, still_expected_s
from edgesplit.errors import DeadlineExceeded, RequestError
from edgesplit.node.transport import wire
from edgesplit.node.transport.channel import Channel, Outcome

# After it was sent. The first tier is on this host, mostly, and what holds it up for less may hold
# up this process as well.
_LEAST_S = 1.0
_LOOK_S = 0.05  # between two looks whether it is due
_RACE_S = 0.005  # between two looks which of both has come first

Begin = Callable[[], "Future[list[Any]]"]


class Raced(Protocol):
    """What is known here of a request: its name, when it was sent, what the tiers say of it."""

    @property
    def wire_id(self) -> str:
        """As it was sent last."""

    @property
    def tried_s(self) -> float:
        """perf_counter's, when that was."""

    @property
    def ahead(self) -> int:
        """Requests that waited for the tier already."""

    @property
    def left_s(self) -> float:
        """Until the time limit."""

    @property
    def expected(self) -> tuple[float, float] | None:
        """(perf_counter's, seconds until the answer from then on), as a tier said last."""


@dataclass(frozen=True)
class CallerHedge:
    """Of one request on its channel. begin(): starts the run. late: what to say of its tier."""

    rule: HedgeRule
    budget: HedgeBudget
    begin: Begin
    late: str

    def receive(self, channel: Channel, raced: Raced) -> Outcome:
        """The first complete answer. Raises as Channel.receive()."""
        first_s = raced.tried_s + max(_LEAST_S, self.rule.overdue_s(raced.ahead))
        next_s = min(first_s, time.perf_counter() + max(0.0, raced.left_s))
        while not channel.wait(raced.wire_id, next_s):
            now_s = time.perf_counter()
            if raced.left_s <= 0:
                break
            if self._is_due(raced, now_s):
                channel.suspect(self.rule.patience_s)
                if self.budget.take():
                    return self._race(channel, raced, self.begin())
            next_s = now_s + min(_LOOK_S, raced.left_s)
        return channel.receive(raced.wire_id, max(0.0, raced.left_s))

    def _is_due(self, raced: Raced, now_s: float) -> bool:
        elapsed_s = now_s - raced.tried_s
        waiting_s = still_expected_s(raced.expected, now_s)
        if waiting_s is None:
            waiting_s = self.rule.waiting_s(elapsed_s, raced.ahead)
        return self.rule.is_due(elapsed_s, 0.0, waiting_s)

    def _race(self, channel: Channel, raced: Raced, run: "Future[list[Any]]") -> Outcome:
        while raced.left_s > 0:
            try:
                has_answer = channel.wait(raced.wire_id, time.perf_counter() + _RACE_S)
            except RequestError as error:
                return self._alone(raced, run, error)
            if has_answer:
                return self._answered(channel, raced, run)
            if run.done():
                if run.exception() is not None:  # the tiers will say what is wrong with the model
                    break
                channel.cancel(raced.wire_id)
                return Outcome(run.result(), (), f"{self.late} {wire.LATE}", "won")
        run.cancel()
        return channel.receive(raced.wire_id, max(0.0, raced.left_s))

    def _answered(self, channel: Channel, raced: Raced, run: "Future[list[Any]]") -> Outcome:
        try:
            outcome = channel.receive(raced.wire_id, 0.0)
        except RequestError as error:
            return self._alone(raced, run, error)
        run.cancel()  # what runs already runs to its end, and is of no use
        return Outcome(outcome.values, outcome.timings, outcome.why, "lost")

    def _alone(self, raced: Raced, run: "Future[list[Any]]", error: RequestError) -> Outcome:
        """There is no other answer any more, where it is not the model that has failed."""
        if isinstance(error, DeadlineExceeded) or error.reason not in wire.RECOVERABLE_REASONS:
            run.cancel()
            raise error
        try:
            values = run.result(max(0.0, raced.left_s))
        except TimeoutError:
            raise DeadlineExceeded("no time is left to finish here", "timeout") from error
        except Exception:  # a model raises anything; as where there is no hedge
            raise error from None
        return Outcome(values, (), f"{self.late} {error.reason}", "won")
