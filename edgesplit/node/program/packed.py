"""A program as it travels to the tiers: bytes and plain arrays. Needs no torch; see shipping.py.

A tier without torch cannot read the structure. It holds the weights and runs the program in another
runtime, from a graph of that runtime which is shipped beside this.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.node.transport import arrays
from edgesplit.node.transport.wire import TensorSpec

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class WeightForm:
    """A weight as a window on a storage. dtype: torch's name; strides in elements."""

    storage: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset_bytes: int
    requires_grad: bool = False


@dataclass(frozen=True, eq=False)
class PackedProgram:
    """A program to be sent. storages: memory that weights share is in it once.

    structure: as structure_codec.py has it, for a process with torch to read. names: of the
    storages, by their content: tiers hold what two programs share once, and are sent it once.
    """

    structure: bytes
    forms: tuple[WeightForm, ...]
    storages: tuple[Bytes, ...]
    n_layers: int
    fingerprint: str
    names: tuple[str, ...]

    @property
    def by_name(self) -> dict[str, Bytes]:
        """The storages by their names; two of the same content are one here."""
        return dict(zip(self.names, self.storages, strict=True))

    def on(self, storages: Iterable[Bytes]) -> "PackedProgram":
        """The same with these storages, in its order."""
        return replace(self, storages=tuple(storages))

    def weights(self) -> tuple[NDArray[Any], ...]:
        """The program's weights in its order, as arrays that share the storages' memory.

        They have the shapes, dtypes and strides of torch's; bfloat16 is arrays.BFLOAT16. Raises
        WireError for a dtype that numpy lacks otherwise.
        """
        return tuple(self._weight(form) for form in self.forms)

    def _weight(self, form: WeightForm) -> NDArray[Any]:
        spec = TensorSpec(form.dtype, list(form.shape), list(form.strides))
        return arrays.view(self.storages[form.storage], spec, form.offset_bytes)
