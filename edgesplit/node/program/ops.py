"""Operators a program calls: their names, reversible, and what kind each is.

Every operator travels to other machines by its name. A name is no more than a wish: what it leads
to is called only if it is an operator of torch, or on the list of Python's functions below.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch._ops import HigherOrderOperator, OpOverload

from edgesplit.errors import ExportError

Target = Callable[..., Any]

_HIGHER = "higher_order"
# Functions of Python that torch.export leaves in graphs: arithmetic on plain numbers, getitem.
_OPERATOR = frozenset({
    "abs", "add", "and_", "contains", "eq", "floordiv", "ge", "getitem", "gt", "index", "inv",
    "invert", "is_", "is_not", "le", "lshift", "lt", "matmul", "mod", "mul", "ne", "neg",
    "not_", "or_", "pos", "pow", "rshift", "sub", "truediv", "truth", "xor",
})  # fmt: skip
_BUILTINS = frozenset({
    "abs", "bool", "divmod", "float", "int", "max", "min", "pow", "round", "sum",
})  # fmt: skip
# Operators that reach beyond their arguments: files, other processes, the console, a profiler.
_FAR_SPACES = frozenset({
    "c10d", "_c10d_functional", "_c10d_functional_autograd", "symm_mem", "profiler", "rpc",
    "_test", "_dtensor", "debugprims", "debug_mode_ops", "static_runtime",
})  # fmt: skip
_FAR = frozenset({"aten.from_file", "aten.save", "aten._print"})
# Of torch's higher-order operators those that run branches of the program, and nothing else.
_BRANCHING = frozenset({
    "cond", "while_loop", "map", "map_impl", "scan", "associative_scan", "out_dtype",
    "auto_functionalized", "auto_functionalized_v2", "flex_attention",
    "wrap_with_set_grad_enabled", "wrap_with_autocast", "while_loop_stack_output",
    "foreach_map", "invoke_subgraph",
})  # fmt: skip


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
    """The operator of that name.

    Raises ExportError where this process does not have it, or where it is none that programs call.
    """
    module, colon, attribute = name.partition(":")
    if not is_listed(name):
        raise ExportError(f"{name!r} is no operator that a program may call")
    try:
        if colon:
            found = getattr(importlib.import_module(module), attribute)
        else:
            found = torch.ops
            for part in name.split("."):
                found = getattr(found, part)
    except (AttributeError, ImportError, RuntimeError) as error:
        raise ExportError(
            f"operator {name!r} does not exist in this process; name the module that registers "
            "it in Config(imports=(...,)), and install it on every machine"
        ) from error
    if not (colon or isinstance(found, (OpOverload, HigherOrderOperator))):
        raise ExportError(f"{name!r} is no operator of torch")
    return found  # type: ignore[no-any-return]


def is_listed(name: str) -> bool:
    """Whether a program may call what has that name, if this process has it."""
    module, colon, attribute = name.partition(":")
    if colon:
        match module:
            case "_operator":
                return attribute in _OPERATOR
            case "builtins":
                return attribute in _BUILTINS
            case "math":
                return attribute.isidentifier() and not attribute.startswith("_")
            case "torch":
                return attribute.startswith(("sym_", "_sym_")) and attribute.isidentifier()
        return False
    space, _, rest = name.partition(".")
    if space == _HIGHER:
        return rest in _BRANCHING
    is_far = space in _FAR_SPACES or name.rpartition(".")[0] in _FAR
    return not is_far and name.count(".") == 2


def is_mutating(target: Target) -> bool:
    """Whether the operator writes into one of its arguments."""
    return isinstance(target, OpOverload) and target._schema.is_mutable


def draws_numbers(target: Target, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether this call uses the random generator.

    Attention, dropout and recurrent operators may; they do not where they drop nothing.
    """
    if not isinstance(target, OpOverload):
        return False
    if torch.Tag.nondeterministic_seeded not in target.tags:
        return False
    schema = target._schema.arguments
    given = {a.name: a.default_value for a in schema if a.has_default_value()}
    given |= {a.name: value for a, value in zip(schema, args, strict=False)} | dict(kwargs)
    is_training = all(given.get(name) is not False for name in ("train", "training"))
    return is_training and all(given.get(name) != 0 for name in ("dropout_p", "dropout", "p"))


def is_foldable(target: Target, args: Sequence[Any], kwargs: Mapping[str, Any]) -> bool:
    """Whether the result depends on the arguments only: neither random nor control flow."""
    return not isinstance(target, HigherOrderOperator) and not draws_numbers(target, args, kwargs)


def short_name(target: Target) -> str:
    """The bare word for people: `add`, `cond`."""
    return op_name(target).replace(":", ".").split(".")[1].strip("_")
