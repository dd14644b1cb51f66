"""Independent jobs of an experiment, done by several processes."""

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any


@contextmanager
def spread_over(workers: int) -> Iterator[Callable[[Callable[..., Any], list[Any]], Iterator[Any]]]:
    """each(function, jobs): the results in the order of the jobs, by so many processes.

    A job is the tuple of the function's arguments. With one worker all is done here.
    """
    if workers == 1:
        yield lambda function, jobs: (function(*job) for job in jobs)
        return
    with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
        yield (
            lambda function, jobs: (
                pool.map(function, *zip(*jobs, strict=True)) if jobs else iter(())
            )
        )
