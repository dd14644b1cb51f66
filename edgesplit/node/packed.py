"""A program as it travels to the tiers: bytes and plain arrays. Needs no torch; see shipping.py.

A tier without torch cannot read the structure. It holds the weights and runs the program in another
runtime, from a graph of that runtime which is shipped beside this.
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgesplit.node import arrays
from edgesplit.node.wire import TensorSpec

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class WeightForm:
    """A weight as a window on a storage. dtype: torch's name; strides in elements."""

    storage: int
    dtype: str
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset_bytes: int


@dataclass(frozen=True, eq=False)
class PackedProgram:
    """A program to be sent. storages: memory that weights share is in it once.

    structure is a pickle that only a process with torch can read.
    """

    structure: bytes
    forms: tuple[WeightForm, ...]
    storages: tuple[Bytes, ...]
    n_layers: int
    fingerprint: str

    def copied(self) -> "PackedProgram":
        """The same in memory of its own: Ray's object store is small on an end device."""
        return replace(self, storages=tuple(np.array(storage) for storage in self.storages))

    def weights(self) -> tuple[NDArray[Any], ...]:
        """The program's weights in its order, as arrays that share the storages' memory.

        They have the shapes, dtypes and strides of torch's; bfloat16 is arrays.BFLOAT16. Raises
        WireError for a dtype that numpy lacks otherwise.
        """
        return tuple(self._weight(form) for form in self.forms)

    def _weight(self, form: WeightForm) -> NDArray[Any]:
        spec = TensorSpec(form.dtype, list(form.shape), list(form.strides))
        return arrays.view(self.storages[form.storage], spec, form.offset_bytes)
