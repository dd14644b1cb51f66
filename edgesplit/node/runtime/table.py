"""The runtimes: one line each. The only place, beside a runtime's own file, that names them.

A runtime's file is imported when it is asked for. Its make(engine, graph) gives the Runtime of an
engine's workload; where it needs more than torch, missing() says why this host cannot use it.
"""

import importlib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgesplit.core.layer_times import TORCH
from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.runtime import JointRuntime
from edgesplit.node.transport.tensor_kind import has_torch

if TYPE_CHECKING:
    from edgesplit.node.runtime.engine import Engine
    from edgesplit.node.runtime.onnx_graph import OnnxGraph

_NO_TORCH = "it needs torch, which is not installed here"


@dataclass(frozen=True)
class KnownRuntime:
    """A runtime as plans name it. module: its file; empty for eager torch, an engine's own.

    brings: what mends that something beside torch is missing; empty where nothing else is needed.
    needs_graph: it runs the program's ONNX graph. is_default: wanted unless others are named.
    is_lossy: its results differ from torch's by more than rounding: used where a loss is granted.
    """

    name: str
    module: str = ""
    brings: str = ""
    needs_torch: bool = True
    needs_graph: bool = False
    is_default: bool = False
    is_lossy: bool = False

    def missing(self) -> str:
        """Why this host cannot use it and what to do; empty if it can."""
        if self.needs_torch and not has_torch():
            return _NO_TORCH
        return str(self._file().missing()) if self.brings else ""

    def make(self, engine: "Engine", graph: "OnnxGraph | None") -> JointRuntime:
        """What runs ranges of the engine's workload in it. Raises RuntimeUnavailableError."""
        if not self.module or (self.needs_graph and graph is None):
            raise RuntimeUnavailableError(
                f"no runtime {self.name!r} can be made here; run it in torch"
            )
        made: JointRuntime = self._file().make(engine, graph)
        return made

    def _file(self) -> Any:
        return importlib.import_module(self.module)


def _by_name(known: Iterable[KnownRuntime]) -> dict[str, KnownRuntime]:
    return {one.name: one for one in known}


_HERE = "edgesplit.node.runtime"
# In the order in which they are measured and listed.
RUNTIMES = _by_name([
    KnownRuntime(TORCH, is_default=True),
    KnownRuntime("torch-channels-last", f"{_HERE}.channels_last"),
    KnownRuntime(
        "onnx", f"{_HERE}.onnx", "`pip install onnx onnxruntime`",
        needs_torch=False, needs_graph=True, is_default=True,
    ),
    KnownRuntime(
        "onnx-int8", f"{_HERE}.onnx_int8", "`pip install onnx onnxruntime`",
        needs_torch=False, needs_graph=True, is_lossy=True,
    ),
    KnownRuntime(
        "compile", f"{_HERE}.compiled",
        "torch (`pip install 'edgesplit[full]'`) and a C++ compiler (`apt install g++`)",
    ),
    KnownRuntime(
        "cuda", f"{_HERE}.cuda",
        "an NVIDIA GPU with its driver (`nvidia-smi` shows it), and a build of torch for CUDA",
    ),
])  # fmt: skip


def known_runtime(name: str) -> KnownRuntime:
    """The runtime of that name. Raises RuntimeUnavailableError where there is none."""
    if name not in RUNTIMES:
        raise RuntimeUnavailableError(f"no runtime {name!r} can be made here; run it in torch")
    return RUNTIMES[name]


def without_torch() -> tuple[str, ...]:
    """Names of those that a host without torch may have."""
    return tuple(name for name, one in RUNTIMES.items() if not one.needs_torch)
