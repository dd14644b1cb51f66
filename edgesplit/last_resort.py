"""The caller's own process as the last resort: runs the exported program from the input it holds.

On one thread with the first tier's number of threads, so that the result is that of the torch plan
bit for bit, and so that callers who lose their tier at once do not take the machine.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import torch

from edgesplit.errors import DeadlineExceeded, RequestError
from edgesplit.node.program import Program


class LastResort:
    """close() ends its thread, which begins with the first use."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def run(self, program: Program, values: list[Any], threads: int, timeout_s: float) -> list[Any]:
        """The payload at the last cut. Raises RequestError, DeadlineExceeded."""
        work = self._submit(program, values, threads)
        try:
            return work.result(timeout_s)
        except FutureTimeoutError:
            work.cancel()
            raise DeadlineExceeded(
                f"the caller itself could not finish within the {timeout_s:.3g} s that were left",
                "timeout",
            ) from None
        except Exception as error:  # a model raises anything; the caller is told
            raise RequestError(f"the model failed in the caller's process: {error!r}") from error

    def close(self) -> None:
        """Drop what waits, let what runs run out."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)

    def _submit(self, program: Program, values: list[Any], threads: int) -> "Future[list[Any]]":
        with self._lock:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(1, "edgesplit-last-resort")
                begun_with = torch.get_num_threads()
                self._pool.submit(_set_threads, threads).result()
                # Threads that begin later take over what was set last, anywhere in the process.
                torch.set_num_threads(begun_with)
            return self._pool.submit(lambda: program.segment(0, len(program))(values))


def _set_threads(threads: int) -> None:
    """For this thread. Asking afterwards ends its initialisation, which would overwrite it."""
    torch.set_num_threads(threads)
    torch.get_num_threads()
