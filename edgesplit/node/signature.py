"""What a model takes and gives: between the caller's arguments and results and flat values.

It stays with the caller. `accepts` is the rule it keeps: true only for inputs on which the
exported program does what the model does.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx.experimental.symbolic_shapes import SYMPY_INTERP
from torch.utils import _pytree as pytree

from edgesplit.errors import InputError

Leaf = torch.Tensor | None


@dataclass(frozen=True)
class Form:
    """One input tensor. shape[0] is None where the batch may vary; order: dims, outermost first."""

    shape: tuple[int | None, ...]
    dtype: torch.dtype
    order: tuple[int, ...]

    @property
    def is_dynamic(self) -> bool:
        """Whether the batch may vary."""
        return None in self.shape

    def fits(self, leaf: Leaf) -> bool:
        """Whether `leaf` has this dtype and shape."""
        if leaf is None or leaf.dtype != self.dtype or leaf.dim() != len(self.shape):
            return False
        return all(w in (None, s) for w, s in zip(self.shape, leaf.shape, strict=True))


@dataclass(frozen=True)
class Guards:
    """Conditions on input sizes under which the export holds; text of torch.export, compiled.

    allows_one: batch 1 gives the same result as the model. torch.export assumes sizes of 2 and
    more without recording it, so this was tried.
    """

    conditions: tuple[CodeType, ...]
    ranges: tuple[tuple[int, float, float], ...]
    allows_one: bool

    def hold(self, tensors: Sequence[torch.Tensor], dynamic: Sequence[int]) -> bool:
        """Whether they hold for these tensors, of which those at `dynamic` may vary in batch."""
        sizes = {int(tensors[position].shape[0]) for position in dynamic}
        if sizes == {1}:
            return self.allows_one
        if not sizes.isdisjoint({0, 1}):
            return False
        if not all(low <= tensors[at].shape[0] <= high for at, low, high in self.ranges):
            return False
        names = {**SYMPY_INTERP, "L": {"tensors": tensors}}
        return all(eval(condition, names) for condition in self.conditions)


@dataclass(frozen=True)
class Signature:
    """Tree of the arguments, form of each tensor among them (None where None was given)."""

    tree: pytree.TreeSpec
    forms: tuple[Form | None, ...]
    guards: Guards

    def accepts(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
        """Whether the program may be run on these arguments. Raises InputError as flatten_args."""
        leaves, tree = flatten_args(args, kwargs)
        if tree != self.tree or not self._fits(leaves):
            return False
        tensors = [leaf for leaf in leaves if leaf is not None]
        forms = [form for form in self.forms if form is not None]
        dynamic = [at for at, form in enumerate(forms) if form.is_dynamic]
        return self.guards.hold(tensors, dynamic)

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> list[torch.Tensor]:
        """The tensors among the arguments in order, on the CPU and laid out as at export.

        Raises InputError for arguments of another tree, shape or dtype.
        """
        leaves, tree = flatten_args(args, kwargs)
        if tree != self.tree or not self._fits(leaves):
            raise InputError(
                f"the model was exported for {describe_forms(self.forms)}, "
                f"given {describe(leaves)}; export it for these inputs"
            )
        return self.lay_out(leaves)

    def lay_out(self, leaves: Sequence[Leaf]) -> list[torch.Tensor]:
        """The tensors among fitting leaves, on the CPU and laid out as at export."""
        pairs = zip(leaves, self.forms, strict=True)
        return [laid_out(x, form.order) for x, form in pairs if x is not None and form is not None]

    def _fits(self, leaves: Sequence[Leaf]) -> bool:
        pairs = zip(leaves, self.forms, strict=True)
        return all(leaf is None if form is None else form.fits(leaf) for leaf, form in pairs)


def flatten_args(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Leaf], pytree.TreeSpec]:
    """Leaves and tree of the arguments; the order in which keywords are given does not matter.

    Raises InputError for a leaf that is neither a dense tensor nor None.
    """
    leaves, tree = pytree.tree_flatten((tuple(args), dict(sorted(kwargs.items()))))
    for leaf in leaves:
        dense = isinstance(leaf, torch.Tensor) and leaf.layout is torch.strided
        if leaf is not None and not dense:
            raise InputError(
                f"inputs must be dense tensors, or None, in tuples, lists and dicts; given "
                f"{_short(leaf)}. Make it a tensor, or fix it in the model before exporting"
            )
    return leaves, tree


def forms_of(exported: ExportedProgram, leaves: Sequence[Leaf]) -> tuple[Form | None, ...]:
    """The form of every leaf, given the example tensors in order."""
    names = iter(exported.graph_signature.user_inputs)
    nodes = {node.name: node for node in exported.graph.find_nodes(op="placeholder")}
    forms: list[Form | None] = []
    for leaf in leaves:
        if leaf is None:
            forms.append(None)
            continue
        sizes = nodes[str(next(names))].meta["val"].shape
        shape = tuple(size if isinstance(size, int) else None for size in sizes)
        forms.append(Form(shape, leaf.dtype, dim_order(leaf)))
    return tuple(forms)


def guards_of(exported: ExportedProgram, allows_one: bool) -> Guards:
    """The conditions that torch.export recorded while it traced `forward(self, *tensors)`."""
    ranges = []
    nodes = {node.name: node for node in exported.graph.find_nodes(op="placeholder")}
    for at, name in enumerate(exported.graph_signature.user_inputs):
        for size in nodes[str(name)].meta["val"].shape[:1]:
            if isinstance(size, torch.SymInt) and size.node.expr in exported.range_constraints:
                bounds = exported.range_constraints[size.node.expr]
                ranges.append((at, float(bounds.lower), float(bounds.upper)))
    codes = [compile(text, "<guard>", "eval") for text in exported._guards_code]
    return Guards(tuple(codes), tuple(ranges), allows_one)


def dim_order(tensor: torch.Tensor) -> tuple[int, ...]:
    """Dimensions from the outermost in memory to the innermost; plain order if not dense."""
    strides = tensor.stride()
    order = tuple(sorted(range(tensor.dim()), key=lambda dim: -strides[dim]))
    return order if strides == _strides(tensor.shape, order) else tuple(sorted(order))


def laid_out(tensor: torch.Tensor, order: Sequence[int]) -> torch.Tensor:
    """The tensor on the CPU, dense, its dimensions in memory in that order; copied if need be."""
    strides = _strides(tensor.shape, order)
    tensor = tensor.detach()
    if tensor.device.type == "cpu" and tensor.stride() == strides:
        return tensor
    return torch.empty_strided(tensor.shape, strides, dtype=tensor.dtype).copy_(tensor)


def _strides(shape: Sequence[int], order: Sequence[int]) -> tuple[int, ...]:
    strides, step = [0] * len(order), 1
    for dim in reversed(order):
        strides[dim] = step
        step *= max(1, shape[dim])
    return tuple(strides)


def describe(leaves: Sequence[Leaf]) -> str:
    """The tensors for people: `float32[1, 3, 224, 224], None`."""
    parts = ["None" if x is None else f"{_dtype(x.dtype)}{list(x.shape)}" for x in leaves]
    return ", ".join(parts) or "nothing"


def describe_forms(forms: Sequence[Form | None]) -> str:
    """The same for what is expected; a batch that may vary is `any`."""
    parts = []
    for form in forms:
        sizes = [] if form is None else ["any" if s is None else str(s) for s in form.shape]
        parts.append("None" if form is None else f"{_dtype(form.dtype)}[{', '.join(sizes)}]")
    return ", ".join(parts) or "nothing"


def _dtype(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _short(value: object) -> str:
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 40 else text[:37] + '...'}"
