"""Says what a first answer is waiting for, once that takes a while: opening, export, profiling.

On a terminal and in a notebook it is one line of stderr that is written over and taken away at the
end; elsewhere a message of the logger `edgesplit`, or a line every few seconds. What was quick says
nothing.
"""

import contextlib
import logging
import sys
import threading
import time
from collections.abc import Iterator
from typing import TextIO

_QUIET_S = 2.0
_PERIOD_S = 1.0
_log = logging.getLogger("edgesplit")


class Progress:
    """Of one EdgeSplit, or of a command.

    is_wanted: True and False switch the line on or off; None: as above. every_s: where no line is
    written over, one is written so often; None: a message.
    """

    def __init__(self, is_wanted: bool | None = None, every_s: float | None = None) -> None:
        self._is_wanted, self._every_s = is_wanted, every_s
        self._changed = threading.Condition()
        self._stage, self._how_far = "", ""
        self._users = self._times = 0
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def shown(self, stage: str) -> Iterator[None]:
        """While something is done that may take long, beginning with that stage."""
        with self._changed:
            self._users += 1
            self.say(stage)
            if self._users == 1 and self._is_wanted is not False:
                self._times += 1
                self._thread = threading.Thread(
                    target=self._run, args=(self._times,), name="edgesplit-progress", daemon=True
                )
                self._thread.start()
        try:
            yield
        finally:
            with self._changed:
                self._users -= 1
                self._changed.notify_all()
                told = self._thread if not self._users else None
            if told is not None:
                told.join(_PERIOD_S)  # what is printed next comes after the line's end

    def say(self, stage: str, how_far: str = "") -> None:
        """The next stage of what is shown; how_far, such as "3 of 9 MB", is for a line only."""
        self._stage, self._how_far = stage, how_far

    def _run(self, time_of: int) -> None:
        """Until this time's is over."""
        began_s, wait_s = time.monotonic(), _QUIET_S
        line = self._line(sys.stderr)
        while True:
            with self._changed:
                if self._changed.wait_for(lambda: self._is_over(time_of), wait_s):
                    line.end()
                    return
            line.show(self._stage, self._how_far, time.monotonic() - began_s)
            wait_s = _PERIOD_S

    def _is_over(self, time_of: int) -> bool:
        return not self._users or self._times != time_of

    def _line(self, stderr: TextIO) -> "_Line | _Lines | _Messages":
        if self._has_line(stderr):
            return _Line(stderr)
        return _Messages() if self._every_s is None else _Lines(stderr, self._every_s)

    def _has_line(self, stderr: TextIO) -> bool:
        if self._is_wanted is not None:
            return self._is_wanted
        with contextlib.suppress(AttributeError, ValueError):  # none, or closed
            return stderr.isatty() or type(stderr).__module__.startswith("ipykernel")
        return False


class _Line:
    """A line that the next one overwrites, also one that another program writes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream, self._width = stream, 0

    def show(self, stage: str, how_far: str, seconds: float) -> None:
        text = _text(stage, how_far, seconds)
        _write(self._stream, text.ljust(self._width) + "\r")
        self._width = len(text)

    def end(self) -> None:
        if self._width:
            _write(self._stream, " " * self._width + "\r")


class _Lines:
    """A line of its own every so many seconds, where one cannot be written over."""

    def __init__(self, stream: TextIO, every_s: float) -> None:
        self._stream, self._every_s, self._next_s = stream, every_s, every_s

    def show(self, stage: str, how_far: str, seconds: float) -> None:
        if seconds >= self._next_s:
            _write(self._stream, _text(stage, how_far, seconds) + "\n")
            self._next_s = seconds + self._every_s

    def end(self) -> None: ...


class _Messages:
    """A message per stage that lasts."""

    def __init__(self) -> None:
        self._said = ""

    def show(self, stage: str, how_far: str, seconds: float) -> None:
        if stage != self._said:
            _log.info("%s, after %.0f s", stage, seconds)
        self._said = stage

    def end(self) -> None: ...


def _text(stage: str, how_far: str, seconds: float) -> str:
    return f"edgesplit: {stage}{how_far and f': {how_far}'} ({seconds:.0f} s)"


def _write(stream: TextIO, text: str) -> None:
    with contextlib.suppress(OSError, ValueError):  # a stream that was closed meanwhile
        stream.write(text)
        stream.flush()
