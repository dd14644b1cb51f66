"""Measuring beside requests: one run at a time, each when its turn comes."""

import time
from collections.abc import Callable, Sequence
from typing import Any

# turn(run) returns run(), called on the thread that computes, when it disturbs nobody.
RunSlot = Callable[[Callable[[], Any]], Any]
Clock = Callable[[], float]  # seconds since whenever


def unslotted(run: Callable[[], Any]) -> Any:
    """The run slot where nothing else computes."""
    return run()


def one_run_s(
    run: Callable[[list[Any]], Any], payload: Sequence[Any], clock: Clock = time.perf_counter
) -> float:
    """Seconds of one run by `clock`."""
    start_s = clock()
    run(list(payload))
    return clock() - start_s
