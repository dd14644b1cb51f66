"""Takes in-place operators out of an export where no result changes, before functionalisation.

torch.export's own functionalisation is right for all of them, but slow on operators such as
`hardtanh_`: replacing MobileNetV2's beforehand halves its export.
"""

import torch
from torch import fx
from torch._ops import HigherOrderOperator, OpOverload

# Operators that always return memory of their own. Their schema alone does not say so: `dropout`
# returns its input in eval mode without declaring it.
_FRESH = frozenset({"conv1d", "conv2d", "conv3d", "batch_norm", "linear", "add", "group_norm"})


def make_private_functional(module: fx.GraphModule) -> None:
    """Replace `x.op_()` by `x.op()` where x is fresh memory with no other use.

    Then no other value shares x's memory, so nothing can see whether x itself has changed.
    """
    for node in module.graph.nodes:
        functional = _functional(node.target)
        if functional is not None and _is_private(node):
            node.target = functional
    module.recompile()


def is_functional(module: fx.GraphModule) -> bool:
    """Whether no operator writes to a value, so that shared memory makes no difference.

    Operators that hold graphs of their own do not count as such, nor do steps of torch.func's
    transforms, which are taken out by tracing again.
    """
    calls = [node.target for node in module.graph.nodes if node.op == "call_function"]
    return all(
        not target._schema.is_mutable
        if isinstance(target, OpOverload)
        else not (isinstance(target, HigherOrderOperator) or _is_transforms(target))
        for target in calls
    )


def _is_transforms(target: object) -> bool:
    return str(getattr(target, "__module__", "")).startswith("torch._functorch")


def _functional(target: object) -> OpOverload | None:
    """The aten operator without the underscore and with the same arguments, if there is one."""
    if not isinstance(target, OpOverload) or not target._schema.is_mutable:
        return None
    name = target._schema.name.removeprefix("aten::")
    packet = getattr(torch.ops.aten, name[:-1], None) if name.endswith("_") else None
    if packet is None or target._overloadname not in packet.overloads():
        return None
    functional: OpOverload = getattr(packet, target._overloadname)
    return functional if _arguments(functional) == _arguments(target) else None


def _arguments(op: OpOverload) -> list[tuple[str, str]]:
    return [(argument.name, str(argument.type)) for argument in op._schema.arguments]


def _is_private(node: fx.Node) -> bool:
    """Whether the value that `node` writes to is fresh and used by `node` alone, once."""
    value = node.args[0] if node.args else None
    return (
        isinstance(value, fx.Node)
        and isinstance(value.target, OpOverload)
        and value.target._schema.name.removeprefix("aten::") in _FRESH
        and list(value.users) == [node]
        and node.all_input_nodes.count(value) == 1
        and all(argument is not value for argument in node.args[1:])
    )
