"""What is done as a whole, whatever signal comes: in a thread that no signal handler interrupts.

Python calls the handlers of signals in the main thread, between any two steps, and what they raise,
such as KeyboardInterrupt, ends there whatever was under way.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType

_CONVENTION = 128  # a shell's exit code of a program that a signal has ended: this and its number


def undisturbed(do: Callable[[], None], undo: Callable[[], None] = lambda: None) -> None:
    """Return when do() is done. Raises what it raises.

    Where the wait is interrupted, undo() follows once do() has ended, and then the interruption is
    raised; a second one is raised at once, and what is under way goes on by itself.
    """
    work = _Uninterrupted(do, undo)
    try:
        work.begin()
        work.done.wait()
    except BaseException:
        work.give_up()
        raise
    error, work.error = work.error, None
    try:
        if error is not None:
            raise error
    finally:
        del error  # whose frames hold this one


class _Uninterrupted:
    """do() in a thread, and undo() after it if the caller has stopped waiting."""

    def __init__(self, do: Callable[[], None], undo: Callable[[], None]) -> None:
        self._do, self._undo = do, undo
        self._lock = threading.Lock()
        self._has_begun = self._is_given_up = False
        self.done, self._ended = threading.Event(), threading.Event()
        self.error: BaseException | None = None

    def begin(self) -> None:
        thread = threading.Thread(target=self._run, name="edgesplit-work")
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, and starts no thread
            self._run()

    def give_up(self) -> None:
        """Return when it has been undone, or will never be begun."""
        with self._lock:
            self._is_given_up = True
            has_begun, is_done = self._has_begun, self.done.is_set()
        if is_done:
            undisturbed(self._undo)
        elif has_begun:
            self._ended.wait()

    def _run(self) -> None:
        with self._lock:
            if self._is_given_up:
                return
            self._has_begun = True
        try:
            self._do()
        except BaseException as error:  # raised where it is waited for
            self.error = error
        with self._lock:
            is_given_up = self._is_given_up
            self.done.set()
        if is_given_up:
            self._undo()
        self._ended.set()


def exit_on_sigterm() -> None:
    """Have SIGTERM end the program as sys.exit() does, so that `with` blocks end and exits are run.

    Only where the program has left the signal as it was; else its own handler is set once more, for
    Ray puts one in its place, below Python, which ends the program there. Only in the main thread.
    """
    if threading.current_thread() is threading.main_thread():
        handler = signal.getsignal(signal.SIGTERM)
        if handler is None:  # it is not Python's, and cannot be set again
            return
        is_own = handler is signal.SIG_DFL or isinstance(handler, _Exit)
        signal.signal(signal.SIGTERM, _Exit() if is_own else handler)


def leave_sigterm() -> None:
    """Have it do again what it does by default, if it ends the program by exit_on_sigterm()."""
    is_main = threading.current_thread() is threading.main_thread()
    if is_main and isinstance(signal.getsignal(signal.SIGTERM), _Exit):
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class _Exit:
    """Ends the process that made it as sys.exit() does, and one forked from it by the signal.

    Such a child has nothing open that would have to end. And Python drops what is raised in a
    child's first steps: whoever ends a pool of children would wait for that one for ever.
    """

    def __init__(self) -> None:
        self._process = os.getpid()

    def __call__(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() == self._process:
            raise SystemExit(_CONVENTION + number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
