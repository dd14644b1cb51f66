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
class Frame:
    """One that was given to a connection. parts: what is left of it; n_bytes: of all of it.

    end_bytes: of all that this connection sends, as it travels, up to and with it; None until its
    turn has come: encrypting is in order, so that one that was not begun can still be left out.
    """

    parts: list[memoryview]
    n_bytes: int
    end_bytes: int | None = None


class Outgoing:
    """Several threads may call it. room: where bytes that wait are held."""

    def __init__(self, stream: Stream, room: Room | None) -> None:
        self._begun_bytes = 0  # of the frames whose turn has come, as they travel
        self._delivered_bytes, self._looking = 0, threading.Lock()
        self._stream, self._room = stream, room
        self._waiting = collections.deque[Frame]()  # the first may be half sent
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._sending = threading.Lock()  # held by the thread that sends what waits
        self._thread: threading.Thread | None = None
        self._is_closed = False

    @property
    def is_behind(self) -> bool:
        """Whether the peer has not taken yet what it was sent."""
        return bool(self._waiting)

    @property
    def posted_bytes(self) -> int:
        """Of all frames so far."""
        with self._lock:
            later = [frame.n_bytes for frame in self._waiting if frame.end_bytes is None]
            return self._begun_bytes + sum(later)

    def left_bytes(self, posted: Frame) -> int:
        """Of that frame and those before it, what the peer's kernel has not confirmed."""
        delivered_bytes = self.delivered_bytes()
        with self._lock:
            if posted.end_bytes is not None:
                return max(0, posted.end_bytes - delivered_bytes)
            ahead = self._begun_bytes - delivered_bytes
            for frame in self._waiting:
                ahead += frame.n_bytes if frame.end_bytes is None else 0
                if frame is posted:
                    return ahead
            return 0  # it was withdrawn, or dropped when the connection was closed

    def withdraw(self, posted: Frame) -> bool:
        """Whether that frame was still to begin: nothing of it is sent then."""
        with self._lock:
            if posted.end_bytes is not None or posted not in self._waiting:
                return False
            self._waiting.remove(posted)
            if self._room is not None:
                self._room.give_back(posted.n_bytes)
            return True

    def delivered_bytes(self) -> int:
        """Of posted_bytes, what the peer's kernel has confirmed; never less than it was before.

        Read in this order: what is sent meanwhile makes it less than it is, and never more.
        """
        with self._looking:
            sent_bytes = self._stream.sent_bytes
            with contextlib.suppress(OSError):  # it is closed: what is known stays
                delivered_bytes = sent_bytes - self._stream.unacknowledged_bytes()
                self._delivered_bytes = max(self._delivered_bytes, delivered_bytes)
            return self._delivered_bytes

    def send(self, parts: list[memoryview]) -> None:
        """Return once the peer has taken it. Raises OSError where it is gone or takes too long."""
        if self._send_now(parts).parts:
            self._send_waiting()

    def post(self, parts: list[memoryview]) -> Frame:
        """Return at once. Raises OSError where the peer is gone."""
        posted = self._send_now(parts)
        if posted.parts:
            self._wake()
        return posted

    def close(self) -> None:
        """Drop what waits. The owner of the stream closes it."""
        with self._lock:
            self._is_closed = True
            if self._room is not None:
                self._room.give_back(sum(frame.n_bytes for frame in self._waiting))
            self._waiting.clear()
            self._changed.notify()

    def _send_now(self, parts: list[memoryview]) -> Frame:
        """With nothing left of it where all is gone; else it waits for its turn."""
        with self._lock:
            if self._is_closed:
                raise BrokenPipeError("the connection is closed")
            frame = Frame(parts, sum([part.nbytes for part in parts]))
            if not self._waiting:
                self._begin(frame)
                if self._stream.send_some(frame.parts):
                    frame.parts = []
                    return frame
            self._waiting.append(frame)
            if self._room is not None:
                self._room.add(frame.n_bytes)
            return frame

    def _begin(self, frame: Frame) -> None:
        """Its turn has come: from now on it is sent as a whole. The caller has the lock."""
        frame.parts = self._sealed(frame.parts)
        self._begun_bytes += sum([part.nbytes for part in frame.parts])
        frame.end_bytes = self._begun_bytes

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

    def _send_whole(self, frame: Frame) -> None:
        deadline_s = time.monotonic() + limit_s(frame.n_bytes)
        while not self._stream.send_some(frame.parts):
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("the peer does not read what it is sent")
            self._stream.can_send(min(left_s, _LOOK_S))

    def _first(self) -> Frame | None:
        with self._lock:
            if not self._waiting:
                return None
            first = self._waiting[0]
            if first.end_bytes is None:
                self._begin(first)
            return first

    def _done(self, frame: Frame) -> None:
        with self._lock:
            if self._is_closed:  # and nothing waits any more
                raise BrokenPipeError("the connection was closed")
            self._waiting.popleft()
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
