"""The caller's model as it was at the first input, and copies of it to work with.

The model itself is never touched: not its mode, device, hooks, parameters or attributes. All that
EdgeSplit ever answers is the snapshot's, whatever becomes of the model afterwards.
"""

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch import nn

from edgesplit.errors import ExportError
from edgesplit.node.process.messages import first_lines
from edgesplit.node.program.export.refused import refuse_kind
from edgesplit.node.transport.strides import is_dense

Mode = Literal["eval", "as-is"]

_USUAL_DEPTH, _GREATEST_DEPTH = 30, 500
# Python frames that copying, running and exporting a nested module take for each level, with room.
_FRAMES_PER_LEVEL = 60
_DROPPING = ("p", "dropout")  # what modules call the share that they drop


Storage = torch.UntypedStorage


def take_snapshot(
    model: nn.Module,
    mode: Mode = "eval",
    copy_of: Callable[[Storage], Storage | None] = lambda _: None,
) -> nn.Module:
    """A copy on the CPU with memory of its own; mode `eval`: in eval mode, else as the model is.

    copy_of: makes the copy of a parameter's memory, if it wants to. Raises ExportError for what is
    split.
    """
    if not isinstance(model, nn.Module):
        raise ExportError(
            f"a torch.nn.Module is needed, given {type(model).__name__}; wrap it in a module"
        )
    model = uncompiled(model)
    with room_for(model):
        refuse_kind(model)
        elsewhere = [*model.parameters(), *model.buffers()]
        memo = {id(t): _on_cpu(t) for t in elsewhere if t.device.type != "cpu"}
        memo |= _parameters_by(copy_of, model)
        taken = _copied(model, memo)
        return taken.eval() if mode == "eval" else taken


def working_copy(snapshot: nn.Module) -> nn.Module:
    """To be run: shares the parameters; buffers and all else are its own, to be changed freely."""
    return _copied(snapshot, {id(parameter): parameter for parameter in snapshot.parameters()})


def sharing_copy(snapshot: nn.Module) -> nn.Module:
    """To be traced: shares buffers too, so that all exports hold each tensor once."""
    tensors = [*snapshot.parameters(), *snapshot.buffers()]
    return _copied(snapshot, {id(tensor): tensor for tensor in tensors})


def _copied(model: nn.Module, memo: dict[int, Any]) -> nn.Module:
    # Tensors that are made while the caller is in inference mode could not be exported.
    with torch.inference_mode(False), torch.no_grad():
        for tensor in _computed(model):
            if id(tensor) not in memo:
                memo[id(tensor)] = copy.deepcopy(tensor.detach().cpu(), memo)
        try:
            return copy.deepcopy(model, memo)
        except Exception as error:  # a class's own __deepcopy__ raises whatever it likes
            raise ExportError(
                f"{type(model).__name__} cannot be copied: {first_lines(error)}; remove what "
                "copy.deepcopy cannot copy, such as locks and open files, from its attributes"
            ) from error


def _parameters_by(
    copy_of: Callable[[Storage], Storage | None], model: nn.Module
) -> dict[int, nn.Parameter]:
    """Copies of those parameters that are a whole memory, by the id of the original."""
    made = {}
    for parameter in model.parameters():
        is_usual = type(parameter) is nn.Parameter and parameter.device.type == "cpu"
        if not is_usual or not _fills_its_memory(parameter):
            continue
        storage = copy_of(parameter.untyped_storage())
        if storage is not None:
            with torch.inference_mode(False), torch.no_grad():
                data = torch.empty(0, dtype=parameter.dtype)
                data.set_(storage, 0, parameter.shape, parameter.stride())
                made[id(parameter)] = nn.Parameter(data, parameter.requires_grad)
    return made


def _fills_its_memory(tensor: torch.Tensor) -> bool:
    """Whether each byte of its storage is one of its elements'."""
    if tensor.layout is not torch.strided or not is_dense(tensor.shape, tensor.stride()):
        return False
    return tensor.nbytes == tensor.untyped_storage().nbytes()


def _computed(model: nn.Module) -> Iterator[torch.Tensor]:
    """Tensors with a history, which deepcopy refuses."""
    for module in model.modules():
        kept = [*vars(module).values(), *module._buffers.values(), *module._parameters.values()]
        yield from (x for x in kept if isinstance(x, torch.Tensor) and not x.is_leaf)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    moved = tensor.detach().cpu()
    is_parameter = isinstance(tensor, nn.Parameter)
    return nn.Parameter(moved, tensor.requires_grad) if is_parameter else moved


def uncompiled(model: nn.Module) -> nn.Module:
    """The module inside of what torch.compile returned."""
    while isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
        model = inner
    return model


@contextmanager
def room_for(model: nn.Module) -> Iterator[None]:
    """Python's recursion limit high enough for all that is done with a model nested so deep.

    Raises ExportError past the depth for which there is no room.
    """
    depth = max(name.count(".") for name, _ in model.named_modules()) + 1
    if depth > _GREATEST_DEPTH:
        raise ExportError(
            f"the modules of {type(model).__name__} are nested {depth} deep, at most "
            f"{_GREATEST_DEPTH} can be exported; keep them in one nn.Sequential or nn.ModuleList"
        )
    limit = sys.getrecursionlimit()
    if depth > _USUAL_DEPTH:
        sys.setrecursionlimit(limit + _FRAMES_PER_LEVEL * depth)
    try:
        yield
    finally:
        sys.setrecursionlimit(limit)


def parts_in_training(model: nn.Module) -> tuple[str, ...]:
    """Parts of a model in eval mode that were left in training mode and look at it.

    `1 (Dropout)`: whatever forward or its helpers read `training`, and would drop something.
    """
    if not isinstance(model, nn.Module) or model.training:
        return ()
    return tuple(
        f"{name} ({type(module).__name__})"
        for name, module in model.named_modules()
        if module.training and _reads_training(type(module)) and not _drops_nothing(module)
    )


def _reads_training(kind: type) -> bool:
    classes = kind.__mro__[: kind.__mro__.index(nn.Module)]
    codes = [getattr(member, "__code__", None) for c in classes for member in vars(c).values()]
    return any(code is not None and "training" in code.co_names for code in codes)


def _drops_nothing(module: nn.Module) -> bool:
    kept = vars(module)
    return any(isinstance(kept.get(name), (int, float)) and kept[name] == 0 for name in _DROPPING)
