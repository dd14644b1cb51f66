"""Packs a program into bytes and arrays, and unpacks it where there is torch: see packed.py.

The weights are plain arrays, the structure is typed bytes: nothing is unpickled. Nothing is traced
again either, so numbers and order are the same on every machine; the fingerprint proves it.
"""

import warnings

import torch

from edgesplit.errors import WireError
from edgesplit.node.program.ops import find_op
from edgesplit.node.program.packed import Bytes, PackedProgram, WeightForm
from edgesplit.node.program.program import Program
from edgesplit.node.program.structure import Operator, Structure, leaves
from edgesplit.node.program.structure_codec import decode, encode
from edgesplit.node.program.weight_file import storage_name
from edgesplit.node.transport.tensors import dtype_of, name_of


class StorageNames:
    """Names of storages that were hashed before, and never change."""

    def __init__(self) -> None:
        # With the storage itself, or another one could come to lie where it was.
        self._noted: dict[int, tuple[torch.UntypedStorage, str]] = {}

    def note(self, storage: torch.UntypedStorage, name: str) -> None:
        """It has that name from now on."""
        self._noted[storage._cdata] = storage, name

    def of(self, storage: torch.UntypedStorage, content: Bytes) -> str:
        """Its name, by what was noted, else by its content."""
        _, name = self._noted.get(storage._cdata, (None, ""))
        return name or storage_name(content)


def pack(program: Program, known: StorageNames | None = None) -> PackedProgram:
    """The program to be sent. Its arrays are views of the weights, not copies."""
    known = known or StorageNames()
    places: dict[int, int] = {}
    storages: list[Bytes] = []
    names: list[str] = []
    forms: list[WeightForm] = []
    for weight in program.weights:
        memory = weight.untyped_storage()
        if memory._cdata not in places:
            places[memory._cdata] = len(storages)
            storages.append(bytes_of(memory))
            names.append(known.of(memory, storages[-1]))
        forms.append(_form(weight, places[memory._cdata]))
    structure = encode(program.structure, program.switches)
    return PackedProgram(
        structure, tuple(forms), tuple(storages), len(program), program.fingerprint, tuple(names)
    )


def unpack(packed: PackedProgram) -> Program:
    """The program, its weights being views of the packed arrays.

    Raises ExportError where this process lacks an operator, WireError for bytes that are no program
    and where it is not the one that was packed (another version of torch or EdgeSplit here).
    """
    structure, switches = decode(packed.structure)
    _check_operators(structure)
    storages = [storage_of(array) for array in packed.storages]
    weights = [_weight(form, storages[form.storage]) for form in packed.forms]
    program = Program(structure, tuple(weights), switches)
    if program.fingerprint != packed.fingerprint:
        raise WireError(
            f"program {packed.fingerprint} arrived as {program.fingerprint}; install the same "
            "versions of torch and EdgeSplit on every machine"
        )
    return program


def _form(weight: torch.Tensor, storage: int) -> WeightForm:
    offset_bytes = int(weight.storage_offset()) * weight.element_size()
    shape, strides = tuple(weight.shape), weight.stride()
    return WeightForm(
        storage, name_of(weight.dtype), shape, strides, offset_bytes, weight.requires_grad
    )


def _weight(form: WeightForm, storage: torch.UntypedStorage) -> torch.Tensor:
    dtype = dtype_of(form.dtype)
    offset = form.offset_bytes // dtype.itemsize
    try:
        weight = torch.empty(0, dtype=dtype).set_(storage, offset, form.shape, form.strides)
    except RuntimeError as error:
        raise WireError(f"no program: a weight lies outside of its storage: {error}") from error
    return weight.requires_grad_(form.requires_grad)


def _check_operators(structure: Structure) -> None:
    for layer in structure.layers:
        for op in layer.ops:
            find_op(op.target)
            for leaf in leaves((op.args, op.kwargs)):
                if isinstance(leaf, Operator):
                    find_op(leaf.name)
                if isinstance(leaf, Structure):
                    _check_operators(leaf)


def bytes_of(storage: torch.UntypedStorage) -> Bytes:
    """That memory as an array."""
    return torch.empty(0, dtype=torch.uint8).set_(storage).numpy()


def storage_of(array: Bytes) -> torch.UntypedStorage:
    """The array's memory. Ray maps it read-only, which is right: no operator writes to weights."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)
        return torch.from_numpy(array).untyped_storage()
