"""Another tier as its senders see it: who waits for it, and whether it lives.

Any frame from the peer is a sign of life: one that answers is slow, however long its queue is, and
not lost. One that is silent for longer than it is waited for is down, and is used again once it has
answered a probe. Times are this machine's perf_counter, given as arguments.
"""

import contextlib
import math
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from edgesplit.node.process.threads import begin
from edgesplit.node.transport.connection import Connection

# Times the failover timeout, per request queued on the peer: alive, and yet no answer.
STUBBORN_FACTOR = 8.0
_STALE_S = 2.0  # after its patience, of a suspicion while nobody waits
RETRY_S = 0.5  # between two tries whether it is back
ECHO_S = 1.0  # for the echo that shows that it is back
_FORGET_S = 60.0  # since somebody wanted it last
_RESOLUTION_S = 0.01  # of the watchdog
_IDLE_S = 30.0  # with nothing due for so long, its thread ends; the next by() begins another one


class PeerUser(Protocol):
    """What whoever sends to a peer does about it."""

    def ask(self) -> None:
        """Send it a probe: whatever comes back is a sign of life. Returns at once."""

    def is_back(self) -> bool:
        """Whether it answers a probe, on a connection of its own, within ECHO_S."""

    def free(self, request_ids: list[str]) -> None:
        """These requests wait no longer: the peer is silent, or they are late."""


@dataclass(frozen=True)
class Waiting:
    """A request sent to the peer. ahead: how many others waited then. failover_after_s 0: for ever.

    limit_s: when it is pointless in any case.
    """

    sent_s: float
    failover_after_s: float
    ahead: int
    limit_s: float

    @property
    def late_s(self) -> float:
        """When even a peer that lives has had time enough."""
        if not self.failover_after_s:
            return self.limit_s
        enough_s = STUBBORN_FACTOR * self.failover_after_s * (1 + self.ahead)
        return min(self.limit_s, self.sent_s + enough_s)


class Peer:
    """One of them. Several threads may call it; look() is the watchdog's."""

    def __init__(self, user: PeerUser) -> None:
        self._user = user
        self._waiting: dict[str, Waiting] = {}
        self._heard_s = self._asked_s = self._suspected_s = -math.inf
        self._patience_s = 0.0
        self._connections = weakref.WeakSet[Connection]()
        self._is_down, self._wanted_s = False, 0.0
        self._revival: threading.Thread | None = None  # of the tries whether it is back
        self._closed = threading.Event()
        self._lock = threading.Lock()

    # Connections and requests

    def add(self, connection: Connection) -> None:
        """It leads to the peer, and is given up when the peer is silent."""
        with self._lock:
            self._connections.add(connection)

    def expect(
        self, request_id: str, failover_after_s: float, now_s: float, limit_s: float = math.inf
    ) -> float:
        """A request is being sent; returns when to look again at the latest."""
        with self._lock:
            old_s = self._suspected_s + self._patience_s + _STALE_S
            if not self._waiting and (now_s > old_s or self._asked_s < self._suspected_s):
                self._suspected_s = -math.inf  # of a time when others waited, or never asked about
            self._waiting[request_id] = Waiting(
                now_s, failover_after_s, len(self._waiting), limit_s
            )
        look_s = min(limit_s, now_s + failover_after_s / 2 if failover_after_s else math.inf)
        if self._suspected_s <= self._heard_s:  # as it mostly is: not one more call per request
            return look_s
        return min(look_s, self.next_s())

    @property
    def n_waiting(self) -> int:
        """Requests that wait for it."""
        return len(self._waiting)

    def forget(self, request_id: str) -> None:
        """Nobody waits for it any more."""
        with self._lock:
            self._waiting.pop(request_id, None)

    def heard(self, now_s: float) -> None:
        """A frame has come from the peer."""
        self._heard_s = now_s

    # Silence

    def suspect(self, patience_s: float, now_s: float) -> float:
        """What it has got is overdue: ask it, and take it for silent patience_s later.

        Sooner than the failover timeout, so that nobody waits for that who could have the answer
        from elsewhere. Returns when to look again.
        """
        with self._lock:
            is_soon = now_s < max(self._suspected_s, self._asked_s) + RETRY_S
            if not (self._is_suspected or is_soon):
                self._suspected_s, self._patience_s = now_s, patience_s
        return self.next_s()

    def look(self, now_s: float) -> float:
        """Do what is due about the peer's silence; returns when to look again."""
        if now_s >= self.silent_s:
            self.put_down()
        elif now_s >= self.ask_s:
            self._asked_s = now_s
            self._user.ask()
        self._free(self.late(now_s))
        return self.next_s()

    def put_down(self) -> None:
        """It is silent: nobody waits for it again until it is back.

        Marked down first: whoever is freed by the rest must not be sent to it once more.
        """
        with self._lock:
            self._is_down = True
            self._want()
            connections = list(self._connections)
            self._connections.clear()
        self._free(list(self._waiting))
        for connection in connections:
            connection.give_up()

    def is_down(self) -> bool:
        """Whether it is of no use now; asking means that it is wanted."""
        if not self._is_down:
            return False
        with self._lock:
            self._want()
            return self._is_down

    def close(self) -> None:
        """No more tries whether it is back."""
        self._closed.set()

    def late(self, now_s: float) -> list[str]:
        """Requests that a living peer has not answered in all this time."""
        with self._lock:
            return [key for key, waiting in self._waiting.items() if now_s >= waiting.late_s]

    @property
    def ask_s(self) -> float:
        """When to ask for a sign of life; infinite once that was done."""
        since_s, failover_after_s = self._silence()
        if self._asked_s >= since_s:
            return math.inf
        return min(since_s + failover_after_s / 2, self._suspicion_s)

    @property
    def silent_s(self) -> float:
        """When the peer, should nothing come until then, has been silent for too long."""
        since_s, failover_after_s = self._silence()
        return min(since_s + failover_after_s, self._suspicion_s + self._patience_s)

    @property
    def _is_suspected(self) -> bool:
        """Whether nothing was heard of it since it was suspected."""
        return self._suspected_s > self._heard_s

    @property
    def _suspicion_s(self) -> float:
        """Since when it is suspected; infinite where it is not, or where nobody may fail over."""
        since_s, _ = self._silence()
        return self._suspected_s if self._is_suspected and since_s < math.inf else math.inf

    def next_s(self) -> float:
        """When something of all this is due next."""
        with self._lock:
            late_s = min((waiting.late_s for waiting in self._waiting.values()), default=math.inf)
        return min(self.ask_s, self.silent_s, late_s)

    def _silence(self) -> tuple[float, float]:
        """Since when nothing was heard of what was sent, and the longest failover timeout."""
        with self._lock:
            waits = [waiting for waiting in self._waiting.values() if waiting.failover_after_s]
        if not waits:
            return math.inf, math.inf
        first_s = min(waiting.sent_s for waiting in waits)
        return max(first_s, self._heard_s), max(waiting.failover_after_s for waiting in waits)

    def _free(self, request_ids: list[str]) -> None:
        if request_ids:
            self._user.free(request_ids)
        for request_id in request_ids:  # whoever was interrupted in the wrong moment has not
            self.forget(request_id)

    # Whether it is back

    def _want(self) -> None:
        """The address of a tier that was started again elsewhere is left alone after a while."""
        self._wanted_s = time.monotonic()
        is_trying = self._revival is not None and self._revival.is_alive()
        if self._is_down and not is_trying and not self._closed.is_set():
            with contextlib.suppress(OSError):  # no thread is left: whoever asks next tries again
                self._revival = begin(self._revive, "revive")

    def _revive(self) -> None:
        while not self._closed.wait(RETRY_S):
            is_back = self._user.is_back()
            with self._lock:
                if is_back or time.monotonic() - self._wanted_s > _FORGET_S:
                    self._is_down, self._revival = not is_back, None
                    return


class Watchdog:
    """A thread that looks after what is due, when it is due, and sleeps meanwhile.

    Of its own, since every other thread that could look may be held up by the very peer that is
    silent. look() does what is due and returns when to look again, inf: when by() says so.
    """

    def __init__(self, look: Callable[[], float], name: str) -> None:
        self._look, self._name = look, name
        self._due_s = math.inf
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._running = True

    def by(self, due_s: float) -> None:
        """Look at that time at the latest; begins the thread where there is none."""
        if due_s >= self._due_s:
            return
        with self._changed:
            if self._running and not (self._thread and self._thread.is_alive()):
                try:
                    self._thread = begin(self._run, self._name)
                except OSError:
                    return  # the next call tries again; limits hold without it, only less promptly
            self._due_s = min(self._due_s, due_s)
            self._changed.notify()

    def stop(self, timeout_s: float) -> None:
        """End the thread; safe to call twice."""
        with self._changed:
            self._running = False
            self._changed.notify()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while self._wait():
            next_s = self._look()
            with self._changed:
                self._due_s = min(self._due_s, max(next_s, time.perf_counter() + _RESOLUTION_S))

    def _wait(self) -> bool:
        """Until something is due; False at the end. What is due is then taken."""
        with self._changed:
            while self._running and (rest_s := self._due_s - time.perf_counter()) > 0:
                was_told = self._changed.wait(min(rest_s, _IDLE_S))
                if not was_told and self._due_s == math.inf:
                    self._thread = None
                    return False
            self._due_s = math.inf
            return self._running
