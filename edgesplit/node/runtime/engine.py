"""The interface of a tier's workload to what is installed there: torch or not. No torch here.

torch_engine.py is for hosts with torch, array_engine.py for those without.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from edgesplit.node.program.run_slot import RunSlot
from edgesplit.node.runtime import JointRuntime, Prepared
from edgesplit.node.runtime.check import Trial
from edgesplit.node.transport.tensor_form import Forms

if TYPE_CHECKING:
    from edgesplit.node.runtime.onnx_graph import OnnxGraph


class Engine(Protocol):
    """One program, for payloads of one form, as this host can compute it."""

    @property
    def has_eager(self) -> bool:
        """Whether eager torch, which other runtimes are compared with, is here."""

    @property
    def forms(self) -> tuple[Forms, ...]:
        """Of the payload at each cut 0..n."""

    @property
    def threads(self) -> int:
        """Of a runtime with threads of its own."""

    @property
    def flushes_denormals(self) -> bool:
        """Whether numbers below some 1e-38 count as 0."""

    @property
    def weights(self) -> Sequence[Any]:
        """All of the program's, in its order, as tensors or arrays."""

    def eager(self, start: int, stop: int) -> Prepared:
        """Layers [start, stop) in eager torch; an empty range on any host.

        Raises PlanError, and RuntimeUnavailableError where there is no torch.
        """

    def profile(self, values: Sequence[Any], run_slot: RunSlot) -> tuple[float, ...]:
        """Seconds per layer in eager torch for the payload `values` at cut 0, runs in turns.

        Raises RuntimeUnavailableError where there is no torch.
        """

    def noise(self, values: Sequence[Any], run_slot: RunSlot) -> tuple[Trial, ...]:
        """What runtimes are judged on beside `values`, as node/runtime/noise.py chooses it.

        Nothing where there is no torch: it comes from elsewhere.
        """

    def forms_of_two(self, graph: "OnnxGraph | None", run_slot: RunSlot) -> tuple[Forms, ...]:
        """Of the payload at each cut 0..n for two requests side by side. graph: what `onnx` runs.

        Found by one run where there is torch, else from the graph. Raises RuntimeUnavailableError
        for a program that cannot be run for two at once, or might mix them.
        """

    def runtime(self, name: str, graph: "OnnxGraph | None") -> JointRuntime:
        """What runs ranges in that runtime, which is not eager torch. graph: what `onnx` runs.

        Raises RuntimeUnavailableError for one that needs what is not here.
        """
