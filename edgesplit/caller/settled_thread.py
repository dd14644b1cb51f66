"""A thread of the caller's process that computes as tiers do: threads and denormals alike."""

import contextlib
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import torch

from edgesplit.errors import ClosedError
from edgesplit.node.transport.tensors import settle

_T = TypeVar("_T")
_NICENESS = 19


class SettledThread:
    """close() ends it; it begins with the first use. is_patient: whatever else runs comes first."""

    def __init__(self, name: str, flushes_denormals: bool, is_patient: bool = False) -> None:
        self._name, self._flushes_denormals = f"edgesplit-{name}", flushes_denormals
        self._is_patient = is_patient
        self._pool: ThreadPoolExecutor | None = None
        self._is_closed = False
        self._lock = threading.Lock()

    def submit(self, function: Callable[[], _T], threads: int) -> "Future[_T]":
        """Have function() run there, one at a time; what it raises is the future's.

        threads: that it computes on; those of the first call count. Raises ClosedError.
        """
        with self._lock:
            if self._is_closed:
                raise ClosedError("this EdgeSplit is closed; make a new one")
            if self._pool is None:
                begun_with, pool = torch.get_num_threads(), ThreadPoolExecutor(1, self._name)
                try:
                    pool.submit(self._settle, threads).result()
                finally:
                    # Threads that begin later take over what was set last, anywhere in the process.
                    torch.set_num_threads(begun_with)
                self._pool = pool
            return self._pool.submit(function)

    def close(self) -> None:
        """Drop what waits, let what runs run out."""
        with self._lock:
            self._is_closed = True
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)

    def _settle(self, threads: int) -> None:
        """For this thread. Asking afterwards ends its initialisation, which would overwrite it."""
        if self._is_patient:
            with contextlib.suppress(OSError, AttributeError):  # where the system can
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _NICENESS)
        settle(threads, self._flushes_denormals)
        torch.get_num_threads()
