"""Has the caller's snapshot and program use the weights that the host keeps, instead of their own.

One copy then serves the caller, the tiers of its host, and other sessions of the same model.
"""

import torch
from torch import nn

from edgesplit.node.program.packed import PackedProgram
from edgesplit.node.program.program import Program
from edgesplit.node.program.shipping import unpack


def on_shared_weights(program: Program, snapshot: nn.Module, kept: PackedProgram) -> Program:
    """The program on the storages of `kept`, which is what it was packed to; bit for bit the same.

    The snapshot's tensors move to them as well, so that their old memory is free.
    """
    shared = unpack(kept)
    pairs = zip(program.weights, shared.weights, strict=True)
    storages = {_place(old): new.untyped_storage() for old, new in pairs}
    for tensor in (*snapshot.parameters(), *snapshot.buffers()):
        storage = storages.get(_place(tensor))
        if storage is not None and not tensor.is_inference():
            tensor.data = _view_of(tensor, storage)
    return Program(program.structure, shared.weights, program.switches)


def _place(tensor: torch.Tensor) -> int:
    return tensor.untyped_storage()._cdata if tensor.layout is torch.strided else 0


def _view_of(tensor: torch.Tensor, storage: torch.UntypedStorage) -> torch.Tensor:
    made = torch.empty(0, dtype=tensor.dtype)
    return made.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())
