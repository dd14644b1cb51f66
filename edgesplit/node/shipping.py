"""A program as bytes and arrays, and back: how it gets to the tiers.

The weights are plain arrays, so that pickle 5 can carry them out of band. The structure is a
pickle: only for machines of one trusted cluster. Nothing is traced again, so numbers and order
are the same on every machine; the fingerprint proves it.
"""

import pickle
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from edgesplit.errors import WireError
from edgesplit.node.ops import find_op
from edgesplit.node.program import Program
from edgesplit.node.structure import Structure, leaves

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class _Form:
    """A weight as a window on a storage; offset and strides in elements."""

    storage: int
    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@dataclass(frozen=True, eq=False)
class PackedProgram:
    """A program to be sent. storages: memory that weights share is in it once."""

    structure: bytes
    storages: tuple[Bytes, ...]
    fingerprint: str


def pack(program: Program) -> PackedProgram:
    """The program to be sent. Its arrays are views of the weights, not copies."""
    places: dict[int, int] = {}
    storages: list[Bytes] = []
    forms = []
    for weight in program.weights:
        memory = weight.untyped_storage()
        if memory._cdata not in places:
            places[memory._cdata] = len(storages)
            storages.append(torch.empty(0, dtype=torch.uint8).set_(memory).numpy())
        shape, stride = tuple(weight.shape), weight.stride()
        offset = int(weight.storage_offset())
        forms.append(_Form(places[memory._cdata], weight.dtype, shape, stride, offset))
    structure = pickle.dumps((program.structure, forms), protocol=5)
    return PackedProgram(structure, tuple(storages), program.fingerprint)


def unpack(packed: PackedProgram) -> Program:
    """The program, its weights being views of the packed arrays.

    Raises ExportError where this process lacks an operator, WireError where the program is not
    the one that was packed (another version of torch or EdgeSplit on this machine).
    """
    structure, forms = pickle.loads(packed.structure)
    _check_operators(structure)
    storages = [_storage(array) for array in packed.storages]
    weights = [
        torch.empty(0, dtype=form.dtype).set_(
            storages[form.storage], form.offset, form.shape, form.stride
        )
        for form in forms
    ]
    program = Program(structure, tuple(weights))
    if program.fingerprint != packed.fingerprint:
        raise WireError(
            f"program {packed.fingerprint} arrived as {program.fingerprint}; install the same "
            "versions of torch and EdgeSplit on every machine"
        )
    return program


def _check_operators(structure: Structure) -> None:
    for layer in structure.layers:
        for op in layer.ops:
            find_op(op.target)
            for leaf in leaves((op.args, op.kwargs)):
                if isinstance(leaf, Structure):
                    _check_operators(leaf)


def _storage(array: Bytes) -> torch.UntypedStorage:
    """The array's memory. Ray maps it read-only, which is right: no operator writes to weights."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array).untyped_storage()
