"""The local fallback: the caller's own process runs the exported program from the input it holds.

On one thread with the first tier's number of threads, so that the result is that of the torch plan
bit for bit, and so that threads that lose their tier at once do not take the machine.
"""

import threading
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import Any

import torch

from edgesplit.errors import DeadlineExceeded, RequestError
from edgesplit.node.program.program import Program
from edgesplit.node.transport.tensors import settle

_NAME = "edgesplit-last-resort"


class LocalFallback:
    """close() ends its thread, which begins with the first use."""

    def __init__(self, flushes_denormals: bool = False) -> None:
        self._flushes_denormals = flushes_denormals
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

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
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)

    def begin(self, program: Program, values: list[Any], threads: int) -> "Future[list[Any]]":
        """The same, without waiting for it; what the model raises is the future's."""
        with self._lock:
            if self._pool is None:
                begun_with, pool = torch.get_num_threads(), ThreadPoolExecutor(1, _NAME)
                try:
                    pool.submit(_settle, threads, self._flushes_denormals).result()
                finally:
                    # Threads that begin later take over what was set last, anywhere in the process.
                    torch.set_num_threads(begun_with)
                self._pool = pool
            return self._pool.submit(lambda: program.segment(0, len(program))(values))


def _settle(threads: int, flushes_denormals: bool) -> None:
    """For this thread. Asking afterwards ends its initialisation, which would overwrite it."""
    settle(threads, flushes_denormals)
    torch.get_num_threads()
