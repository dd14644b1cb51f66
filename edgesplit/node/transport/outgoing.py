"""Frames on their way out of one connection, whole and in the order in which they were given.

The computing thread sends what the peer takes at once; a thread of the connection's own sends the
rest. A peer that does not take a frame within its time, counted over the whole of it, is closed.
"""

import collections
import contextlib
import threading
import time
from dataclasses import dataclass

from edgesplit.node.process.threads import begin
from edgesplit.node.transport.payload_memory import Room
from edgesplit.node.transport.stream import Stream
from edgesplit.node.transport.wire import limit_s

_LOOK_S = 1.0  # between two looks whether another thread has closed the connection
_LINGER_S = 1.0  # for the next frame, before the thread ends


@dataclass(eq=False)
class _Frame:
    """parts: what is left of it. end_bytes: posted_bytes with it. skipped_bytes: never sent."""

    parts: list[memoryview]
    n_bytes: int
    end_bytes: int
    skipped_bytes: int = 0


class Outgoing:
    """Several threads may call it. room: where bytes that wait are held.

    posted_bytes: of all frames so far, as they travel.
    """

    def __init__(self, stream: Stream, room: Room | None) -> None:
        self.posted_bytes = self._skipped_bytes = 0
        self._delivered_bytes, self._looking = 0, threading.Lock()
        self._stream, self._room = stream, room
        self._waiting = collections.deque[_Frame]()  # the first may be half sent
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sending = threading.Lock()  # held by the thread that sends what waits
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def is_behind(self) -> bool:
        """Whether the peer has not taken yet what it was sent."""
        return bool(self._waiting)

    def delivered_bytes(self) -> int:
        """Of these, what the peer's kernel has confirmed; never less than it was before.

        Read in this order: what is sent meanwhile makes it less than it is, and never more.
        """
        with self._looking:
            sent_bytes = self._stream.sent_bytes + self._skipped_bytes
            with contextlib.suppress(OSError):  # it is closed: what is known stays
                delivered_bytes = sent_bytes - self._stream.unacknowledged_bytes()
                self._delivered_bytes = max(self._delivered_bytes, delivered_bytes)
            return self._delivered_bytes

    def send(self, parts: list[memoryview]) -> None:
        """Return once the peer has taken it. Raises OSError where it is gone or takes too long."""
        if not self._send_now(parts)[1]:
            self._send_waiting()

    def post(self, parts: list[memoryview]) -> int:
        """Return at once: posted_bytes with this frame. Raises OSError where the peer is gone."""
        end_bytes, is_gone = self._send_now(parts)
        if not is_gone:
            self._wake()
        return end_bytes

    def withdraw(self, end_bytes: int) -> bool:
        """Whether the frame that ended there was still to begin: nothing of it is sent then."""
        with self._lock:
            for frame in list(self._waiting)[1:]:  # the first may be half sent
                if frame.end_bytes == end_bytes:
                    if self._room is not None:
                        self._room.give_back(frame.n_bytes)
                    frame.parts.clear()
                    frame.skipped_bytes, frame.n_bytes = frame.n_bytes, 0
                    return True
        return False

    def close(self) -> None:
        """Drop what waits. The owner of the stream closes it."""
        with self._lock:
            self._is_closed = True
            if self._room is not None:
                self._room.give_back(sum(frame.n_bytes for frame in self._waiting))
            self._waiting.clear()
            self._changed.notify()

    def _send_now(self, parts: list[memoryview]) -> tuple[int, bool]:
        """posted_bytes with it, and whether all is gone; else it waits for its turn."""
        with self._lock:
            if self._is_closed:
                raise BrokenPipeError("the connection is closed")
            parts = self._sealed(parts)
            n_bytes = sum([part.nbytes for part in parts])
            self.posted_bytes += n_bytes
            if not self._waiting and self._stream.send_some(parts):
                return self.posted_bytes, True
            frame = _Frame(parts, n_bytes, self.posted_bytes)
            self._waiting.append(frame)
            if self._room is not None:
                self._room.add(frame.n_bytes)
            return self.posted_bytes, False

    def _sealed(self, parts: list[memoryview]) -> list[memoryview]:
        try:
            return self._stream.sealed(parts)
        except BaseException:  # what was encrypted in part cannot be followed by anything
            self._stream.close()
            raise

    def _send_waiting(self) -> None:
        try:
            with self._sending:
                while (frame := self._first()) is not None:
                    self._send_whole(frame)
                    self._done(frame)
        except BaseException:  # after half a frame nothing else can be sent
            self._stream.close()
            self.close()
            raise

    def _send_whole(self, frame: _Frame) -> None:
        deadline_s = time.monotonic() + limit_s(frame.n_bytes)
        while not self._stream.send_some(frame.parts):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the peer does not read what it is sent")
            self._stream.can_send(min(left_s, _LOOK_S))

    def _first(self) -> _Frame | None:
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def _done(self, frame: _Frame) -> None:
        with self._lock:
            if self._is_closed:  # and nothing waits any more
                raise BrokenPipeError("the connection was closed")
            self._waiting.popleft()
            self._skipped_bytes += frame.skipped_bytes
            if self._room is not None:
                self._room.give_back(frame.n_bytes)

    # The thread that sends what was posted

    def _wake(self) -> None:
        try:
            with self._lock:
                self._changed.notify()
                if self._thread is None:
                    self._thread = begin(self._run, "sender")
        except OSError:
            self._stream.close()
            self.close()
            raise

    def _run(self) -> None:
        with contextlib.suppress(Exception):  # the reading thread sees that it is closed
            while self._await_frame():
                self._send_waiting()

    def _await_frame(self) -> bool:
        with self._lock:
            if not self._waiting and not self._is_closed:
                self._changed.wait(_LINGER_S)
            if not self._waiting:
                self._thread = None
            return bool(self._waiting)
