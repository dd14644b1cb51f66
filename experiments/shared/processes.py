"""Independent jobs of an experiment, done by other processes."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

_LOOK_S = 1.0


@contextmanager
def spread_over(workers: int) -> Iterator[Callable[[Callable[..., Any], list[Any]], Iterator[Any]]]:
    """each(function, jobs): the results in the order of the jobs, by so many processes.

    A job is the tuple of the function's arguments. With one worker all is done here.
    """
    if workers == 1:
        yield lambda function, jobs: (function(*job) for job in jobs)
        return
    with fresh_processes(workers) as pool:
        yield (
            lambda function, jobs: (
                pool.map(function, *zip(*jobs, strict=True)) if jobs else iter(())
            )
        )


def fresh_processes(count: int) -> ProcessPoolExecutor:
    """A pool of so many processes that share nothing with this one, and do not outlive it."""
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(count, context, _end_with, (os.getpid(),))


def _end_with(parent: int) -> None:
    """End this process soon after its parent: it would wait for jobs for good."""

    def look() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        os._exit(1)

    threading.Thread(target=look, name="end-with-parent", daemon=True).start()
