"""cuda: ranges on an NVIDIA GPU. The payload's way there and back is part of every run.

Each range holds its weights on the GPU and is recorded once as a CUDA graph, so that a run is one
launch between two copies through pinned memory. TF32 is off: its error is 1e-3.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import fx

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.program import value_bytes
from edgesplit.node.program.segment import Segment, Value
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.program.structure import Layer, Structure, map_leaves
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.runtime.torch_range import TorchRange, in_any_layout, tried
from edgesplit.node.transport.tensor_form import Form, Forms, TensorForm
from edgesplit.node.transport.tensors import dtype_of

_WARM_UPS = 3


def missing() -> str:
    """Why this host cannot run ranges on a GPU and what to do; empty if it can."""
    if torch.cuda.is_available():
        return ""
    if torch.version.cuda is None:
        return "this torch is built for the CPU only; install a CUDA build of torch"
    return "torch finds no NVIDIA GPU here; check the driver with nvidia-smi"


def make(engine: TorchEngine, graph: OnnxGraph | None) -> "CudaRuntime":
    """The engine's workload."""
    return CudaRuntime(engine.workload)


class CudaRuntime:
    """The layers of one program for payloads of one form, on one GPU."""

    name = "cuda"

    def __init__(self, workload: ShapedProgram) -> None:
        self._workload, self._device = workload, torch.device("cuda")

    def prepare(self, start: int, stop: int) -> TorchRange | Segment:
        """Layers [start, stop) with their weights on the GPU. Raises as Runtime.prepare."""
        made = self._workload.made(start, stop)
        if not made:
            return self._workload.program.segment(start, stop)
        if why := missing():
            raise RuntimeUnavailableError(f"layers {start}-{stop} in {self.name}: {why}")
        by_number = dict(
            zip(self._workload.program.live_values(stop), self._workload.forms[stop], strict=True)
        )
        forms = (self._workload.forms[start], tuple(by_number[number] for number in made))
        try:
            module, weight_bytes = module_on(self._workload, (start, stop), self._device)
            run = _GpuRun(module, forms, self._device)
            run.record()
        except RuntimeError as error:  # torch.cuda.OutOfMemoryError among others
            raise RuntimeUnavailableError(
                f"layers {start}-{stop} fail on {self._device}: {str(error)[:300]}; run them on "
                "the CPU"
            ) from error
        n_bytes = weight_bytes + run.buffer_bytes
        prepared = TorchRange(self._workload, (start, stop), run, n_bytes)
        return tried(self._workload, prepared, self.name)

    def prepare_batched(
        self, start: int, stop: int, axes: Sequence[int | None]
    ) -> TorchRange | Segment:
        """Raises RuntimeUnavailableError: its graph is recorded for the payload of one request."""
        raise RuntimeUnavailableError(
            f"layers {start}-{stop} in {self.name} run one request at a time: "
            "its graph is recorded for the payload of one"
        )


def module_on(
    workload: ShapedProgram, bounds: tuple[int, int], device: torch.device
) -> tuple[fx.GraphModule, int]:
    """The range as a module on `device`, and the bytes of its weights there.

    Raises RuntimeUnavailableError where the range holds for the CPU's layouts only: attention on a
    GPU, for one, leaves its result in another.
    """
    weights = list(workload.program.weights)
    read = workload.weights_read(*bounds)
    for index in read:
        weights[index] = weights[index].detach().to(device)
    layers = on_device(in_any_layout(workload, *bounds), device)
    module = workload.module(bounds, layers, weights)
    return module, sum(value_bytes(weights[index]) for index in read)


def on_device(layers: Sequence[Layer], device: torch.device) -> tuple[Layer, ...]:
    """The layers with what they create on the CPU, such as aten.arange, created on `device`."""

    def leaf(value: Any) -> Any:
        if isinstance(value, Structure):
            return replace(value, layers=on_device(value.layers, device))
        return device if isinstance(value, torch.device) else value

    def op(op: Any) -> Any:
        return replace(op, args=map_leaves(leaf, op.args), kwargs=map_leaves(leaf, op.kwargs))

    return tuple(replace(layer, ops=tuple(map(op, layer.ops))) for layer in layers)


@dataclass(frozen=True)
class _Buffer:
    """One tensor's place on the GPU, and pinned memory for the copies to and from it."""

    gpu: torch.Tensor
    host: torch.Tensor

    @classmethod
    def like(cls, form: TensorForm, device: torch.device) -> "_Buffer":
        """Of the form's shape and dtype; plain layout, or the form's where that is dense."""
        dtype = dtype_of(form.dtype)
        memory = torch.empty_strided(form.shape, form.strides, dtype=dtype, device="meta")
        gpu = torch.empty_like(memory, device=device)
        host = torch.empty_strided(gpu.shape, gpu.stride(), dtype=dtype, pin_memory=True)
        return cls(gpu, host)


class _GpuRun:
    """The module between two copies. Its buffers are one set, so runs wait for each other."""

    def __init__(
        self, module: fx.GraphModule, forms: tuple[Forms, Forms], device: torch.device
    ) -> None:
        self._module, self._device = module, device
        self._given = [_buffer(form, device) for form in forms[0]]
        self._made = [_buffer(form, device) for form in forms[1]]
        self._graph: torch.cuda.CUDAGraph | None = None
        self._lock = threading.Lock()

    @property
    def buffer_bytes(self) -> int:
        """Of the buffers, on the GPU and pinned; what torch allocates between them comes on top."""
        buffers = [b for b in (*self._given, *self._made) if isinstance(b, _Buffer)]
        return 2 * sum(value_bytes(buffer.gpu) for buffer in buffers)

    def record(self) -> None:
        """Warm up, then record a CUDA graph; without one where an operator cannot be recorded."""
        stream = torch.cuda.Stream(self._device)  # type: ignore[no-untyped-call]
        with torch.cuda.stream(stream), torch.inference_mode():
            for buffer in self._given:
                if isinstance(buffer, _Buffer):
                    buffer.gpu.zero_()
            for _ in range(_WARM_UPS):
                self._compute()
            stream.synchronize()
            graph = torch.cuda.CUDAGraph()
            try:
                # Of this thread only: others go on using the GPU meanwhile.
                with torch.cuda.graph(graph, stream=stream, capture_error_mode="thread_local"):
                    self._compute()
            except RuntimeError:  # it waits for the GPU halfway, as torch.cond does
                torch.cuda.synchronize(self._device)
                return
        self._graph = graph

    def __call__(self, *values: Value) -> list[Value]:
        """What the module makes of the values, in memory of its own."""
        with self._lock, torch.cuda.device(self._device):
            for buffer, value in zip(self._given, values, strict=True):
                if isinstance(buffer, _Buffer) and isinstance(value, torch.Tensor):
                    buffer.host.copy_(value)
                    buffer.gpu.copy_(buffer.host, non_blocking=True)
            if self._graph is None:
                self._compute()
            else:
                self._graph.replay()
            made = [b for b in self._made if isinstance(b, _Buffer)]
            for buffer in made:
                buffer.host.copy_(buffer.gpu, non_blocking=True)
            torch.cuda.current_stream().synchronize()
            return [b.host.clone() if isinstance(b, _Buffer) else b for b in self._made]

    def _compute(self) -> None:
        """From the given buffers on the GPU to the made ones."""
        values = [b.gpu if isinstance(b, _Buffer) else b for b in self._given]
        with in_full_precision():
            results = self._module.forward(*values)
        for buffer, result in zip(self._made, results, strict=True):
            if isinstance(buffer, _Buffer):
                buffer.gpu.copy_(result)


def _buffer(form: Form, device: torch.device) -> _Buffer | bool | int | float:
    return _Buffer.like(form, device) if isinstance(form, TensorForm) else form


@contextmanager
def in_full_precision() -> Iterator[None]:
    matmul = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            yield
    finally:
        torch.backends.cuda.matmul.allow_tf32 = matmul
