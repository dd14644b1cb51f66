"""Packs a program into bytes and arrays, and unpacks it where there is torch: see packed.py.

The weights are plain arrays, so that pickle 5 can carry them out of band. The structure is a
pickle: only for machines of one trusted cluster. Nothing is traced again, so numbers and order
are the same on every machine; the fingerprint proves it.
"""

import pickle
import warnings

import torch

from edgesplit.errors import WireError
from edgesplit.node.ops import find_op
from edgesplit.node.packed import Bytes, PackedProgram, WeightForm
from edgesplit.node.program import Program
from edgesplit.node.structure import Structure, leaves
from edgesplit.node.tensors import dtype_of, name_of


def pack(program: Program) -> PackedProgram:
    """The program to be sent. Its arrays are views of the weights, not copies."""
    places: dict[int, int] = {}
    storages: list[Bytes] = []
    forms: list[WeightForm] = []
    for weight in program.weights:
        memory = weight.untyped_storage()
        if memory._cdata not in places:
            places[memory._cdata] = len(storages)
            storages.append(torch.empty(0, dtype=torch.uint8).set_(memory).numpy())
        forms.append(_form(weight, places[memory._cdata]))
    structure = pickle.dumps(program.structure, protocol=5)
    return PackedProgram(
        structure, tuple(forms), tuple(storages), len(program), program.fingerprint
    )


def unpack(packed: PackedProgram) -> Program:
    """The program, its weights being views of the packed arrays.

    Raises ExportError where this process lacks an operator, WireError where the program is not
    the one that was packed (another version of torch or EdgeSplit on this machine).
    """
    structure = pickle.loads(packed.structure)
    _check_operators(structure)
    storages = [_storage(array) for array in packed.storages]
    weights = [_weight(form, storages[form.storage]) for form in packed.forms]
    program = Program(structure, tuple(weights))
    if program.fingerprint != packed.fingerprint:
        raise WireError(
            f"program {packed.fingerprint} arrived as {program.fingerprint}; install the same "
            "versions of torch and EdgeSplit on every machine"
        )
    return program


def _form(weight: torch.Tensor, storage: int) -> WeightForm:
    offset_bytes = int(weight.storage_offset()) * weight.element_size()
    return WeightForm(
        storage, name_of(weight.dtype), tuple(weight.shape), weight.stride(), offset_bytes
    )


def _weight(form: WeightForm, storage: torch.UntypedStorage) -> torch.Tensor:
    dtype = dtype_of(form.dtype)
    offset = form.offset_bytes // dtype.itemsize
    return torch.empty(0, dtype=dtype).set_(storage, offset, form.shape, form.strides)


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
