"""A queue of pictures on one tier's workload, in this process and on this thread.

No Ray, no socket. Each queue is emptied twice by turns: one picture after another, and as the
batch rule says.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from edgesplit.core.batch_rule import Queued, together
from edgesplit.core.batch_times import BatchTimes
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import unslotted
from edgesplit.node.runtime.check import Exactness, difference
from edgesplit.node.tier.tier_workload import TierWorkload
from experiments.runtimes.bench import SIDE, Seconds, offer, opened
from experiments.shared.report import Row

WAITING = (1, 2, 4, 8, 16)
_KEPT_BYTES, _KEPT = 2 << 30, 16  # of prepared ranges, as a tier keeps them
Payload = list[Any]


@dataclass(frozen=True, eq=False)
class Queue:
    """The whole model in one runtime, and how its requests may share runs."""

    workload: TierWorkload
    runtime: str
    measuring_s: float

    @property
    def bounds(self) -> tuple[int, int]:
        """All layers."""
        return 0, len(self.workload.forms) - 1

    @property
    def times(self) -> BatchTimes | None:
        """None where the tier runs one request at a time."""
        batched = self.workload.batch(*self.bounds, self.runtime)
        return None if batched is None else batched.times

    def one_by_one(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The answers, without batches."""
        run = self.workload.segment(*self.bounds, self.runtime)
        return [run(payload) for payload in payloads]

    def as_the_rule_says(self, payloads: Sequence[Payload]) -> list[Payload]:
        """The answers, as a tier runs a queue in which nobody has a deadline."""
        answers: dict[int, Payload] = {}
        left = list(range(len(payloads)))
        while left:
            batched = self.workload.batch(*self.bounds, self.runtime)
            if batched is None:
                at = left.pop(0)
                answers[at] = self.workload.segment(*self.bounds, self.runtime)(payloads[at])
                continue
            one_s = batched.times.seconds(1)
            queue = [Queued("the model", one_s, math.inf) for _ in left]
            members = [left[place] for place in together(queue, 0.0, batched.times)]
            if len(members) == 1:
                run = self.workload.segment(*self.bounds, self.runtime)
                made = [run(payloads[members[0]])]
            else:
                made = batched([payloads[at] for at in members])
            answers.update(zip(members, made, strict=True))
            left = [at for at in left if at not in members]
        return [answers[at] for at in sorted(answers)]


def queues(model: str, runtimes: Sequence[str]) -> Iterator[Queue]:
    """The model in each runtime, measured as a tier does it.

    Raises RuntimeUnavailableError, UnknownNameError, ExportError.
    """
    _, made = opened(model)
    made.workload.cache = PreparedCache(_KEPT_BYTES, _KEPT)
    made.workload.profile(made.values, unslotted)
    for runtime in runtimes:
        if runtime != "torch":
            offer(made, runtime)
        bounds = (0, len(made.workload.forms) - 1)
        began_s = time.perf_counter()
        made.workload.measure_batch(*bounds, runtime, Exactness(), unslotted)
        yield Queue(made.workload, runtime, time.perf_counter() - began_s)


def rows_of(model: str, queue: Queue, rounds: int) -> Iterator[Row]:
    """A row per number of pictures that wait: pictures per second with and without batches."""
    generator = torch.Generator().manual_seed(0)
    pictures = [[torch.rand(1, 3, SIDE, SIDE, generator=generator)] for _ in range(max(WAITING))]
    times = queue.times
    for waiting in WAITING:
        given = pictures[:waiting]
        alone, batched = queue.one_by_one(given), queue.as_the_rule_says(given)  # and warm up
        taken = _by_turns((queue.one_by_one, queue.as_the_rule_says), given, rounds)
        rates = [statistics.median(waiting / s.wall_s for s in seconds) for seconds in taken]
        pairs = list(zip(*taken, strict=True))
        yield {
            "model": model,
            "runtime": queue.runtime,
            "waiting": waiting,
            "in_one_run": times.best(waiting) if times else 1,
            "alone_per_s": rates[0],
            "batched_per_s": rates[1],
            "gain": statistics.median(a.wall_s / b.wall_s for a, b in pairs),
            "cpu_gain": statistics.median(a.cpu_s / b.cpu_s for a, b in pairs),
            "worst_difference": max(map(difference, batched, alone)),
        }


def _by_turns(
    runs: Sequence[Callable[[Sequence[Payload]], Any]], given: Sequence[Payload], rounds: int
) -> list[list[Seconds]]:
    """What each took, once per round, whoever is first taking turns too."""
    taken: list[list[Seconds]] = [[] for _ in runs]
    for number in range(rounds):
        order = range(len(runs)) if number % 2 else reversed(range(len(runs)))
        for at in order:
            began_s, began_cpu_s = time.perf_counter(), time.thread_time()
            runs[at](given)
            wall_s = time.perf_counter() - began_s
            taken[at].append(Seconds(wall_s, time.thread_time() - began_cpu_s))
    return taken
