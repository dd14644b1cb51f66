"""Locks by name, there for as long as somebody wants them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class NamedLocks:
    """One for each name.

    Example:
        >>> locks = NamedLocks()
        >>> with locks.held("ann"), locks.held("ben"):
        ...     len(locks)
        2
        >>> len(locks)
        0
    """

    def __init__(self) -> None:
        self._locks: dict[str, tuple[threading.Lock, int]] = {}  # and how many want it
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._locks)

    @contextmanager
    def held(self, name: str) -> Iterator[None]:
        """Alone with that name; others wait for nothing."""
        with self._lock:
            lock, wanted = self._locks.get(name, (threading.Lock(), 0))
            self._locks[name] = lock, wanted + 1
        try:
            with lock:
                yield
        finally:
            with self._lock:
                _, wanted = self._locks.pop(name)
                if wanted > 1:
                    self._locks[name] = lock, wanted - 1
