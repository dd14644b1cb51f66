"""Kinds of models and results that cannot be split, each with what to do instead."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from edgesplit.errors import ExportError

_PLAIN = (torch.Tensor, bool, int, float, complex, str, bytes, type(None))
_TORCH_PLAIN = (torch.dtype, torch.device, torch.layout, torch.memory_format)


def refuse_kind(model: nn.Module) -> None:
    """Raise ExportError for a model whose weights or modules no export can take."""
    for name, module in model.named_modules():
        where = name or type(model).__name__
        if isinstance(module, torch.jit.ScriptModule):
            raise ExportError(
                f"{where} is TorchScript (torch.jit.script, trace or load), which is compiled "
                "already; give the nn.Module that it was made from"
            )
        if _is_quantized_module(module):
            raise ExportError(
                f"{where} ({type(module).__name__}) is quantised in torch's eager mode, which "
                "keeps weights in a packed form of its own; give the model as it was before "
                "torch.ao.quantization, or one quantised for export (torchao)"
            )
    for name, tensor in _tensors(model):
        _refuse_tensor(type(model).__name__, name, tensor)


def _is_quantized_module(module: nn.Module) -> bool:
    home = type(module).__module__
    is_torchs = home.startswith(("torch.ao.nn.", "torch.nn.quantized"))
    return is_torchs and ".quantized" in home and "quantized.reference" not in home


def _refuse_tensor(model: str, name: str, tensor: torch.Tensor) -> None:
    if is_lazy(tensor):
        raise ExportError(
            f"{name} of {model} has no shape yet: its module is lazy and has never run; call the "
            "model once on an input before it is given to EdgeSplit"
        )
    if tensor.is_meta:
        raise ExportError(
            f"{model} has no weights: {name} is on the meta device; load them first, such as by "
            "model.to_empty(device='cpu') and load_state_dict"
        )
    if tensor.layout is not torch.strided or tensor.is_nested:
        kind = "a nested tensor" if tensor.is_nested else f"a {tensor.layout} tensor"
        raise ExportError(
            f"{name} of {model} is {kind}, and tiers take dense ones; keep it dense, such as by "
            "to_dense() or to_padded_tensor(0.0)"
        )
    if tensor.is_quantized:
        raise ExportError(
            f"{name} of {model} is a quantised tensor ({tensor.dtype}), and tiers take plain "
            "ones; keep it as dequantize() gives it"
        )


def _tensors(model: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    yield from model.named_parameters()
    yield from model.named_buffers()
    for path, module in model.named_modules():
        for name, value in vars(module).items():
            if isinstance(value, torch.Tensor):
                yield f"{path}.{name}".lstrip("."), value


def refuse_results(model: str, leaves: Iterable[Any]) -> None:
    """Raise ExportError for a result that holds what cannot be taken apart into tensors."""
    for leaf in leaves:
        if not isinstance(leaf, (*_PLAIN, *_TORCH_PLAIN)):
            raise ExportError(
                f"the result of {model} holds a {type(leaf).__name__}, which cannot be taken "
                "apart into tensors; return tensors in tuples, lists, dicts or dataclasses (a "
                "model of transformers: use_cache=False, as an argument or in model.config)"
            )
        if isinstance(leaf, torch.Tensor) and (leaf.layout is not torch.strided or leaf.is_nested):
            raise ExportError(
                f"the result of {model} holds a tensor that is not dense; return "
                "to_dense() or to_padded_tensor(0.0) of it"
            )
