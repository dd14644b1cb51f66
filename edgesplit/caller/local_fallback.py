"""The local fallback: the caller's own process runs the exported program from the input it holds.

On one thread with the first tier's number of threads, so that the result is that of the torch plan
bit for bit, and so that threads that lose their tier at once do not take the machine.
"""

from concurrent.futures import Future
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

from edgesplit.caller.settled_thread import SettledThread
from edgesplit.errors import DeadlineExceeded, RequestError
from edgesplit.node.codec.payload import decode
from edgesplit.node.program.program import Program


class LocalFallback:
    """close() ends its thread, which begins with the first use."""

    def __init__(self, flushes_denormals: bool = False) -> None:
        self._thread = SettledThread("last-resort", flushes_denormals)

    def run(self, program: Program, values: list[Any], threads: int, timeout_s: float) -> list[Any]:
        """The payload at the last cut. Raises RequestError, DeadlineExceeded."""
        work = self.begin(program, values, threads)
        try:
            return work.result(timeout_s)
        except FutureTimeoutError:
            raise DeadlineExceeded(
                f"the caller itself could not finish within the {timeout_s:.3g} s that were left",
                "timeout",
            ) from None
        except Exception as error:  # a model raises anything; the caller is told
            raise RequestError(f"the model failed in the caller's process: {error!r}") from error
        finally:
            work.cancel()  # of use to nobody where Ctrl-C ended the wait

    def close(self) -> None:
        """Drop what waits, let what runs run out."""
        self._thread.close()

    def begin(self, program: Program, values: list[Any], threads: int) -> "Future[list[Any]]":
        """The same, without waiting for it; what the model raises is the future's."""
        return self._thread.submit(
            lambda: program.segment(0, len(program))(decode(values)), threads
        )
