"""compile: ranges turned into machine code by torch's Inductor. Asked for by name only.

A range takes 5-60 s to compile, and needs a C++ compiler on the tier. What was compiled once is
found again in Inductor's own cache on disk.
"""

import os
import shutil
import stat
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.segment import Segment, Value
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.runtime.onnx_graph import OnnxGraph
from edgesplit.node.runtime.torch_engine import TorchEngine
from edgesplit.node.runtime.torch_range import TorchRange, tried
from edgesplit.node.runtime.trial import dummy_payload

_COMPILERS = ("g++", "clang++", "c++")
# Inductor's settings belong to the process, so one range of the process is compiled at a time.
_compiling = threading.Lock()


def missing() -> str:
    """Why this host cannot compile and what to do; empty if it can."""
    if not any(map(shutil.which, _COMPILERS)):
        return f"no C++ compiler ({', '.join(_COMPILERS)}) is on the PATH; apt install g++"
    return _foreign_cache()


def _foreign_cache() -> str:
    """Why the folder from which torch loads compiled code may hold somebody else's; else empty.

    By default it has a name in the temp folder that everybody knows, and may make first.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    folder = cache_dir()
    found = os.lstat(folder)
    if stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o022:
        return ""
    return (
        f"{folder}, from which torch takes compiled code, can be written by others; point "
        "TORCHINDUCTOR_CACHE_DIR to a folder of your own"
    )


def make(engine: TorchEngine, graph: OnnxGraph | None) -> "CompiledRuntime":
    """The engine's workload."""
    return CompiledRuntime(engine.workload, engine.threads)


class CompiledRuntime:
    """The layers of one program for payloads of one form. threads: baked into the code."""

    name = "compile"

    def __init__(self, workload: ShapedProgram, threads: int) -> None:
        self._workload, self._threads = workload, threads

    def prepare(self, start: int, stop: int) -> TorchRange | Segment:
        """Layers [start, stop), compiled: 5-60 s. Raises as Runtime.prepare."""
        layers = self._workload.layers(start, stop)
        if not self._workload.made(start, stop):
            return self._workload.program.segment(start, stop)
        if why := missing():
            raise RuntimeUnavailableError(f"layers {start}-{stop} in {self.name}: {why}")
        module = self._workload.module((start, stop), layers, self._workload.program.weights)
        payload = dummy_payload(self._workload.forms[start])
        run = self._compiled(module, payload)
        # The weights are shared, and its code of some 100 KB is not counted.
        prepared = TorchRange(self._workload, (start, stop), run, n_bytes=0)
        return tried(self._workload, prepared, self.name)

    def prepare_batched(
        self, start: int, stop: int, axes: Sequence[int | None]
    ) -> TorchRange | Segment:
        """Raises RuntimeUnavailableError: its code is compiled for the payload of one request."""
        raise RuntimeUnavailableError(
            f"layers {start}-{stop} in {self.name} run one request at a time: "
            "its code is compiled for the payload of one"
        )

    def _compiled(self, module: Any, payload: Sequence[Value]) -> Callable[..., Sequence[Value]]:
        """The module as machine code, without Dynamo, whose guards would compile it again on
        another thread."""
        from torch._inductor import compile as inductor
        from torch._inductor import config

        threads = config.patch({"cpp.threads": self._threads})
        inputs: list[Any] = list(payload)
        try:
            with _compiling, threads, torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run: Callable[..., Sequence[Value]] = inductor(module, inputs)
        except Exception as error:  # Inductor, and the compiler it calls, raise anything
            raise RuntimeUnavailableError(
                f"torch cannot compile these layers: {type(error).__name__}: {str(error)[:300]}; "
                "run them in torch"
            ) from error
        return run
