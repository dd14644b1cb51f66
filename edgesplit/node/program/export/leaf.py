"""What stands at the leaves of a model's arguments: dense tensors and plain values.

A plain value is a part of the signature, by value and type: the export is made for it.
"""

import dataclasses
import enum
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from edgesplit.errors import InputError
from edgesplit.node.transport.coded_tensor import CodedTensor

Leaf = torch.Tensor | bool | int | float | str | None
SentLeaf = Leaf | CodedTensor
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True)
class Plain:
    """A plain value: 1, True and 1.0 are three, and nan is itself."""

    kind: type
    text: str

    def __str__(self) -> str:
        return self.text


def plain(leaf: Leaf) -> Plain:
    """The plain value of a leaf that is no tensor."""
    return Plain(type(leaf), repr(leaf))


def require_leaf(leaf: Any) -> None:
    """Raise InputError for what is neither a dense tensor nor a plain value."""
    if isinstance(leaf, torch.Tensor):
        if leaf.layout is not torch.strided or leaf.is_nested:
            raise InputError(
                f"inputs must be dense tensors, given one of layout {leaf.layout}; "
                "use x.to_dense() or x.to_padded_tensor(0.0)"
            )
        if leaf.is_quantized:
            raise InputError(
                f"inputs must be dense tensors, given a quantised one ({leaf.dtype}); "
                "use x.dequantize()"
            )
    elif type(leaf) not in _PLAIN:
        raise InputError(
            "inputs must be dense tensors or plain values (bool, int, float, str, None) in tuples, "
            f"lists, dicts and dataclasses; given {_short(leaf)}. {_advice(leaf)}"
        )


def _advice(leaf: Any) -> str:
    match leaf:
        case enum.Enum():
            return "Pass its .value, or keep it in an attribute of the model"
        case np.ndarray():
            return "Pass torch.from_numpy(x)"
        case np.generic():
            return "Pass x.item(), or torch.tensor(x) if it changes from call to call"
        case torch.Size():
            return "Pass tuple(x)"
        case torch.dtype() | torch.device() | torch.memory_format() | slice() | range():
            return "Keep it in an attribute of the model instead"
        case _ if dataclasses.is_dataclass(leaf):
            return "Pass an instance of it"
    return "Make it a tensor, or keep it in an attribute of the model instead"


def _short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
