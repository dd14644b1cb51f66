"""Ranges of layers in ONNX Runtime, from the graph of onnx_graph.py and the program's weights.

Works without torch, on numpy arrays: what comes in, torch's tensors or arrays, is what goes out.
ONNX Runtime fuses freely within a range, so results agree with torch's only up to rounding.
"""

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from functools import cached_property
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.errors import RequestError, RuntimeUnavailableError
from edgesplit.node.process.allocator import return_free_memory
from edgesplit.node.process.headroom import IN_TORCH, require_headroom
from edgesplit.node.runtime.engine import Engine
from edgesplit.node.runtime.layout import fits, laid_out
from edgesplit.node.runtime.onnx_batch import for_any_batch
from edgesplit.node.runtime.onnx_graph import Cutter, GraphCutter, OnnxGraph, value_name
from edgesplit.node.transport.tensor_form import TensorForm

_PACKAGES = ("onnx", "onnxruntime")
_PROVIDERS = ("CPUExecutionProvider",)
_SILENT = 4
_ERRORS = (
    *("EngineError", "EPFail", "Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf"),
    *("NoModel", "NotImplemented", "RuntimeException"),
)


def missing() -> str:
    """Why this host cannot run ranges in ONNX Runtime and what to do; empty if it can."""
    names = [name for name in _PACKAGES if importlib.util.find_spec(name) is None]
    if not names:
        return ""
    return f"{' and '.join(names)} is not installed here; pip install {' '.join(names)}"


def make(engine: Engine, graph: OnnxGraph) -> "OnnxRuntime":
    """The engine's program as `graph` has it. Raises WireError."""
    return OnnxRuntime(graph, engine.weights, engine.threads, engine.flushes_denormals)


class OnnxRuntime:
    """The layers of one program for payloads of one form.

    weights: all of the program's, in its order, as tensors or arrays; not copied if contiguous.
    threads: of ONNX Runtime's own pool, per range. flushes: whether denormals count as 0.
    """

    name = "onnx"

    def __init__(
        self, graph: OnnxGraph, weights: Sequence[Any], threads: int, flushes: bool = False
    ) -> None:
        self._graph, self._weights = graph, weights
        self._threads, self._flushes = threads, flushes

    def prepare(self, start: int, stop: int) -> "OnnxRange":
        """Layers [start, stop) as a session of its own: 0.02-2 s. Raises as Runtime.prepare."""
        return OnnxRange(self._graph, (start, stop), *self._built(start, stop))

    def prepare_batched(
        self, start: int, stop: int, axes: Sequence[int | None]
    ) -> "BatchedOnnxRange":
        """As Runtime.prepare_batched: a session beside that for one, with weights of its own."""
        built = self._built(start, stop, axes)
        return BatchedOnnxRange(self._graph, (start, stop), *built)

    def _built(
        self, start: int, stop: int, axes: Sequence[int | None] | None = None
    ) -> tuple[Any, int]:
        """The session, None where nothing is computed, and its bytes. axes: of a batch."""
        made = self._graph.tensors_between(start, stop)
        if why := missing():
            raise RuntimeUnavailableError(f"layers {start}-{stop} in {self.name}: {why}")
        if not made:
            return None, 0
        given = [value_name(number) for number in self._graph.live_values[start]]
        model = self._cutter.cut(given, [value_name(number) for number in made])
        if axes is not None:
            model = for_any_batch(model, dict(zip(given, axes, strict=True)))
        needed = {tensor.name for tensor in model.graph.initializer}
        weights = {
            name: np.ascontiguousarray(_array(self._weights[index]))
            for name, index in self._graph.weights
            if name in needed
        }
        weight_bytes = sum(array.nbytes for array in weights.values())
        # Packed anew, and once more while the session is built.
        require_headroom(
            2 * weight_bytes, f"building layers {start}-{stop} in {self.name}", IN_TORCH
        )
        session = self._session(model.SerializeToString(), weights)
        # Building leaves up to three times the weights in free lists: 202 MB of growth for 47 MB
        # of convolutions, 53 MB after this.
        return_free_memory()
        packed_bytes = self._packed_bytes(weight_bytes)
        return session, model.ByteSize() + packed_bytes + self._graph.peak_bytes(start, stop)

    def _packed_bytes(self, weight_bytes: int) -> int:
        """Of weights as a session keeps them."""
        return weight_bytes

    @cached_property
    def _cutter(self) -> Cutter:
        import onnx

        return GraphCutter(onnx.load_model_from_string(self._graph.model))

    def _session(self, model: bytes, weights: dict[str, NDArray[Any]]) -> Any:
        ort: Any = importlib.import_module("onnxruntime")
        options = self._options(ort)
        values = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
        options.add_external_initializers(list(weights), values)
        try:
            return ort.InferenceSession(model, options, providers=list(_PROVIDERS))
        except _errors(ort) as error:
            raise RuntimeUnavailableError(
                f"ONNX Runtime cannot load these layers: {error}; run them in torch"
            ) from error

    def _options(self, ort: ModuleType) -> Any:
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = self._threads, 1
        options.log_severity_level = _SILENT
        # Threads that spin between requests would take the core from other threads on it.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        flushes = str(int(self._flushes))
        options.add_session_config_entry("session.set_denormal_as_zero", flushes)
        return options


class OnnxRange:
    """Layers [start, stop) in one session of ONNX Runtime."""

    def __init__(
        self, graph: OnnxGraph, bounds: tuple[int, int], session: Any, n_bytes: int
    ) -> None:
        self.start, self.stop = bounds
        self._n_bytes = n_bytes
        self._session = session
        self._given = [(number, graph.forms[number]) for number in graph.live_values[self.start]]
        self._wanted = [(number, graph.forms[number]) for number in graph.live_values[self.stop]]
        made = graph.tensors_between(*bounds)
        self._made = [(number, graph.forms[number]) for number in made]
        self._outputs = [value_name(number) for number in made]
        self._feeds = {value.name for value in session.get_inputs()} if session else set()

    @property
    def n_bytes(self) -> int:
        """An estimate: the weights it reads, since ONNX Runtime packs them anew, and what is alive.

        Measured as resident memory of a whole VGG-16: 584 MB, estimated 579 (MobileNetV2 25, 24);
        while the session is built, the weights' bytes come on top once more.
        """
        return self._n_bytes

    def __call__(self, values: Sequence[Any]) -> list[Any]:
        """The payload at `stop`. Raises as Prepared."""
        known = self._checked(values)
        if self._session is not None:
            is_torch = any(hasattr(value, "data_ptr") for value in values)
            for (number, form), array in zip(self._made, self._run(known), strict=True):
                assert isinstance(form, TensorForm)
                array = self._as_expected(array, form)
                known[number] = sys.modules["torch"].from_numpy(array) if is_torch else array
        return [known.get(number, form) for number, form in self._wanted]

    def _as_expected(self, array: NDArray[Any], form: TensorForm) -> NDArray[Any]:
        if array.shape != form.shape:
            raise RuntimeUnavailableError(
                f"range {self.start}-{self.stop} was exported to ONNX for a result like "
                f"{form}, which has the shape {array.shape}; run it in torch"
            )
        return laid_out(array, form.strides)

    def _run(self, known: dict[int, Any]) -> list[NDArray[Any]]:
        """The outputs as arrays. Plain run: up to 1 MB, quicker than an IO binding."""
        feeds = {
            name: _array(value)
            for number, value in known.items()
            if (name := value_name(number)) in self._feeds
        }
        try:
            return self._session.run(self._outputs, feeds)  # type: ignore[no-any-return]
        except _errors(sys.modules["onnxruntime"]) as error:
            raise RequestError(f"layers {self.start}-{self.stop}: {error}") from error

    def _checked(self, values: Sequence[Any]) -> dict[int, Any]:
        """The values by number."""
        self._count(values)
        for (_, form), value in zip(self._given, values, strict=True):
            if not fits(form, value):
                raise RuntimeUnavailableError(
                    f"range {self.start}-{self.stop} was exported to ONNX for {form}, given "
                    f"{_describe(value)}; export a graph for this input or run it in torch"
                )
        return {number: value for (number, _), value in zip(self._given, values, strict=True)}

    def _count(self, values: Sequence[Any]) -> None:
        if len(values) != len(self._given):
            raise RequestError(
                f"range {self.start}-{self.stop} takes {len(self._given)} values, "
                f"given {len(values)}; the payload belongs to another cut or program"
            )


class BatchedOnnxRange(OnnxRange):
    """The same for payloads of several requests side by side."""

    def _as_expected(self, array: NDArray[Any], form: TensorForm) -> NDArray[Any]:
        return array

    def _checked(self, values: Sequence[Any]) -> dict[int, Any]:
        self._count(values)
        return {number: value for (number, _), value in zip(self._given, values, strict=True)}


def _array(value: Any) -> NDArray[Any]:
    """The value as an array that shares its memory."""
    if isinstance(value, np.ndarray):
        return value
    array: NDArray[Any] = value.detach().numpy()
    return array


def _describe(value: Any) -> str:
    shape = getattr(value, "shape", None)
    return repr(value)[:40] if shape is None else f"{value.dtype} of shape {tuple(shape)}"


def _errors(ort: ModuleType) -> tuple[type[Exception], ...]:
    """ONNX Runtime's own exceptions, which have no root of their own."""
    state = ort.capi.onnxruntime_pybind11_state
    return tuple(getattr(state, name) for name in _ERRORS)
