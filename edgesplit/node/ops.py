"""Operators a program calls: their names, reversible, and what kind each is.

Every operator travels to other machines by its name.
"""

import importlib
from collections.abc import Callable
from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload

from edgesplit.errors import ExportError

Target = Callable[..., Any]

_HIGHER = "higher_order"


def op_name(target: Target) -> str:
    """The reversible name: `aten.add.Tensor`, `higher_order.cond` or `_operator:mul`.

    Raises ExportError for a function that no other process could find under its name.
    """
    if isinstance(target, OpOverload):
        return str(target)
    if isinstance(target, HigherOrderOperator):
        return f"{_HIGHER}.{target.__name__}"
    name = f"{getattr(target, '__module__', None)}:{getattr(target, '__qualname__', None)}"
    if find_op(name) is not target:
        raise ExportError(f"the model calls {target!r}, which cannot be found by name elsewhere")
    return name


def find_op(name: str) -> Target:
    """The operator of that name. Raises ExportError where this process does not have it."""
    module, colon, attribute = name.partition(":")
    try:
        if colon:
            found = getattr(importlib.import_module(module), attribute)
        else:
            found = torch.ops
            for part in name.split("."):
                found = getattr(found, part)
    except (AttributeError, ImportError, RuntimeError) as error:
        raise ExportError(
            f"operator {name!r} does not exist in this process; import the package that "
            "registers it on every machine"
        ) from error
    return found  # type: ignore[no-any-return]


def is_mutating(target: Target) -> bool:
    """Whether the operator writes into one of its arguments."""
    return isinstance(target, OpOverload) and target._schema.is_mutable


def draws_numbers(target: Target) -> bool:
    """Whether the operator uses the random generator."""
    return isinstance(target, OpOverload) and torch.Tag.nondeterministic_seeded in target.tags


def is_foldable(target: Target) -> bool:
    """Whether the result depends on the arguments only: neither random nor control flow."""
    return not isinstance(target, HigherOrderOperator) and not draws_numbers(target)


def short_name(target: Target) -> str:
    """The bare word for people: `add`, `cond`."""
    return op_name(target).replace(":", ".").split(".")[1].strip("_")
