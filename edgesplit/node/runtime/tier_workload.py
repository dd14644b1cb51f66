"""One workload on one tier: what runs it there, the ranges prepared for it, how well they do it.

No torch is imported here: what is installed on this host is its engine's matter.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from edgesplit.core.row import TORCH, Row
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.form import Forms, TensorForm, payload_bytes
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.runtime.cache import PreparedCache
from edgesplit.node.runtime.check import Exactness, compare, eligible
from edgesplit.node.runtime.engine import Engine
from edgesplit.node.runtime.layout import laid_out
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.row import Reference, Shape, measure_row
from edgesplit.node.turn import Turn


@dataclass(eq=False)
class TierWorkload:
    """What the tier runs requests of this workload with.

    cache: the tier's, shared by its workloads. reference: once profile() or expect() was called;
    slowdown: the emulated one when it was.
    """

    id: str
    engine: Engine
    cache: PreparedCache[Prepared]
    reference: Reference | None = None
    slowdown: float = 1.0
    _runtimes: dict[str, Runtime] = field(default_factory=dict)
    _passed: set[tuple[str, int, int]] = field(default_factory=set)

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
        made = self._runtime(runtime)
        key = (self.id, runtime, start, stop)
        return self.cache.get(key, lambda: made.prepare(start, stop))

    def profile(self, values: Sequence[Any], turn: Turn) -> tuple[float, ...]:
        """Seconds per layer in eager torch, each run in a `turn`; `values` stay as the sample.

        Raises RuntimeUnavailableError where there is no torch.
        """
        layer_s = self.engine.profile(values, turn)
        whole = self.engine.eager(0, len(layer_s))
        self.reference = Reference(values, whole, self._shape(layer_s))
        return layer_s

    def expect(
        self, values: Sequence[Any], outputs: Sequence[Any], layer_s: Sequence[float]
    ) -> None:
        """In place of profile() without torch: what eager torch made of `values` elsewhere.

        layer_s: its seconds per layer there, of which only the shares count.
        """
        forms = self.forms[-1]
        expected = [_as_form(out, form) for out, form in zip(outputs, forms, strict=True)]
        self.reference = Reference(values, lambda _: expected, self._shape(layer_s), False)

    def offer(self, runtime: str, graph: OnnxGraph | None) -> None:
        """Make a runtime available. graph: what `onnx` runs.

        Raises RuntimeUnavailableError where it could give other results than on the sample, or
        could do no better than torch.
        """
        self._runtimes[runtime] = self.engine.runtime(runtime, graph)

    def row(self, runtime: str, wanted: Exactness, turn: Turn) -> Row:
        """The runtime's seconds per layer, every run in a `turn` of its own, and its error.

        Raises RuntimeUnavailableError where it cannot run the layers or is too far off.
        """
        known = self.reference
        assert known is not None, "profile() or expect() comes first"
        row = measure_row(self._runtime(runtime), known, turn)
        _require(f"{runtime} on the whole model", row.error or 0.0, wanted)
        return row

    def check(self, start: int, stop: int, runtime: str, wanted: Exactness) -> None:
        """Compare a range with eager torch on the sample, once.

        Without torch nothing is known of the payloads between; row() has compared the whole model
        there, and the model in chunks. Raises RuntimeUnavailableError where it is too far off.
        """
        is_known = runtime == TORCH or (runtime, start, stop) in self._passed
        if is_known or self.reference is None or not self.engine.has_eager:
            return
        payload = self.engine.eager(0, start)(self.reference.values)
        reference, prepared = self.engine.eager(start, stop), self.segment(start, stop, runtime)
        error = compare(prepared, reference, payload)
        _require(f"{runtime} on layers {start}-{stop}", error, wanted)
        self._passed.add((runtime, start, stop))

    def _shape(self, layer_s: Sequence[float]) -> Shape:
        return Shape(tuple(layer_s), tuple(map(payload_bytes, self.forms)))

    def _runtime(self, runtime: str) -> Runtime:
        if runtime not in self._runtimes:
            raise RuntimeUnavailableError(
                f"this tier was not offered the runtime {runtime!r}; name it in "
                "Config(runtimes=...)"
            )
        return self._runtimes[runtime]


def _as_form(value: Any, form: Any) -> Any:
    """An output as torch leaves it; it travelled without gaps or overlap in memory."""
    return laid_out(value, form.strides) if isinstance(form, TensorForm) else value


def _require(what: str, error: float, wanted: Exactness) -> None:
    if not eligible(error, wanted.tolerance, wanted.exact):
        allowed = "nothing" if wanted.exact else f"{wanted.tolerance:g}"
        raise RuntimeUnavailableError(
            f"{what} differs from torch by {error:.1e} (relative), {allowed} is allowed; it is "
            "not used"
        )
