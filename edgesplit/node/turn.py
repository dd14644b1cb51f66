"""Measuring beside requests: one run at a time, each when its turn comes."""

import time
from collections.abc import Callable, Sequence
from typing import Any

# turn(run) returns run(), called on the thread that computes, when it disturbs nobody.
Turn = Callable[[Callable[[], Any]], Any]


def at_once(run: Callable[[], Any]) -> Any:
    """The turn where nobody else computes."""
    return run()


def one_run_s(run: Callable[[list[Any]], Any], payload: Sequence[Any]) -> float:
    """Seconds of one run."""
    start_s = time.perf_counter()
    run(list(payload))
    return time.perf_counter() - start_s
