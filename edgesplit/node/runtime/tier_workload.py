"""One workload on one tier: its program, its payloads' forms, and the ranges prepared for it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgesplit.core.row import TORCH, Row
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.profiler import Forms, profile_layers
from edgesplit.node.program import Program
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.runtime.cache import PreparedCache
from edgesplit.node.runtime.channels_last import ChannelsLastRuntime, has_convolutions
from edgesplit.node.runtime.check import Exactness, compare, eligible
from edgesplit.node.runtime.compiled import CompiledRuntime
from edgesplit.node.runtime.cuda import CudaRuntime
from edgesplit.node.runtime.eager import EagerRuntime
from edgesplit.node.runtime.onnx import OnnxRuntime
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.row import Shape, measure_row
from edgesplit.node.runtime.torch_range import Workload
from edgesplit.node.runtime.value_shapes import value_dependent


@dataclass(eq=False)
class TierWorkload:
    """What the tier runs requests of this workload with.

    forms: of the payload at each cut. cache: the tier's, shared by its workloads. values: a sample
    payload at cut 0, once profile() was given one.
    """

    id: str
    program: Program
    forms: tuple[Forms, ...]
    threads: int
    cache: PreparedCache[Prepared]
    values: Sequence[Any] = ()
    layer_s: tuple[float, ...] = ()
    _runtimes: dict[str, Runtime] = field(default_factory=dict)
    _passed: set[tuple[str, int, int]] = field(default_factory=set)

    def segment(self, start: int, stop: int, runtime: str = TORCH) -> Callable[[Any], list[Any]]:
        """Layers [start, stop) in that runtime, prepared if they are not.

        Raises PlanError, RuntimeUnavailableError.
        """
        if runtime == TORCH:
            return self.program.segment(start, stop)
        made = self._runtime(runtime)
        key = (self.id, runtime, start, stop)
        return self.cache.get(key, lambda: made.prepare(start, stop))

    def profile(self, values: Sequence[Any]) -> tuple[float, ...]:
        """Seconds per layer in eager torch on this thread; `values` stay as the sample."""
        self.values, self.layer_s = values, profile_layers(self.program, values)
        return self.layer_s

    def offer(self, runtime: str, graph: OnnxGraph | None) -> None:
        """Make a runtime available. graph: what `onnx` runs.

        Raises RuntimeUnavailableError where it could give other results than on the sample, or
        could do no better than torch.
        """
        if runtime != TORCH and (names := value_dependent(Workload(self.program, self.forms))):
            raise RuntimeUnavailableError(
                f"shapes in this model depend on values ({', '.join(names)}), and {runtime} is "
                "prepared for those of one input; run this model in torch"
            )
        self._runtimes[runtime] = self._made(runtime, graph)

    def row(self, runtime: str, wanted: Exactness) -> Row:
        """The runtime's seconds per layer, measured on this thread, and its error.

        Raises RuntimeUnavailableError where it cannot run the layers or is too far off.
        """
        n = len(self.program)
        shape = Shape(self.layer_s, tuple(map(_bytes_of, self.forms)))
        row = measure_row(self._runtime(runtime), self.values, self.program.segment(0, n), shape)
        _require(f"{runtime} on the whole model", row.error or 0.0, wanted)
        return row

    def check(self, start: int, stop: int, runtime: str, wanted: Exactness) -> None:
        """Compare a range with eager torch on the sample, once.

        Raises RuntimeUnavailableError where it is too far off.
        """
        if runtime == TORCH or (runtime, start, stop) in self._passed:
            return
        payload = self.program.segment(0, start)(self.values)
        reference, prepared = self.program.segment(start, stop), self.segment(start, stop, runtime)
        error = compare(prepared, reference, payload)
        _require(f"{runtime} on layers {start}-{stop}", error, wanted)
        self._passed.add((runtime, start, stop))

    def _runtime(self, runtime: str) -> Runtime:
        if runtime not in self._runtimes:
            raise RuntimeUnavailableError(
                f"this tier was not offered the runtime {runtime!r}; name it in "
                "Config(runtimes=...)"
            )
        return self._runtimes[runtime]

    def _made(self, runtime: str, graph: OnnxGraph | None) -> Runtime:
        workload = Workload(self.program, self.forms)
        match runtime:
            case "torch-channels-last":
                return _channels_last(workload)
            case "compile":
                return CompiledRuntime(workload, self.threads)
            case "cuda":
                return CudaRuntime(workload)
            case "onnx" if graph is not None:
                return OnnxRuntime(graph, self.program.weights, self.threads)
        return EagerRuntime(self.program)


def _channels_last(workload: Workload) -> ChannelsLastRuntime:
    if not has_convolutions(workload.program):
        raise RuntimeUnavailableError(
            f"no layer convolves images, so {ChannelsLastRuntime.name} would run them as torch "
            "does; run this model in torch"
        )
    return ChannelsLastRuntime(workload)


def _bytes_of(forms: Forms) -> int:
    return sum(getattr(form, "n_bytes", 0) for form in forms)


def _require(what: str, error: float, wanted: Exactness) -> None:
    if not eligible(error, wanted.tolerance, wanted.exact):
        allowed = "nothing" if wanted.exact else f"{wanted.tolerance:g}"
        raise RuntimeUnavailableError(
            f"{what} differs from torch by {error:.1e} (relative), {allowed} is allowed; it is "
            "not used"
        )
