"""Another tier as its sender sees it: whether it lives. The product's rules, without threads.

Any answer is a sign of life. After half of the failover timeout a sign is asked for, after the
whole the peer is silent: nobody waits for it, and nothing is sent until it answers a probe.
"""

import math
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial

from edgesplit.core.profile import Link
from edgesplit.node.transport.peer import ECHO_S, RETRY_S, STUBBORN_FACTOR
from experiments.head_to_head.station import Clock, Station, Work
from experiments.head_to_head.world import World

SILENT = "silent"
_SIGN_BYTES = 200.0
_SIGN = "sign of life"


@dataclass(frozen=True)
class _Wait:
    """sent_s, and for how long; ahead: how many others waited then. free: called when in vain."""

    sent_s: float
    timeout_s: float
    ahead: int
    free: Callable[[], None]

    @property
    def late_s(self) -> float:
        """When even a peer that lives has had time enough."""
        return self.sent_s + STUBBORN_FACTOR * self.timeout_s * (1 + self.ahead)


class Peer:
    """At the other end of one link."""

    def __init__(self, clock: Clock, world: World, link: Link, station: Station) -> None:
        self._clock, self._world, self._link, self._station = clock, world, link, station
        self._waits: dict[Hashable, _Wait] = {}
        self._heard_s = self._asked_s = self._suspected_s = -math.inf
        self._patience_s = 0.0
        self._due_s = math.inf
        self.is_down = False

    def __len__(self) -> int:
        return len(self._waits)

    def expect(self, key: Hashable, timeout_s: float, free: Callable[[], None]) -> None:
        """A request is being sent to it."""
        now_s = self._clock.now_s
        if not self._waits:
            self._suspected_s = -math.inf
        self._waits[key] = _Wait(now_s, timeout_s, len(self._waits), free)
        self._wake()

    def forget(self, key: Hashable) -> None:
        """Nobody waits for that any more."""
        self._waits.pop(key, None)

    def heard(self) -> None:
        """Something has come from it."""
        self._heard_s = self._clock.now_s

    def suspect(self, patience_s: float) -> None:
        """What it has is overdue: ask it, and take it for silent so much later."""
        now_s = self._clock.now_s
        is_soon = now_s < max(self._suspected_s, self._asked_s) + RETRY_S
        if self._suspected_s <= self._heard_s and not is_soon and patience_s < math.inf:
            self._suspected_s, self._patience_s = now_s, patience_s
            self._wake()

    def _since_s(self) -> float:
        first_s = min((wait.sent_s for wait in self._waits.values()), default=math.inf)
        return max(first_s, self._heard_s)

    def _suspicion_s(self) -> float:
        is_suspected = self._suspected_s > self._heard_s and self._waits
        return self._suspected_s if is_suspected else math.inf

    def _ask_s(self) -> float:
        since_s = self._since_s()
        if self._asked_s >= since_s or not self._waits:
            return math.inf
        return min(since_s + self._longest_s() / 2, self._suspicion_s())

    def _silent_s(self) -> float:
        if not self._waits:
            return math.inf
        return min(self._since_s() + self._longest_s(), self._suspicion_s() + self._patience_s)

    def _longest_s(self) -> float:
        return max(wait.timeout_s for wait in self._waits.values())

    def _wake(self) -> None:
        """See to it that there is a look when one is due."""
        late_s = min((wait.late_s for wait in self._waits.values()), default=math.inf)
        due_s = max(self._clock.now_s, min(self._ask_s(), self._silent_s(), late_s))
        if due_s < self._due_s:
            self._due_s = due_s
            self._clock.at(due_s, partial(self._look, due_s))

    def _look(self, due_s: float) -> None:
        if due_s != self._due_s:
            return
        self._due_s, now_s = math.inf, self._clock.now_s
        if now_s >= self._silent_s():
            self._put_down()
        elif now_s >= self._ask_s():
            self._asked_s = now_s
            self._ask()
        self._free([key for key, wait in self._waits.items() if now_s >= wait.late_s])
        self._wake()

    def _ask(self) -> None:
        """What comes back is a sign of life; it goes behind what is on the link."""

        def gone() -> None:
            self._clock.at(self._clock.now_s + self._link.latency_s, arrived)

        def arrived() -> None:
            if not self._world.is_lost(self._link.target, self._clock.now_s):
                self._clock.at(self._clock.now_s + self._link.latency_s, self.heard)

        self._station.take(Work(_SIGN, _SIGN_BYTES, gone, lambda seconds: None))

    def _put_down(self) -> None:
        self.is_down = True
        self._free(list(self._waits))
        self._clock.at(self._clock.now_s + RETRY_S, self._retry)

    def _free(self, keys: list[Hashable]) -> None:
        for key in keys:
            wait = self._waits.pop(key, None)
            if wait is not None:
                wait.free()

    def _retry(self) -> None:
        """A probe on a connection of its own, until one comes back."""
        now_s = self._clock.now_s
        back_s = self._station.flow.done_s(now_s, _SIGN_BYTES) + 2 * self._link.latency_s
        if self._world.is_lost(self._link.target, now_s) or back_s > now_s + ECHO_S:
            self._clock.at(now_s + RETRY_S, self._retry)
        else:
            self._clock.at(back_s, self._back)

    def _back(self) -> None:
        self.is_down = False
        self.heard()
