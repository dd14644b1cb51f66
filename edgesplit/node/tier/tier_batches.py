"""Which ranges of a workload run for several requests at once on this tier; found beside requests.

A range is looked at once, when it is asked for: its verdict is seconds per number of requests, or
why it runs one request at a time.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from edgesplit.core.batch_times import BatchTimes
from edgesplit.core.layer_times import TORCH
from edgesplit.errors import EdgeSplitError, RuntimeUnavailableError
from edgesplit.node.program.batch_forms import BatchForm, axes, compared
from edgesplit.node.program.run_slot import RunSlot
from edgesplit.node.runtime import Prepared
from edgesplit.node.runtime.batch_bench import BatchBench, JointTrial
from edgesplit.node.runtime.batched import Batched, Joint
from edgesplit.node.runtime.check import Exactness, Run
from edgesplit.node.runtime.guard import Guarded
from edgesplit.node.runtime.lossy import is_lossy
from edgesplit.node.runtime.measure import EXAMPLE
from edgesplit.node.transport.tensor_form import Forms

if TYPE_CHECKING:
    from edgesplit.node.tier.tier_workload import TierWorkload

RuntimeRange = tuple[str, int, int]  # runtime, start, stop
# What operators and ONNX Runtime raise for sizes that they do not take.
_REFUSALS = (EdgeSplitError, RuntimeError, IndexError, ValueError, TypeError, ArithmeticError)


@dataclass(frozen=True)
class _Found:
    """A range that gains, without what runs it: that is the cache's."""

    given: tuple[BatchForm, ...]
    made: tuple[BatchForm, ...]
    times: BatchTimes

    def batched(self, run: Run) -> Batched:
        return Batched(run, self.given, self.made, self.times)


class TierBatches:
    """Of one workload. ready() is for the compute thread, measure() for any other, in its time."""

    def __init__(self, workload: "TierWorkload") -> None:
        self._workload = workload
        self._verdicts: dict[RuntimeRange, BatchTimes | str] = {}
        self._ready: dict[RuntimeRange, _Found] = {}
        self._two: tuple[Forms, ...] | str | None = None
        self._measuring = threading.Lock()

    def ready(self, which: RuntimeRange) -> Batched | None:
        """The range for several requests, where that was found to be right and to gain."""
        found = self._ready.get(which)
        if found is None:
            return None
        runtime, start, stop = which
        if runtime == TORCH:
            return found.batched(self._workload.engine.eager(start, stop))
        try:
            return found.batched(self._prepared(which, _not_kept))
        except RuntimeUnavailableError:
            self._ready.pop(which, None)  # dropped for other ranges; measure() builds it again
            return None

    def why_alone(self, which: RuntimeRange) -> str:
        """Why the range runs one request at a time; empty where it need not, or nobody looked."""
        verdict = self._verdicts.get(which, "")
        return verdict if isinstance(verdict, str) else ""

    def give_up(self, which: RuntimeRange, why: str) -> None:
        """Run one request at a time from now on."""
        self._verdicts[which] = why
        self._ready.pop(which, None)

    def drop(self, runtime: str) -> None:
        """Forget all about a runtime that is not used any more."""
        for known in (self._verdicts, self._ready):
            for which in [which for which in list(known) if which[0] == runtime]:
                known.pop(which, None)

    def measure(self, which: RuntimeRange, wanted: Exactness, run_slot: RunSlot) -> None:
        """Find out, unless it is known; returns at once where another thread is measuring.

        Nothing where results have to be exact: other kernels may run for several, and round. Takes
        some 30 run slots, the longest of which hold a single run and one for several.
        """
        if wanted.exact:
            return
        if which in self._ready or self.why_alone(which) or self._workload.reference is None:
            return
        if not self._measuring.acquire(blocking=False):
            return
        try:
            self._ready[which] = self._found(which, wanted, run_slot)
        except _REFUSALS as error:
            self.give_up(which, str(error) or repr(error))
            self._workload.cache.drop(lambda key: key == self._key(which))
        finally:
            self._measuring.release()

    def _found(self, which: RuntimeRange, wanted: Exactness, run_slot: RunSlot) -> _Found:
        runtime, start, stop = which
        two, one = self._forms_of_two(run_slot), self._workload.forms
        given, made = compared(one[start], two[start]), compared(one[stop], two[stop])
        run = self._run(which, given, run_slot)
        times = self._verdicts.get(which)
        if not isinstance(times, BatchTimes):
            single = self._workload.segment(start, stop, runtime)
            bench = BatchBench(
                f"layers {start}-{stop} in {runtime}",
                single,
                Joint(run, given, made),
                self._trials(which, run, run_slot),
                wanted,
                run_slot,
                # What several threads do, no clock of one of them knows.
                work=time.thread_time if self._workload.engine.threads == 1 else time.perf_counter,
            )
            times = self._verdicts[which] = bench.times()
        return _Found(given, made, times)

    def _forms_of_two(self, run_slot: RunSlot) -> tuple[Forms, ...]:
        """Asked once."""
        if self._two is None:
            engine, graph = self._workload.engine, self._workload.graph
            try:
                self._two = engine.forms_of_two(graph, run_slot)
            except RuntimeUnavailableError as error:
                self._two = str(error)
        if isinstance(self._two, str):
            raise RuntimeUnavailableError(self._two)
        return self._two

    def _run(self, which: RuntimeRange, given: Sequence[BatchForm], run_slot: RunSlot) -> Prepared:
        runtime, start, stop = which
        if runtime == TORCH:
            return self._workload.engine.eager(start, stop)
        made = self._workload.offered(runtime)
        guarded = self._prepared(which, lambda: made.prepare_batched(start, stop, axes(given)))
        guarded.judged_on(self._payload(which, self._workload.judging(run_slot).values, run_slot))
        return guarded

    def _prepared(self, which: RuntimeRange, prepare: Callable[[], Prepared]) -> Guarded:
        """As the tier's cache has it, which bounds the memory of all that is prepared."""
        runtime, start, _ = which
        forms = self._workload.forms[start]
        return self._workload.cache.get(
            self._key(which), lambda: Guarded(prepare(), forms, runtime)
        )

    def _key(self, which: RuntimeRange) -> tuple[Any, ...]:
        runtime, start, stop = which
        return (self._workload.id, runtime, start, stop, "batched")

    def _trials(self, which: RuntimeRange, run: Any, run_slot: RunSlot) -> list[JointTrial]:
        """The example, then noise, as they are at the range's first cut."""
        runtime, start, stop = which
        engine, known = self._workload.engine, self._workload.judging(run_slot)
        # A lossy one is compared with itself: whatever it loses, requests get their own answers.
        usual = TORCH if engine.has_eager and not is_lossy(runtime) else runtime
        alone = self._workload.segment(start, stop, usual)
        found: list[JointTrial] = []
        noise = ((trial.name, trial.make()) for trial in known.noise)
        for name, values in ((EXAMPLE, known.values), *noise):
            payload = self._payload(which, values, run_slot)
            if not isinstance(run, Guarded) or run.takes(payload):
                found.append(JointTrial(name, payload, run_slot(partial(alone, payload))))
        if len(found) < 2:
            raise RuntimeUnavailableError(
                "the model takes no noise, so that nothing tells whether requests get their own "
                "answers from one run"
            )
        return found

    def _payload(self, which: RuntimeRange, values: Sequence[Any], run_slot: RunSlot) -> Any:
        """At the range's first cut."""
        runtime, start, _ = which
        if not start:
            return list(values)
        usual = TORCH if self._workload.engine.has_eager else runtime
        before = self._workload.segment(0, start, usual)
        return run_slot(partial(before, list(values)))


def _not_kept() -> Prepared:
    raise RuntimeUnavailableError("it is not kept")
