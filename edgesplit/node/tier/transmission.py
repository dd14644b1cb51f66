"""A frame on its way out of a tier: how much of it is still here, and giving it up."""

import threading
import time
from dataclasses import dataclass
from typing import Protocol

from edgesplit.node.tier.lane import EmulatedLink, Held
from edgesplit.node.transport.connection import Connection
from edgesplit.node.transport.outgoing import Frame


class Transmission(Protocol):
    """Of one frame; any thread may ask."""

    def left_bytes(self) -> int:
        """Of it and of what was before it on its link, what the next tier does not have yet."""

    def withdraw(self) -> bool:
        """Whether it had not begun to leave: it never arrives then."""


@dataclass(frozen=True)
class OnConnection:
    """It was given to a connection."""

    link: Connection
    posted: Frame

    def left_bytes(self) -> int:
        """See Transmission."""
        return self.link.left_bytes(self.posted)

    def withdraw(self) -> bool:
        """See Transmission."""
        return self.link.withdraw(self.posted)


@dataclass(frozen=True)
class InLane:
    """It is held back by an emulated link, and given to the connection whole.

    changed: of the lane; its thread is told of what changes.
    """

    lane: EmulatedLink
    held: Held
    changed: threading.Condition

    def left_bytes(self) -> int:
        """See Transmission."""
        with self.changed:
            return int(self.lane.left_bytes(self.held, time.perf_counter()))

    def withdraw(self) -> bool:
        """See Transmission. Also where it is half over: nothing of it has been sent."""
        with self.changed:
            self.changed.notify()
            return self.lane.withdraw(self.held, time.perf_counter())
