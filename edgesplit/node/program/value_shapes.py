"""Operators whose results' shapes depend on values: `x[x > 0]`, `nonzero`.

Every runtime but eager torch prepares ranges for the shapes of the example input, and such shapes
may be others with the next input of the same form.
"""

from collections.abc import Iterator, Mapping

import torch

from edgesplit.errors import RuntimeUnavailableError
from edgesplit.node.program.ops import find_op
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.program.structure import Op, Ref, Structure, leaves
from edgesplit.node.transport.tensor_form import TensorForm

_INDEX = "aten.index.Tensor"
_MASKS = frozenset({"bool", "uint8"})


def require_fixed_shapes(workload: ShapedProgram, runtime: str) -> None:
    """Raise RuntimeUnavailableError for a program that such operators are in."""
    if names := value_dependent(workload):
        raise RuntimeUnavailableError(
            f"shapes in this model depend on values ({', '.join(names)}), and {runtime} is "
            "prepared for those of one input; run this model in torch"
        )


def value_dependent(workload: ShapedProgram) -> tuple[str, ...]:
    """Names of such operators in the program, also inside of branches, each once."""
    found: list[str] = []
    for position, layer in enumerate(workload.program.structure.layers):
        numbers = workload.program.live_values(position)
        forms = dict(zip(numbers, workload.forms[position], strict=True))
        for op in layer.ops:
            found += _of_op(op, forms)
    return tuple(dict.fromkeys(found))


def _of_op(op: Op, forms: Mapping[int, object]) -> Iterator[str]:
    """forms: by number, of the values that are known; an index that is not may be a mask."""
    if torch.Tag.dynamic_output_shape in getattr(find_op(op.target), "tags", ()):
        numbers = [leaf.number for leaf in leaves(op.args[1:]) if isinstance(leaf, Ref)]
        if op.target != _INDEX or any(_may_be_mask(forms.get(n)) for n in numbers):
            yield op.target
    for leaf in leaves((op.args, op.kwargs)):
        if isinstance(leaf, Structure):
            for layer in leaf.layers:
                for inner in layer.ops:
                    yield from _of_op(inner, {})


def _may_be_mask(form: object) -> bool:
    return not isinstance(form, TensorForm) or form.dtype in _MASKS
