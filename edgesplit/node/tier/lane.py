"""One direction of an emulated link: frames leave it one after the other, at its rate of now."""

import collections
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgesplit.node.tier.emulate import LinkShape
from edgesplit.node.transport.connection import Connection

OPEN = LinkShape(float("inf"))


@dataclass(frozen=True, eq=False)
class Held:
    """A frame that waits for its turn. link: where it goes; what is closed takes no time."""

    n_bytes: int
    link: Connection
    send: Callable[[], object]


class EmulatedLink:
    """Times are given as arguments and never run back."""

    def __init__(self) -> None:
        self._shape = OPEN
        self._held = collections.deque[Held]()
        self._left_bytes = 0.0  # of the first, still to be sent at _since_s
        self._since_s = 0.0

    def __len__(self) -> int:
        return len(self._held)

    def add(self, held: Held, now_s: float) -> None:
        """One more frame, behind the others."""
        self._held.append(held)
        if len(self._held) == 1:
            self._begin(now_s)

    def left_bytes(self, held: Held, now_s: float) -> float:
        """Of that frame and of those before it; 0 once it has left."""
        if held not in self._held:
            return 0.0
        gone = (now_s - self._since_s) * self._shape.bytes_per_s
        left = max(0.0, self._left_bytes - gone)
        for frame in list(self._held)[1:]:
            if self._held[0] is held:
                break
            left += frame.n_bytes
            if frame is held:
                break
        return left

    def withdraw(self, held: Held, now_s: float) -> bool:
        """Whether that frame was still in it: it leaves at once then, and never arrives."""
        if held not in self._held:
            return False
        is_first = self._held[0] is held
        self._held.remove(held)
        if is_first:
            self._begin(now_s)
        return True

    def reshape(self, shape: LinkShape, now_s: float) -> None:
        """Another rate and latency from now on, for what waits already too."""
        if self._held:
            self._left_bytes -= (now_s - self._since_s) * self._shape.bytes_per_s
            self._left_bytes, self._since_s = max(0.0, self._left_bytes), now_s
        self._shape = shape

    def leaving(self, now_s: float) -> Iterator[tuple[float, Held]]:
        """Frames that have left it by now, and when each arrives at the other end."""
        while self._held:
            is_closed = self._held[0].link.is_closed
            end_s = now_s if is_closed else self.next_s()
            if end_s > now_s:
                return
            held = self._held.popleft()
            self._begin(end_s)
            if not is_closed:
                yield end_s + self._shape.latency_s, held

    def next_s(self) -> float:
        """When the first frame will have left; infinite where none waits."""
        if not self._held:
            return float("inf")
        return self._since_s + self._left_bytes / self._shape.bytes_per_s

    def _begin(self, at_s: float) -> None:
        self._left_bytes = float(self._held[0].n_bytes) if self._held else 0.0
        self._since_s = at_s
