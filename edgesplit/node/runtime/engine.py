"""The seam between a tier's workload and what is installed there: torch or not. No torch here.

torch_engine.py is for hosts with torch, array_engine.py for those without.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from edgesplit.node.form import Forms
from edgesplit.node.runtime import Prepared, Runtime
from edgesplit.node.turn import Turn

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

    def eager(self, start: int, stop: int) -> Prepared:
        """Layers [start, stop) in eager torch; an empty range on any host.

        Raises PlanError, and RuntimeUnavailableError where there is no torch.
        """

    def profile(self, values: Sequence[Any], turn: Turn) -> tuple[float, ...]:
        """Seconds per layer in eager torch for the payload `values` at cut 0, runs in turns.

        Raises RuntimeUnavailableError where there is no torch.
        """

    def runtime(self, name: str, graph: "OnnxGraph | None") -> Runtime:
        """What runs ranges in the runtime of that name. graph: what `onnx` runs.

        Raises RuntimeUnavailableError for one that needs what is not here.
        """
