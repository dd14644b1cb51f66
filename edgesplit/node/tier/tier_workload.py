"""One workload on one tier: what runs it there, the ranges prepared for it, how well they do it.

No torch is imported here: what is installed on this host is its engine's matter.
"""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from edgesplit.core.layer_times import TORCH, LayerTimes
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.prepared_cache import PreparedCache
from edgesplit.node.program.run_slot import RunSlot, unslotted
from edgesplit.node.runtime import JointRuntime
from edgesplit.node.runtime.batched import Batched
from edgesplit.node.runtime.check import Exactness, Trial, error_of, require
from edgesplit.node.runtime.engine import Engine
from edgesplit.node.runtime.guard import Guarded
from edgesplit.node.runtime.layout import laid_out
from edgesplit.node.runtime.lossy import judged
from edgesplit.node.runtime.measure import Reference, Shape, look_at, measure_layer_times
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.recheck import Recheck, why_wrong
from edgesplit.node.tier.job import Ran
from edgesplit.node.tier.kept_profiles import KeptProfiles
from edgesplit.node.tier.tier_batches import TierBatches
from edgesplit.node.transport.tensor_form import Forms, TensorForm, payload_bytes

_ENOUGH_S = 0.5  # of comparing one range when it is prepared
# A trial's name, its payload at cut 0, and what eager torch made of it.
_USUAL = Exactness()
GivenTrial = tuple[str, Sequence[Any], Sequence[Any]]


@dataclass(eq=False)
class TierWorkload:
    """What the tier runs requests of this workload with, of whichever sessions.

    cache: the tier's, shared by its workloads. reference: once profile() or expect() was called.
    recheck: the tier's, as the cache. given_up: runtimes
    that were wrong on a request, and how. kept: layer times of earlier sessions of this host.
    provenance: of torch's layer times. graph: what `onnx` runs, once it was offered.
    """

    id: str
    engine: Engine
    cache: PreparedCache[Guarded]
    recheck: Recheck = field(default_factory=Recheck)
    reference: Reference | None = None
    given_up: dict[str, str] = field(default_factory=dict)
    kept: KeptProfiles = field(default_factory=KeptProfiles)
    provenance: str = "measured"
    graph: OnnxGraph | None = None
    _wanted: Exactness = _USUAL
    _runtimes: dict[str, JointRuntime] = field(default_factory=dict)
    _passed: set[tuple[str, int, int]] = field(default_factory=set)
    _noise: tuple[Trial, ...] | None = None
    _choosing: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        self._batches = TierBatches(self)

    @property
    def forms(self) -> tuple[Forms, ...]:
        """Of the payload at each cut 0..n."""
        return self.engine.forms

    @property
    def usual(self) -> str:
        """The runtime to use where none is named: torch, else the first that was offered."""
        return TORCH if self.engine.has_eager else next(iter(self._runtimes), TORCH)

    def segment(self, start: int, stop: int, runtime: str = TORCH) -> Callable[[Any], list[Any]]:
        """Layers [start, stop) in that runtime, prepared if they are not.

        Raises PlanError, RuntimeUnavailableError.
        """
        if runtime == TORCH:
            return self.engine.eager(start, stop)
        return self._guarded(start, stop, runtime)

    def _guarded(self, start: int, stop: int, runtime: str) -> Guarded:
        made, forms = self.offered(runtime), self.forms[start]

        def build() -> Guarded:
            guarded = Guarded(made.prepare(start, stop), forms, runtime)
            if start == 0 and self.reference is not None:
                guarded.judged_on(self.reference.values)
            return guarded

        return self.cache.get((self.id, runtime, start, stop), build)

    def profile(self, values: Sequence[Any], run_slot: RunSlot) -> tuple[float, ...]:
        """Seconds per layer in eager torch, each run in a `turn`; `values` stay as the example.

        Raises RuntimeUnavailableError where there is no torch.
        """
        layer_s = self.engine.profile(values, run_slot)
        self.assume(values, layer_s)
        return layer_s

    def assume(self, values: Sequence[Any], layer_s: tuple[float, ...]) -> None:
        """In place of profile() where torch's seconds per layer here are known."""
        whole = self.engine.eager(0, len(layer_s))
        self.reference = Reference(values, whole, self._shape(layer_s))

    def expect(self, trials: Sequence[GivenTrial], layer_s: Sequence[float]) -> None:
        """In place of profile() without torch: what eager torch made of the example elsewhere.

        trials: first the example, then noise. layer_s: torch's seconds per layer there, of which
        only the shares count.
        """
        example, *noise = (self._given(trial) for trial in trials)
        shape = self._shape(layer_s)
        self.reference = Reference(example.make(), example.run, shape, False, tuple(noise))

    def _given(self, trial: GivenTrial) -> Trial:
        name, values, outputs = trial
        pairs = zip(outputs, self.forms[-1], strict=True)
        expected = [_as_form(output, form) for output, form in pairs]
        return Trial(name, lambda: values, lambda _: expected)

    def offer(self, runtime: str, graph: OnnxGraph | None, wanted: Exactness = _USUAL) -> None:
        """Make a runtime available. graph: what `onnx` runs. wanted: of real answers.

        Raises RuntimeUnavailableError where it could give other results than on the example, or
        could do no better than torch.
        """
        self._require_trusted(runtime)
        self._wanted = wanted
        self._runtimes[runtime] = self.engine.runtime(runtime, graph)
        self.graph = graph or self.graph

    def measure_runtime(self, runtime: str, wanted: Exactness, run_slot: RunSlot) -> LayerTimes:
        """The runtime's seconds per layer, every run in a `turn` of its own, and its error.

        Raises RuntimeUnavailableError where it cannot run the layers or is too far off.
        """
        known = replace(self.judging(run_slot), wanted=judged([runtime], wanted))
        times = measure_layer_times(self.offered(runtime), known, run_slot)
        self._require_trusted(runtime)
        return times

    def look_at(self, runtime: str, wanted: Exactness, run_slot: RunSlot) -> tuple[float, float]:
        """Seconds of the whole model in a runtime that was measured before, and its error now.

        Raises RuntimeUnavailableError as measure_runtime().
        """
        assert self.reference is not None, "profile() or expect() comes first"
        known = replace(self.reference, wanted=judged([runtime], wanted))
        seconds = look_at(self.offered(runtime), known, run_slot)
        self._require_trusted(runtime)
        return seconds

    def check(
        self, start: int, stop: int, runtime: str, wanted: Exactness, run_slot: RunSlot = unslotted
    ) -> None:
        """Compare a range with eager torch, once: on noise, on the example, as time allows.

        Without torch nothing is known of the payloads between; measure_runtime() has compared the
        whole model there, and the model in chunks. Raises RuntimeUnavailableError where it is too
        far off.
        """
        is_known = runtime == TORCH or (runtime, start, stop) in self._passed
        if is_known or self.reference is None or not self.engine.has_eager:
            return
        before, reference = self.engine.eager(0, start), self.engine.eager(start, stop)
        prepared = self._guarded(start, stop, runtime)
        prepared.judged_on(run_slot(partial(before, self.reference.values)))
        wanted = judged([runtime], wanted)
        until_s = time.perf_counter() + _ENOUGH_S
        for trial in self.judging(run_slot).trials:
            payload = run_slot(partial(before, trial.make()))
            if not prepared.takes(payload):
                continue  # nor will it be given such
            expected = run_slot(partial(reference, payload))
            made = run_slot(partial(prepared, payload))
            error = error_of(made, expected, wanted)
            require(f"{runtime} on layers {start}-{stop}", trial.name, error, wanted)
            if time.perf_counter() > until_s:
                break
        self._passed.add((runtime, start, stop))

    def batch(self, start: int, stop: int, runtime: str = TORCH) -> Batched | None:
        """The range for several requests at once; None where none was found to gain. Quick.

        What it raises for some payloads, it need not raise for each of them alone: run them so.
        """
        return self._batches.ready((runtime, start, stop))

    def measure_batch(
        self, start: int, stop: int, runtime: str, wanted: Exactness, run_slot: RunSlot
    ) -> None:
        """Find out whether several requests at once gain on a prepared range; after profile().

        From a thread of its own, once requests wait for the same range: it takes seconds, in run
        slots. Nothing happens where it is known already, is being measured, or has to be exact.
        """
        self._batches.measure((runtime, start, stop), wanted, run_slot)

    def why_alone(self, start: int, stop: int, runtime: str = TORCH) -> str:
        """Why that range runs one request at a time; empty where nobody has looked yet."""
        return self._batches.why_alone((runtime, start, stop))

    def ran(self, ran: Ran) -> None:
        """Layers that a request had run in another way: now and then compared with torch's.

        What was wrong in a batch is run one request at a time from then on. Not where there is no
        torch: the sender of the request does that. Returns at once.
        """
        can_tell = ran.start < ran.stop and self.engine.has_eager
        if can_tell and self.recheck.is_due(ran.compute_s):
            self.recheck.do(partial(self._compare, ran))

    def _compare(self, ran: Ran) -> None:
        what = f"{ran.runtime} on layers {ran.start}-{ran.stop}"
        wanted = judged([ran.runtime], self._wanted)
        why = why_wrong(what, ran.made, partial(self._eagerly, ran), wanted)
        if why and ran.requests > 1:
            self._batches.give_up((ran.runtime, ran.start, ran.stop), why)
        elif why:
            self.give_up(ran.runtime, why)

    def _eagerly(self, ran: Ran) -> Sequence[Any]:
        return self.engine.eager(ran.start, ran.stop)(ran.given)

    def give_up(self, runtime: str, why: str) -> None:
        """Stop using that runtime from now on; its ranges are dropped."""
        if runtime not in self.given_up:
            self.given_up[runtime] = why
            self.kept.drop(runtime)  # the next session judges it anew
            self._runtimes.pop(runtime, None)
            self._batches.drop(runtime)
            self.cache.drop(lambda key: isinstance(key, tuple) and key[:2] == (self.id, runtime))

    def drop_prepared(self) -> None:
        """Keep no prepared range of it any more."""
        self.cache.drop(lambda key: isinstance(key, tuple) and key[0] == self.id)

    def judging(self, run_slot: RunSlot) -> Reference:
        """The reference with the noise that runtimes are judged on, chosen once."""
        known = self.reference
        assert known is not None, "profile() or expect() comes first"
        if not self.engine.has_eager:
            return known
        with self._choosing:
            if self._noise is None:
                self._noise = self.engine.noise(known.values, run_slot)
            return replace(known, noise=self._noise)

    def _shape(self, layer_s: Sequence[float]) -> Shape:
        return Shape(tuple(layer_s), tuple(map(payload_bytes, self.forms)))

    def _require_trusted(self, runtime: str) -> None:
        if runtime in self.given_up:
            raise RuntimeUnavailableError(self.given_up[runtime])

    def offered(self, runtime: str) -> JointRuntime:
        """What runs ranges in it. Raises RuntimeUnavailableError where it was not offered."""
        self._require_trusted(runtime)
        if runtime not in self._runtimes:
            raise RuntimeUnavailableError(
                f"this tier was not offered the runtime {runtime!r}; name it in "
                "Config(runtimes=...)"
            )
        return self._runtimes[runtime]


def _as_form(value: Any, form: Any) -> Any:
    """An output as torch leaves it; it travelled without gaps or overlap in memory."""
    return laid_out(value, form.strides) if isinstance(form, TensorForm) else value
