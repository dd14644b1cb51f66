"""A program's structure as typed bytes: versioned, checked operator by operator, never a pickle.

msgpack: plain numbers, texts, True, False and None are themselves; everything else is a map with
one key that says what it is, such as {"ref": 3}. Whoever reads bytes may trust what comes out as
far as the list in ops.py goes: no other function is ever called.
"""

from collections.abc import Callable
from typing import Any

import msgspec
import torch

from edgesplit.errors import ExportError, WireError
from edgesplit.node.program.ops import is_listed
from edgesplit.node.program.structure import Layer, Op, Operator, Ref, Structure, Weight
from edgesplit.node.program.switches import USUAL, Switches

FORMAT = 1
_DEEPEST = 64  # maps within maps: branches in branches, tuples in lists
_MOST_LAYERS = 1_000_000
_PLAIN = (bool, int, float, str)
_TORCH = {"dtype": torch.dtype, "layout": torch.layout, "memory_format": torch.memory_format}


def encode(structure: Structure, switches: Switches) -> bytes:
    """Both as bytes. Raises ExportError for a constant that cannot travel."""
    made = {"format": FORMAT, "structure": _made(structure), "switches": _made(switches)}
    try:
        return msgspec.msgpack.encode(made)
    except (OverflowError, TypeError, UnicodeEncodeError) as error:
        raise ExportError(f"a constant of the model cannot travel: {error}") from error


def decode(data: bytes) -> tuple[Structure, Switches]:
    """What encode() was given. Raises WireError for anything else, ExportError for an operator
    that this process lacks.
    """
    try:
        found = msgspec.msgpack.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise WireError(f"no program: {error}") from error
    if not isinstance(found, dict) or set(found) != {"format", "structure", "switches"}:
        raise WireError("no program: it has other parts than a program of EdgeSplit")
    if found["format"] != FORMAT:
        raise WireError(
            f"a program of format {found['format']!r}, this EdgeSplit reads {FORMAT}; install the "
            "same version on every machine"
        )
    reader = _Reader()
    try:
        structure = reader.structure(reader.only(found["structure"], "structure"), 0)
        switches = reader.value(found["switches"], 0)
    except (AttributeError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise WireError(f"no program: {type(error).__name__}: {error}") from error
    return structure, _checked(switches)


def _made(value: Any) -> Any:
    if value is None or type(value) in _PLAIN:
        return value
    made = _MADE.get(type(value))
    if made is None:
        raise ExportError(
            f"the model has {value!r}, a {type(value).__name__}, as a constant, which cannot "
            "travel; compute it from the inputs, or pass it as a tensor or a plain number"
        )
    return made(value)


def _torch_name(value: Any) -> str:
    return str(value).removeprefix("torch.")


def _made_op(op: Op) -> list[Any]:
    return [op.target, [_made(arg) for arg in op.args], _made_items(op.kwargs), op.out]


def _made_items(items: dict[Any, Any]) -> list[Any]:
    return [[_made(key), _made(value)] for key, value in items.items()]


def _made_structure(structure: Structure) -> dict[str, Any]:
    layers = [[layer.name, [_made_op(op) for op in layer.ops]] for layer in structure.layers]
    return {"structure": [structure.n_inputs, layers, _made(structure.outputs)]}


_MADE: dict[type, Callable[[Any], Any]] = {
    Ref: lambda ref: {"ref": ref.number},
    Weight: lambda weight: {"weight": weight.index},
    Operator: lambda operator: {"operator": operator.name},
    Structure: _made_structure,
    tuple: lambda items: {"tuple": [_made(item) for item in items]},
    torch.Size: lambda items: {"tuple": [_made(item) for item in items]},
    list: lambda items: {"list": [_made(item) for item in items]},
    dict: lambda items: {"dict": _made_items(items)},
    slice: lambda cut: {"slice": [_made(cut.start), _made(cut.stop), _made(cut.step)]},
    complex: lambda number: {"complex": [number.real, number.imag]},
    torch.device: lambda device: {"device": str(device)},
    torch.dtype: lambda dtype: {"dtype": _torch_name(dtype)},
    torch.layout: lambda layout: {"layout": _torch_name(layout)},
    torch.memory_format: lambda order: {"memory_format": _torch_name(order)},
}


class _Reader:
    """Builds the values anew. Numbers of values must be known before they are used."""

    def only(self, found: Any, key: str) -> Any:
        """What stands under the only key."""
        if not isinstance(found, dict) or list(found) != [key]:
            raise ValueError(f"a {key} was expected")
        return found[key]

    def value(self, found: Any, depth: int) -> Any:
        if found is None or type(found) in _PLAIN:
            return found
        if depth > _DEEPEST:
            raise ValueError(f"values within values, deeper than {_DEEPEST}")
        ((key, inner),) = found.items()
        read = getattr(self, f"_{key}", None) if key in _KEYS else None
        if read is None:
            raise ValueError(f"an unknown kind of value, {str(key)[:40]!r}")
        return read(inner, depth + 1)

    def structure(self, found: Any, depth: int) -> Structure:
        n_inputs, layers, outputs = found
        if not isinstance(layers, list) or len(layers) > _MOST_LAYERS:
            raise ValueError(f"more than {_MOST_LAYERS} layers")
        made = tuple(self._layer(layer, depth) for layer in layers)
        return Structure(_number(n_inputs), made, self.value(outputs, depth))

    _structure = structure

    def _layer(self, found: Any, depth: int) -> Layer:
        name, ops = found
        return Layer(_text(name), tuple(self._op(op, depth) for op in ops))

    def _op(self, found: Any, depth: int) -> Op:
        target, args, kwargs, out = found
        made = tuple(self.value(arg, depth) for arg in args)
        named = {_text(key): self.value(value, depth) for key, value in kwargs}
        return Op(_target(target), made, named, _number(out))

    def _ref(self, found: Any, depth: int) -> Ref:
        return Ref(_number(found))

    def _weight(self, found: Any, depth: int) -> Weight:
        return Weight(_number(found))

    def _operator(self, found: Any, depth: int) -> Operator:
        return Operator(_target(found))

    def _tuple(self, found: Any, depth: int) -> tuple[Any, ...]:
        return tuple(self._list(found, depth))

    def _list(self, found: Any, depth: int) -> list[Any]:
        if not isinstance(found, list):
            raise ValueError("a list was expected")
        return [self.value(item, depth) for item in found]

    def _dict(self, found: Any, depth: int) -> dict[Any, Any]:
        return {self.value(key, depth): self.value(value, depth) for key, value in found}

    def _slice(self, found: Any, depth: int) -> slice:
        start, stop, step = (self.value(part, depth) for part in found)
        return slice(start, stop, step)

    def _complex(self, found: Any, depth: int) -> complex:
        real, imag = found
        return complex(real, imag)

    def _device(self, found: Any, depth: int) -> torch.device:
        return torch.device(_text(found))

    def _dtype(self, found: Any, depth: int) -> Any:
        return _of_torch("dtype", found)

    def _layout(self, found: Any, depth: int) -> Any:
        return _of_torch("layout", found)

    def _memory_format(self, found: Any, depth: int) -> Any:
        return _of_torch("memory_format", found)


_KEYS = frozenset(
    {"ref", "weight", "operator", "structure", "tuple", "list", "dict", "slice", "complex"}
    | {"device", *_TORCH}
)


def _of_torch(key: str, name: Any) -> Any:
    found = getattr(torch, _text(name))
    if type(found) is not _TORCH[key]:
        raise ValueError(f"torch has no {key} {name!r}")
    return found


def _target(found: Any) -> str:
    if not is_listed(_text(found)):
        raise ValueError(f"{found!r} is no operator that a program may call"[:200])
    return str(found)


def _number(found: Any) -> int:
    if type(found) is not int or found < 0:
        raise ValueError(f"a number from 0 was expected, given {found!r}"[:200])
    return found


def _text(found: Any) -> str:
    if not isinstance(found, str):
        raise ValueError(f"a name was expected, given {found!r}"[:200])
    return found


def _checked(switches: Any) -> Switches:
    kinds = [type(value) for value in switches] if isinstance(switches, tuple) else []
    if kinds != [type(value) for value in USUAL]:
        raise WireError(f"no program: its settings of torch are {switches!r}"[:300])
    return tuple(switches)
