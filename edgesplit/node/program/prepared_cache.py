"""Prepared ranges that are kept for the next plan that wants them, oldest use dropped first.

A range is built outside of the lock, once, however many threads ask. A dropped
one lives on until the threads that run it have ended.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import CancelledError, Future
from typing import Generic, Protocol, TypeVar

from edgesplit.errors import RuntimeUnavailableError

BUILD_TIMEOUT_S = 120.0


class Sized(Protocol):
    """Something that knows its memory."""

    @property
    def n_bytes(self) -> int:
        """Bytes it holds while it is kept."""


Kept = TypeVar("Kept", bound=Sized)


class PreparedCache(Generic[Kept]):
    """At most limit_count ranges of limit_bytes together; the one asked for last always stays."""

    def __init__(self, limit_bytes: float, limit_count: int) -> None:
        self._limit_bytes, self._limit_count = limit_bytes, limit_count
        self._entries: OrderedDict[Hashable, Future[Kept]] = OrderedDict()
        self._newest: tuple[Hashable, Kept] | None = None  # what was asked for last, if it is kept
        self._lock = threading.Lock()

    def get(self, key: Hashable, build: Callable[[], Kept]) -> Kept:
        """The range under `key`; `build` is called if it is not kept and nobody builds it.

        Raises what `build` raises; threads that waited for it then try themselves, one at a time.
        Raises RuntimeUnavailableError where another thread's building takes over 120 s.
        """
        newest = self._newest  # a steady request asks for the same again, and needs no lock
        if newest is not None and newest[0] == key:
            return newest[1]
        while True:
            with self._lock:
                is_new = key not in self._entries
                entry = self._entries.setdefault(key, Future())
                self._entries.move_to_end(key)
            if is_new:
                return self._build(key, entry, build)
            try:
                found = entry.result(BUILD_TIMEOUT_S)
                self._note(key, entry, found)
                return found
            except CancelledError:
                continue
            except TimeoutError:
                raise RuntimeUnavailableError(
                    f"{key} is still being built after {BUILD_TIMEOUT_S:.0f} s; try another plan"
                ) from None

    def drop(self, is_dropped: Callable[[Hashable], bool]) -> None:
        """Keep none of those any more; a thread that runs one now ends its run."""
        with self._lock:
            for key in list(filter(is_dropped, self._entries)):
                del self._entries[key]
            self._newest = None

    def __contains__(self, key: Hashable) -> bool:
        with self._lock:
            return key in self._entries

    def __len__(self) -> int:
        with self._lock:
            return len(self._entries)

    @property
    def n_bytes(self) -> int:
        """Memory of all that is kept."""
        with self._lock:
            return self._kept_bytes()

    def _note(self, key: Hashable, entry: "Future[Kept]", found: Kept) -> None:
        with self._lock:
            if self._entries.get(key) is entry and next(reversed(self._entries)) == key:
                self._newest = key, found

    def _build(self, key: Hashable, entry: "Future[Kept]", build: Callable[[], Kept]) -> Kept:
        try:
            entry.set_result(build())
        finally:
            with self._lock:
                self._newest = None
                if entry.done():
                    self._drop_oldest(key)
                else:
                    self._entries.pop(key, None)
                    entry.cancel()
        return entry.result()

    def _drop_oldest(self, newest: Hashable) -> None:
        done = [key for key, entry in self._entries.items() if entry.done() and key != newest]
        for key in done:
            if len(self._entries) <= self._limit_count and self._kept_bytes() <= self._limit_bytes:
                return
            del self._entries[key]

    def _kept_bytes(self) -> int:
        ready = (entry for entry in self._entries.values() if entry.done())
        return sum(entry.result().n_bytes for entry in ready)
