"""Something done again and again beside an experiment's requests."""

import threading
import time
from collections.abc import Callable

from edgesplit.errors import EdgeSplitError


class Repeating:
    """A thread that calls act() every period_s while `with` lasts, first after first_s.

    Leaving raises the EdgeSplitError that act() has raised, after which it is not called again.
    """

    def __init__(
        self, act: Callable[[], None], period_s: float, name: str, first_s: float = 0.0
    ) -> None:
        self._act, self._period_s, self._first_s = act, period_s, first_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._error: EdgeSplitError | None = None

    def __enter__(self) -> "Repeating":
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            due_s = time.perf_counter() + self._first_s
            while not self._stopped.wait(max(0.0, due_s - time.perf_counter())):
                due_s += self._period_s
                self._act()
        except EdgeSplitError as error:
            self._error = error
