"""The last events of a workload's control loop and what was done about them, in little memory.

They can be replayed exactly: a state is kept from which they start. When the oldest events go, they
go together, and the state before the next ones is kept already. Such a stretch is compressed once
it is whole.
"""

import zlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from importlib.metadata import version
from operator import attrgetter
from typing import Any

import msgspec

from edgesplit.core.control.event import ACTIONS, EVENTS, Action, Event, Observed
from edgesplit.core.control.event_file import EventLog
from edgesplit.core.control.state import ControlState
from edgesplit.core.tier_timing import TierTiming

MOST_EVENTS, MOST_BYTES = 40_000, 4_000_000
_TOGETHER = 1000  # events that go at once
_OVERHEAD_BYTES = 48  # of Python's, per event that is not compressed yet
_LEVEL = 1  # of zlib: 1000 events of three tiers, 290 KB, become 100 KB in 4 ms, at 6 88 KB in 14
_KINDS: dict[str, type] = {kind.__name__: kind for kind in (*EVENTS, *ACTIONS)}
# A request's samples are most of what is kept: by position, not by name.
_sample = attrgetter(*(item.name for item in fields(TierTiming)))


@dataclass
class _Stretch:
    """Events in a row, and the state before the first one. whole: all of them, compressed."""

    state: ControlState
    events: list[bytes] = field(default_factory=list)
    whole: bytes = b""
    count: int = 0

    @property
    def size_bytes(self) -> int:
        """What it takes."""
        return len(self.whole) + sum(map(len, self.events)) + _OVERHEAD_BYTES * len(self.events)

    def close(self) -> None:
        """Compress it; no more events follow."""
        self.whole, self.events = self.packed(), []

    def packed(self) -> bytes:
        """All of its events."""
        return self.whole or zlib.compress(msgspec.msgpack.encode(self.events), _LEVEL)


class Recording:
    """Of one workload; empty at first."""

    def __init__(self) -> None:
        self._stretches: deque[_Stretch] = deque()
        self._count = self._bytes = 0  # of all stretches

    @property
    def count(self) -> int:
        """How many events are kept."""
        return self._count

    def add(self, before: ControlState, event: Event, actions: Sequence[Action]) -> None:
        """Keep what happened in that state and what was done about it; drop the oldest for it.

        What cannot be kept, such as a number of a foreign kind, ends what was kept so far.
        """
        try:
            packed = _packed(event, actions)
        except (TypeError, ValueError, OverflowError):
            self._stretches.clear()
            self._count = self._bytes = 0
            return
        if not self._stretches or self._stretches[-1].count >= _TOGETHER:
            self._begin(before)
        last = self._stretches[-1]
        last.events.append(packed)
        last.count += 1
        self._count += 1
        self._bytes += len(packed) + _OVERHEAD_BYTES
        while self._count > MOST_EVENTS or (self._bytes > MOST_BYTES and len(self._stretches) > 1):
            self._drop()

    def _begin(self, state: ControlState) -> None:
        if self._stretches:
            last = self._stretches[-1]
            self._bytes -= last.size_bytes
            last.close()
            self._bytes += last.size_bytes
        self._stretches.append(_Stretch(state))

    def _drop(self) -> None:
        gone = self._stretches.popleft()
        self._count -= gone.count
        self._bytes -= gone.size_bytes

    def kept(self, now: ControlState) -> tuple[ControlState, tuple[bytes, ...]]:
        """The state from which the kept events start, and they; now: the state after all."""
        start = self._stretches[0].state if self._stretches else now
        return start, tuple(part.packed() for part in self._stretches)


@dataclass(frozen=True)
class Recorded:
    """What a scheduler hands out of one workload.

    policy: as the user named it, empty for a function. start: the state before the first event; in
    place of a function, which may be of a module that only the caller has, it holds `score`.
    packed: the events, stretch by stretch.
    """

    workload_id: str
    policy: str
    start: ControlState
    packed: tuple[bytes, ...]

    def log(self, session_id: str) -> EventLog:
        """The same with whose it is."""
        about = (version("edgesplit"), session_id, self.workload_id, self.policy)
        return EventLog(*about, self.start, tuple(self.events()))

    def events(self) -> list[tuple[Event, tuple[Action, ...]]]:
        """Each event with what was done about it."""
        parts = (msgspec.msgpack.decode(zlib.decompress(part)) for part in self.packed)
        return [_unpacked(one) for part in parts for one in part]


def _packed(event: Event, actions: Sequence[Action]) -> bytes:
    done = [(type(action).__name__, action) for action in actions]
    if isinstance(event, Observed):
        value: Any = (event.at_s, [_sample(timing) for timing in event.timings])
    else:
        value = event
    return msgspec.msgpack.encode((type(event).__name__, value, done), enc_hook=_plain)


def _plain(value: Any) -> Any:
    """numpy's numbers as Python's. Raises TypeError for what is none."""
    if not hasattr(value, "item"):
        raise TypeError(f"{type(value).__name__} is no plain value")
    return value.item()


def _unpacked(packed: bytes) -> tuple[Event, tuple[Action, ...]]:
    kind, value, done = msgspec.msgpack.decode(packed)
    if kind == Observed.__name__:
        at_s, samples = value
        event: Any = Observed(at_s, tuple(TierTiming(*sample) for sample in samples))
    else:
        event = msgspec.convert(value, _KINDS[kind])
    return event, tuple(msgspec.convert(action, _KINDS[name]) for name, action in done)
