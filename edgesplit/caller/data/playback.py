"""A stream played at its frame rate: each frame is due at a moment, and late after a deadline.

The rule for what cannot be kept up with: one frame is answered at a time, and then the newest one
that is due; those between are dropped.
"""

import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from edgesplit.caller.data.example import Example
from edgesplit.caller.data.newest import Newest
from edgesplit.node.program.run_slot import Clock


class Frames(Protocol):
    """What can be played. is_live: its frames come when they come, as a camera's do."""

    @property
    def frames_per_s(self) -> float: ...

    @property
    def is_live(self) -> bool: ...

    def __iter__(self) -> Iterator[Example]: ...


@dataclass(frozen=True, eq=False)
class DueFrame:
    """due_s: when it was there to be looked at, by the clock."""

    example: Example
    due_s: float


@dataclass(frozen=True)
class Punctuality:
    """How an answered frame did. latency_s: from when it was due until its answer."""

    latency_s: float
    is_late: bool


class Playback:
    """One playing of a stream. deadline_s: of each frame, from when it is due.

    answered, late, dropped: frames so far; a dropped one is not late.
    """

    def __init__(self, stream: Frames, deadline_s: float, clock: Clock = time.perf_counter) -> None:
        self._stream, self._deadline_s, self._clock = stream, deadline_s, clock
        self._newest: Newest[DueFrame] = Newest()
        self._is_over = threading.Event()
        self.answered = self.late = 0

    @property
    def dropped(self) -> int:
        """Frames that a newer one took the place of, before anybody looked at them."""
        return self._newest.dropped

    def frames(self) -> Iterator[DueFrame]:
        """The frames that are answered, each as the newest one when it is asked for.

        Raises what reading the stream raises. Ends the reading where it is left.
        """
        reader = threading.Thread(target=self._read, name="frames", daemon=True)
        reader.start()
        try:
            yield from iter(self._newest.take, None)
        finally:
            self._is_over.set()
            reader.join()

    def was_answered(self, frame: DueFrame) -> Punctuality:
        """To be told as soon as a frame's answer is there."""
        latency_s = self._clock() - frame.due_s
        found = Punctuality(latency_s, latency_s > self._deadline_s)
        self.answered += 1
        self.late += found.is_late
        return found

    def _read(self) -> None:
        try:
            for frame in self._due(self._stream):
                self._newest.put(frame)
        except Exception as error:  # told where the frames are taken
            self._newest.close(error)
        else:
            self._newest.close()

    def _due(self, stream: Iterable[Example]) -> Iterator[DueFrame]:
        """Each frame when it is due, until the playing is over."""
        began_s, period_s = self._clock(), 1 / self._stream.frames_per_s
        for count, example in enumerate(stream):
            now_s = self._clock()
            due_s = now_s if self._stream.is_live else began_s + count * period_s
            if self._is_over.wait(max(0.0, due_s - now_s)):
                return
            yield DueFrame(example, due_s)
