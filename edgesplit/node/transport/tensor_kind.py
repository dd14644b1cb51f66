"""The seam between frames and what computes: which kind of tensors the values of a payload are.

tensors.py: torch's, arrays.py: numpy's. Each module has the four functions of TensorKind. Nothing
here imports torch unless it is asked for.
"""

import importlib.util
from collections.abc import Sequence
from typing import Any, Protocol

from edgesplit.node.transport.tensor_form import TensorForm
from edgesplit.node.transport.wire import Buffer, ValueSpec


class TensorKind(Protocol):
    """How the values of a payload get into a frame's body and out of it."""

    def pack(self, values: Sequence[Any]) -> tuple[list[ValueSpec], list[Buffer]]:
        """Specs and buffers of tensors and plain numbers, in order. Dense tensors are not copied.

        Raises WireError for what cannot travel.
        """

    def unpack(self, specs: Sequence[ValueSpec], body: Any) -> list[Any]:
        """The values of a body that wire.check_body has passed; its tensors are views of it."""

    def zeros(self, form: TensorForm) -> Any:
        """A tensor of that form, filled with zeros."""

    def settle(self, threads: int, flushes_denormals: bool) -> None:
        """How the calling thread computes from now on: on how many threads, denormals as 0."""


def has_torch() -> bool:
    """Whether torch is installed on this host."""
    return importlib.util.find_spec("torch") is not None


def kind_here() -> TensorKind:
    """torch's tensors where torch is installed, numpy's arrays elsewhere."""
    if has_torch():
        from edgesplit.node.transport import tensors

        return tensors
    from edgesplit.node.transport import arrays

    return arrays
