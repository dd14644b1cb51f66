"""Arguments and results as leaves and a tree; dataclasses are made known to pytree as they come."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils import _pytree as pytree

from edgesplit.errors import InputError
from edgesplit.node.program.export.leaf import Leaf, require_leaf


def flatten_args(
    args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[list[Leaf], pytree.TreeSpec]:
    """Leaves and tree of the arguments; the order in which keywords are given does not matter.

    Raises InputError for a leaf that is neither a dense tensor nor a plain value.
    """
    try:
        leaves, tree = flatten_tree((tuple(args), dict(sorted(kwargs.items()))))
    except ValueError as error:
        raise InputError(f"a dataclass among the inputs is not accepted: {error}") from error
    for leaf in leaves:
        require_leaf(leaf)
    return leaves, tree


def tensors_of(leaves: Sequence[Leaf]) -> list[torch.Tensor]:
    """The tensors among them, on the CPU and without what they would be trained by."""
    return [leaf.detach().cpu() for leaf in leaves if isinstance(leaf, torch.Tensor)]


def flatten_tree(value: Any) -> tuple[list[Any], pytree.TreeSpec]:
    """Leaves and tree. Raises ValueError for a dataclass that its fields do not make again."""
    leaves, tree = pytree.tree_flatten(value)
    unknown = {type(leaf) for leaf in leaves if _is_dataclass(leaf)}
    if not unknown:
        return leaves, tree
    for kind in unknown:
        torch.export.register_dataclass(kind, serialized_type_name=kind.__qualname__)
    return flatten_tree(value)


def _is_dataclass(leaf: Any) -> bool:
    return dataclasses.is_dataclass(leaf) and not isinstance(leaf, type)
