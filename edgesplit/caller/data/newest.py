"""A place for one thing: what comes takes the place of what was not taken yet. Newest first."""

import threading
from typing import Generic, TypeVar

_Thing = TypeVar("_Thing")


class Newest(Generic[_Thing]):
    """Between a thread that puts and one that takes. dropped: things that nobody took."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: list[_Thing] = []
        self._is_closed = False
        self._error: BaseException | None = None
        self.dropped = 0

    def put(self, thing: _Thing) -> None:
        """Hold it from now on; what was held is dropped."""
        with self._changed:
            self.dropped += len(self._held)
            self._held = [thing]
            self._changed.notify_all()

    def close(self, error: BaseException | None = None) -> None:
        """Nothing comes any more. error: is raised once all is taken."""
        with self._changed:
            self._is_closed, self._error = True, error
            self._changed.notify_all()

    def take(self) -> _Thing | None:
        """What is held, as soon as something is; None: nothing comes any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._held or self._is_closed)
            if self._held:
                return self._held.pop()
        if self._error is not None:
            raise self._error
        return None
