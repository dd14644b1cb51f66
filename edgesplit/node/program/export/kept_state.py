"""Whether a model keeps something between calls that its answers depend on.

Every tier would begin each request with it as it was at export, so such a model is refused. What is
kept and changes no answer (a cache by size, the last activation, an unread counter) does not
matter: the answers decide, on two calls with one of other values between them, and on a fresh copy.
"""

import math
import pickle
import weakref
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import FunctionType, ModuleType
from typing import Any

import torch
from torch import nn

from edgesplit.errors import ExportError
from edgesplit.node.program.export.capture import FlatModel, Tensors
from edgesplit.node.program.export.original import Leaves, Original, is_close, run

_SAME = 1e-6  # of the largest element: what threads may add in another order
_COUNTED_CALLS = 16  # where something counts: what happens at every n-th call has n up to this
_NOT_STATE = frozenset({"_modules", "_is_full_backward_hook"})
_DEPTH = 32
_CONTAINERS = (list, dict, set, deque)
_PLAIN = (bool, int, float, complex, str, bytes, type(None))


def refuse_kept_state(original: Original, flat: FlatModel, first: Leaves) -> None:
    """Raise ExportError, with the names, where the copy `flat` answers otherwise than at first.

    first: its first answer.
    """
    outside = _Outside(original.snapshot)
    other = list(map(_other_values, original.tensors))
    after_one = changes(original.snapshot, flat.model)
    # Other values come between: what is kept of the same ones would look as it did.
    in_between = _answer(flat, other)
    if in_between is None:  # a call that fails may leave anything behind
        flat = original.to_run()
        _answer(flat, original.tensors)
    after_two = changes(original.snapshot, flat.model)
    second = _answer(flat, original.tensors)
    after_three = changes(original.snapshot, flat.model)
    changed = tuple(dict.fromkeys((*after_one, *after_two, *after_three, *outside.changes())))
    if not _same(first, second) or (changed and _tells(original, flat, first, in_between)):
        _refuse(original.name, changed)


def _tells(original: Original, flat: FlatModel, first: Leaves, in_between: Leaves | None) -> bool:
    """Whether what changes in the copy shows in its answers."""
    fresh = _answer(original.to_run(), list(map(_other_values, original.tensors)))
    calls = _COUNTED_CALLS if _counts(original.snapshot, flat.model) else 1
    again = [_answer(flat, original.tensors) for _ in range(calls)]
    return not _same(in_between, fresh) or not all(_same(first, answer) for answer in again)


def _answer(flat: FlatModel, tensors: Tensors) -> Leaves | None:
    """None where the model does not take these values, or not for another time."""
    try:
        return run(flat, tensors)
    except Exception:  # the caller's code raises whatever it likes
        return None


def _refuse(name: str, changed: Sequence[str]) -> None:
    if not changed:
        raise ExportError(
            f"{name} gives another result to the same inputs from call to call; its forward "
            "depends on more than its inputs and weights, and every tier would compute with what "
            "it was at export. Give that to forward as an input"
        )
    raise ExportError(
        f"the model changes its own state in forward: {', '.join(changed)}; its next answer "
        "depends on that, and every tier would keep a copy of its own. Return the new value and "
        "take it as an input instead, or do not update it in eval mode"
    )


def _other_values(tensor: torch.Tensor) -> torch.Tensor:
    """Values that the model takes too, most likely: the same ones in reverse; numbers also vary."""
    flipped = tensor.flatten().flip(0).view(tensor.shape)
    if not tensor.is_floating_point():
        if not torch.equal(flipped, tensor):
            return flipped
        return ~tensor if tensor.dtype == torch.bool else (tensor - 1).abs()
    noise = torch.rand(tensor.shape, generator=torch.Generator().manual_seed(0))
    scale = tensor.abs().nan_to_num(0.0, 0.0, 0.0).max() if tensor.numel() else tensor.new_ones(())
    scale = scale if scale else scale.new_ones(())
    return flipped * 0.5 + noise.to(tensor.dtype) * scale * 0.5


def _same(first: Leaves | None, second: Leaves | None) -> bool:
    if first is None or second is None:
        return first is second
    return len(first) == len(second) and all(
        is_close(a, b, _SAME if not isinstance(a, torch.Tensor) or a.dtype.itemsize >= 4 else 1e-3)
        for a, b in zip(first, second, strict=True)
    )


def changes(before: nn.Module, after: nn.Module) -> tuple[str, ...]:
    """Paths of attributes that differ in `after`, a copy of `before` that has run since."""
    there = dict(after.named_modules())
    found = [name for name in there if name not in dict(before.named_modules())]
    for path, module in before.named_modules():
        other = there.get(path)
        found += [path] if other is None else [f"{path}.{n}" for n in _differing(module, other)]
    return tuple(name.lstrip(".") for name in found)


def _differing(before: nn.Module, after: nn.Module) -> Iterator[str]:
    a, b = _state_of(before), _state_of(after)
    for name in dict.fromkeys((*a, *b)):
        if name not in a or name not in b or not _Alike().alike(a[name], b[name]):
            yield name


def _state_of(module: nn.Module) -> dict[str, Any]:
    own = {k: v for k, v in vars(module).items() if k not in _NOT_STATE}
    return {**own.pop("_parameters", {}), **own.pop("_buffers", {}), **own}


def _counts(before: nn.Module, after: nn.Module) -> bool:
    """Whether a plain number has changed somewhere."""
    there = dict(after.named_modules())
    return any(
        isinstance(value, (int, float))
        and not _Alike().alike(value, _state_of(there[path]).get(name))
        for path, module in before.named_modules()
        if path in there
        for name, value in _state_of(module).items()
    )


class _Alike:
    """Compares two values deeply; pairs that are being compared already count as alike."""

    def __init__(self) -> None:
        self._begun: set[tuple[int, int]] = set()

    def alike(self, a: Any, b: Any, depth: int = 0) -> bool:
        """False also where it cannot be told."""
        if a is b or (id(a), id(b)) in self._begun:
            return True
        if type(a) is not type(b) or depth > _DEPTH:
            return False
        self._begun.add((id(a), id(b)))
        if isinstance(a, torch.Tensor):
            return _same_bits(a, b)
        if isinstance(a, _PLAIN):
            return bool(a == b) or (isinstance(a, float) and math.isnan(a) and math.isnan(b))
        if isinstance(a, weakref.ref):
            return self.alike(a(), b(), depth + 1)
        if isinstance(a, Mapping):
            return list(a) == list(b) and self._all(a.values(), b.values(), depth)
        if isinstance(a, (list, tuple, deque)):
            return len(a) == len(b) and self._all(a, b, depth)
        if hasattr(a, "__dict__") and not isinstance(a, (type, FunctionType, ModuleType)):
            return self.alike(vars(a), vars(b), depth + 1)
        return _same_pickle(a, b)

    def _all(self, a: Any, b: Any, depth: int) -> bool:
        return all(self.alike(x, y, depth + 1) for x, y in zip(a, b, strict=True))


def _same_bits(a: torch.Tensor, b: torch.Tensor) -> bool:
    if a.shape != b.shape or a.dtype != b.dtype or a.layout != b.layout:
        return False
    try:
        has_same_nan = torch.equal(a.isnan(), b.isnan())
        return has_same_nan and torch.equal(a.nan_to_num(), b.nan_to_num())
    except (RuntimeError, NotImplementedError):  # a kind of tensor that cannot be compared
        return False


def _same_pickle(a: Any, b: Any) -> bool:
    try:
        return pickle.dumps(a) == pickle.dumps(b)
    except Exception:  # whatever its class raises; then it cannot be told
        return False


class _Outside:
    """What the classes of a model can rebind outside of it: globals, closures, class attributes."""

    def __init__(self, model: nn.Module) -> None:
        kinds = dict.fromkeys(kind for m in model.modules() for kind in type(m).__mro__)
        self._kinds = [kind for kind in kinds if not _is_librarys(kind.__module__)]
        self._before = self._now()

    def changes(self) -> tuple[str, ...]:
        """Names of what was rebound, or filled, since."""
        now = self._now()
        return tuple(name for name, before in self._before.items() if now.get(name) != before)

    def _now(self) -> dict[str, Any]:
        return {name: _token(value) for kind in self._kinds for name, value in _reads(kind)}


def _reads(kind: type) -> Iterator[tuple[str, Any]]:
    for name, member in list(vars(kind).items()):
        if not isinstance(member, FunctionType):
            if not name.startswith("__") and not callable(member):
                yield f"{kind.__name__}.{name}", member
            continue
        for used in member.__code__.co_names:
            if used in member.__globals__:
                yield f"{member.__module__}.{used}", member.__globals__[used]
        for used, cell in zip(member.__code__.co_freevars, member.__closure__ or (), strict=True):
            if used != "__class__":
                yield f"{member.__qualname__}.{used}", _content(cell)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # empty
        return None


def _token(value: Any) -> Any:
    """Equal later on if the value is the same object, filled the same."""
    if isinstance(value, _PLAIN):
        return type(value), value
    if isinstance(value, _CONTAINERS):
        inside = value.values() if isinstance(value, dict) else value
        return id(value), [id(item) for item in inside]
    if isinstance(value, torch.Tensor) and not value.is_inference():
        return id(value), value._version
    return id(value)


def _is_librarys(module: str) -> bool:
    return module.partition(".")[0] in ("torch", "torchvision", "builtins", "typing", "abc")
