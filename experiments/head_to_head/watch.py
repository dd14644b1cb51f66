"""Looks at a payload on its way, and at its answer, as node/tier/sent_request.py makes them.

They tell the control loop how it moves, and begin a hedge where its rule says so.
"""

import math
from typing import TYPE_CHECKING

from edgesplit.core.control.event import Transferring
from edgesplit.core.hedge import HedgeRule, PayloadProgress, still_expected_s
from edgesplit.node.tier.sent_request import LOOK_S, TELL_S
from experiments.head_to_head.journey import Journey
from experiments.shared.trace_file import PACKET_BYTES

if TYPE_CHECKING:
    from experiments.head_to_head.waiting import Waiting

_WAKING_S = 1e-4  # that a look comes later than it is due


class Watch:
    """Of leg k of a request, which waits for the next tier. ahead: requests that waited before."""

    def __init__(
        self, waiting: "Waiting", journey: Journey, k: int, rule: HedgeRule | None, ahead: int
    ) -> None:
        self._waiting, self._journey, self._k = waiting, journey, k
        self._rule, self._ahead = rule, ahead
        self._leg = journey.legs[k]
        assert self._leg.payload is not None, "it has just been sent"
        self._payload = self._leg.payload
        n_bytes = max(1, int(self._payload.amount))
        self._clock = waiting.simulation.clock
        self._sent_s = self._told_s = self._clock.now_s
        self._progress = PayloadProgress(n_bytes, self._sent_s)
        self._arrived_s = math.inf
        pair = waiting.pair(journey, k)
        self._pair, self._confirm_s = pair, 2 * waiting.simulation.delay_s[pair]

    def begin(self) -> None:
        """Look from now on, while there is no answer."""
        self._clock.at(self._clock.now_s + LOOK_S + _WAKING_S, self._look)

    @property
    def is_on(self) -> bool:
        """Whether the request still waits."""
        return self._leg.is_waiting and self._k <= self._journey.depth

    @property
    def is_moving(self) -> bool:
        """Whether some of it has left of late, and some has not."""
        return self._progress.is_moving

    def _look(self) -> None:
        if not self.is_on:
            return
        now_s = self._clock.now_s
        self._see(now_s)
        sending_s, waiting_s = self._expected_s(now_s)
        if self._is_late(now_s, sending_s, waiting_s):
            self._waiting.is_late(self._journey, self._k, self._rule)
        self._tell(now_s, sending_s + waiting_s)
        self.begin()

    def _is_late(self, now_s: float, sending_s: float, waiting_s: float) -> bool:
        """Whether running the rest on this tier is worth it now. Only once."""
        if self._rule is None or self._leg.hedge is not None:
            return False
        return self._rule.is_due(now_s - self._sent_s, sending_s, waiting_s)

    def _see(self, now_s: float) -> None:
        """How much of it has left, as was confirmed a round trip ago."""
        if not self._progress.left_bytes:
            return
        left = self._left_bytes(now_s)
        self._progress.look(now_s, left)
        if not self._progress.left_bytes:
            self._arrived_s = now_s

    def _left_bytes(self, now_s: float) -> int:
        simulation, payload = self._waiting.simulation, self._payload
        then_s, station = now_s - self._confirm_s, simulation.stations[self._pair]
        if simulation.world.is_lost(self._pair[1], now_s):
            return self._progress.left_bytes  # nobody confirms anything
        if payload.is_over:  # it has left, and perhaps not been confirmed
            left = station.flow.through(self._leg.gone_s) - station.flow.through(then_s)
        else:
            left = station.left(payload, then_s)
        left = max(0.0, left)
        return math.ceil(left / PACKET_BYTES) * PACKET_BYTES if left < payload.amount else int(left)

    def _expected_s(self, now_s: float) -> tuple[float, float]:
        """While the payload itself leaves, and before and after that until the answer."""
        leaving_s, waiting_s = self._progress.expected_s(), 0.0
        if self._rule is not None:
            waited_s = max(0.0, now_s - self._arrived_s)
            waiting_s = self._rule.waiting_s(waited_s, self._ahead)
        sending_s = leaving_s * self._progress.own_share
        waiting_s += leaving_s - sending_s
        further_on_s = still_expected_s(self._leg.heard, now_s)
        if further_on_s is not None:
            sending_s, waiting_s = 0.0, further_on_s
        if self._leg.hedge is not None and self._rule is not None:
            own_s = max(0.0, self._rule.rest_s - (now_s - self._leg.hedged_s))
            return 0.0, min(sending_s + waiting_s, own_s)
        return sending_s, waiting_s

    def _tell(self, now_s: float, expected_s: float) -> None:
        """A word to the control loop, and to the tier before, while there is anything new."""
        is_news = self._leg.hedge is not None or self._progress.left_bytes > 0
        if now_s - self._told_s < TELL_S or not is_news:
            return
        self._told_s = now_s
        if self._k:
            self._journey.legs[self._k - 1].heard = (now_s, expected_s)
        moving_s = self._progress.moving_s
        if moving_s > 0:
            event = Transferring(now_s, *self._pair, self._progress.sent_bytes, moving_s)
            self._waiting.simulation.driver.moving(event)
