"""What a model takes and gives: between the caller's arguments and results and flat values.

It stays with the caller. `accepts` is the rule it keeps: true only for inputs on which the
exported program does what the model does.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from types import CodeType
from typing import Any, TypeGuard

import torch
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import SYMPY_INTERP
from torch.utils import _pytree as pytree

from edgesplit.errors import InputError
from edgesplit.node.program.export.leaf import Leaf, Plain, plain
from edgesplit.node.program.export.trees import flatten_args, tensors_of
from edgesplit.node.transport.strides import MemoryOrder, dense_strides, memory_order_of


@dataclass(frozen=True)
class ArgumentForm:
    """One input tensor. shape: None where the size may vary; example: the sizes of the export's.

    A forward may ask how its input lies, and kernels round by it: so it lies as at export.
    """

    shape: tuple[int | None, ...]
    dtype: torch.dtype
    layout: MemoryOrder
    example: tuple[int, ...]

    @property
    def varying(self) -> frozenset[int]:
        """Dimensions whose size may vary."""
        return frozenset(dim for dim, size in enumerate(self.shape) if size is None)

    def fits(self, leaf: Leaf) -> bool:
        """Whether `leaf` has this dtype and shape, and lies so."""
        if not self.is_like(leaf):
            return False
        return all(w in (None, s) for w, s in zip(self.shape, leaf.shape, strict=True))

    def is_like(self, leaf: Leaf) -> TypeGuard[torch.Tensor]:
        """The same whatever its sizes."""
        if not isinstance(leaf, torch.Tensor) or leaf.dtype != self.dtype:
            return False
        is_alike = leaf.dim() == len(self.shape)
        return is_alike and leaf.stride() == self.layout.strides(leaf.shape)


Ones = frozenset[tuple[int, int]]


@dataclass(frozen=True)
class Guards:
    """Conditions on input sizes under which the export holds; texts of torch.export.

    ranges: (input, dimension, lowest, highest). ones: which (input, dimension) may be of size 1
    together: torch.export assumes 2 and more without recording it, so this was tried.
    """

    texts: tuple[str, ...]
    ranges: tuple[tuple[int, int, float, float], ...]
    ones: tuple[Ones, ...]

    def hold(self, tensors: Sequence[torch.Tensor], varying: Sequence[Collection[int]]) -> bool:
        """Whether they hold for these tensors, whose sizes may vary in those dimensions."""
        ones = ones_of(tensors, varying)
        if any(0 in x.shape for x in tensors) or (ones and ones not in self.ones):
            return False
        sizes = [_doubled(x, at, ones) for at, x in enumerate(tensors)] if ones else tensors
        if not all(low <= sizes[at].shape[dim] <= high for at, dim, low, high in self.ranges):
            return False
        names = {**SYMPY_INTERP, "L": {"tensors": sizes}}
        return all(eval(condition, names) for condition in self._conditions)

    @cached_property
    def _conditions(self) -> tuple[CodeType, ...]:
        return tuple(compile(text, "<guard>", "eval") for text in self.texts)


def ones_of(tensors: Sequence[torch.Tensor], varying: Sequence[Collection[int]]) -> Ones:
    """Where a size that may vary is 1."""
    pairs = enumerate(zip(tensors, varying, strict=True))
    return frozenset((at, dim) for at, (x, dims) in pairs for dim in dims if x.shape[dim] == 1)


def _doubled(tensor: torch.Tensor, at: int, ones: Ones) -> torch.Tensor:
    """Its sizes, 2 in place of 1 there; without content."""
    sizes = [2 if (at, dim) in ones else size for dim, size in enumerate(tensor.shape)]
    return torch.empty_strided(sizes, tensor.stride(), dtype=tensor.dtype, device="meta")


@dataclass(frozen=True)
class Signature:
    """Tree of the arguments; the form of each tensor among them, and the plain values."""

    tree: pytree.TreeSpec
    forms: tuple[ArgumentForm | Plain, ...]
    guards: Guards

    def accepts(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the program may be run on these arguments. Raises InputError as flatten_args."""
        leaves, tree = flatten_args(args, kwargs)
        if tree != self.tree or not self._fits(leaves):
            return False
        varying = [form.varying for form in self.forms if isinstance(form, ArgumentForm)]
        return self.guards.hold(tensors_of(leaves), varying)

    def sizes_that_differ(
        self, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[frozenset[int], ...] | None:
        """Per tensor, the dimensions in whose size these arguments differ from the example.

        None where more than sizes differs. Raises InputError as flatten_args.
        """
        leaves, tree = flatten_args(args, kwargs)
        if tree != self.tree:
            return None
        found: list[frozenset[int]] = []
        for leaf, form in zip(leaves, self.forms, strict=True):
            if isinstance(form, Plain):
                if isinstance(leaf, torch.Tensor) or plain(leaf) != form:
                    return None
            elif not form.is_like(leaf):
                return None
            else:
                sizes = enumerate(zip(leaf.shape, form.example, strict=True))
                found.append(frozenset(dim for dim, (a, b) in sizes if a != b))
        return tuple(found)

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """The tensors among the arguments in order, on the CPU.

        Raises InputError for arguments of another tree, shape, dtype, layout or plain value.
        """
        leaves, tree = flatten_args(args, kwargs)
        if tree != self.tree or not self._fits(leaves):
            raise InputError(
                f"the model was exported for {describe_forms(self.forms)}, "
                f"given {describe(leaves)}; export it for these inputs"
            )
        return tensors_of(leaves)

    def _fits(self, leaves: Sequence[Leaf]) -> bool:
        pairs = zip(leaves, self.forms, strict=True)
        return all(
            form.fits(leaf)
            if isinstance(form, ArgumentForm)
            else not isinstance(leaf, torch.Tensor) and plain(leaf) == form
            for leaf, form in pairs
        )


def argument_forms(
    exported: ExportedProgram, leaves: Sequence[Leaf]
) -> tuple[ArgumentForm | Plain, ...]:
    """The form of every tensor, and the plain values, given the example's leaves in order."""
    names = iter(exported.graph_signature.user_inputs)
    nodes = {node.name: node for node in exported.graph.find_nodes(op="placeholder")}
    forms: list[ArgumentForm | Plain] = []
    for leaf in leaves:
        if not isinstance(leaf, torch.Tensor):
            forms.append(plain(leaf))
            continue
        sizes = nodes[str(next(names))].meta["val"].shape
        shape = tuple(map(_fixed_size, sizes))
        layout = memory_order_of(leaf.shape, leaf.stride())
        forms.append(ArgumentForm(shape, leaf.dtype, layout, tuple(leaf.shape)))
    return tuple(forms)


def _fixed_size(size: Any) -> int | None:
    """None for one that may vary; the model may have fixed one that was to vary."""
    if isinstance(size, torch.SymInt):
        return int(size.node.expr) if size.node.expr.is_number else None
    return int(size)


def guards_of(exported: ExportedProgram, ones: Sequence[Ones]) -> Guards:
    """The conditions that torch.export recorded while it traced `forward(self, *tensors)`."""
    ranges = []
    nodes = {node.name: node for node in exported.graph.find_nodes(op="placeholder")}
    for at, name in enumerate(exported.graph_signature.user_inputs):
        for dim, size in enumerate(nodes[str(name)].meta["val"].shape):
            if isinstance(size, torch.SymInt) and size.node.expr in exported.range_constraints:
                bounds = exported.range_constraints[size.node.expr]
                ranges.append((at, dim, float(bounds.lower), float(bounds.upper)))
    return Guards(tuple(exported._guards_code), tuple(ranges), tuple(ones))


def describe(leaves: Sequence[Leaf]) -> str:
    """The leaves for people: `float32[1, 3, 224, 224], None`."""
    parts = [
        f"{_dtype(x.dtype)}{list(x.shape)}{_strides(x.shape, x.stride())}"
        if isinstance(x, torch.Tensor)
        else repr(x)
        for x in leaves
    ]
    return ", ".join(parts) or "nothing"


def describe_forms(forms: Sequence[ArgumentForm | Plain]) -> str:
    """The same for what is expected; a size that may vary is `any`."""
    return ", ".join(str(f) if isinstance(f, Plain) else _form(f) for f in forms) or "nothing"


def _form(form: ArgumentForm) -> str:
    sizes = ", ".join("any" if size is None else str(size) for size in form.shape)
    strides = _strides(form.example, form.layout.strides(form.example))
    return f"{_dtype(form.dtype)}[{sizes}]{strides}"


def _strides(shape: Sequence[int], strides: Sequence[int]) -> str:
    """Said only where they are not the usual ones."""
    is_usual = tuple(strides) == dense_strides(shape, range(len(shape)))
    return "" if is_usual else f" with strides {tuple(strides)}"


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
