"""What the answer of a program looks like, as far as its caller can know beforehand."""

from collections.abc import Iterator, Sequence

import torch
from torch._ops import OpOverload

from edgesplit.node.program.ops import Target, find_op
from edgesplit.node.program.program import Program
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.program.structure import Structure, leaves
from edgesplit.node.program.value_shapes import value_dependent
from edgesplit.node.transport.judge import AnswerForm
from edgesplit.node.transport.tensor_form import Forms

_KNOWN = frozenset({"aten", "prim", "prims"})


def answer_form(program: Program, forms: Sequence[Forms]) -> AnswerForm:
    """forms: of the payload at each cut 0..n, for the input that an answer is for."""
    varies = bool(value_dependent(ShapedProgram(program, tuple(forms)))) or any(
        _may_give_any_size(target) for target in _targets(program.structure)
    )
    return AnswerForm(tuple(forms[-1]), are_sizes_fixed=not varies)


def _may_give_any_size(target: Target) -> bool:
    """A number that depends on values may become a size; other libraries' operators do not say."""
    if not isinstance(target, OpOverload):
        return False
    return target.namespace not in _KNOWN or torch.Tag.data_dependent_output in target.tags


def _targets(structure: Structure) -> Iterator[Target]:
    for layer in structure.layers:
        for op in layer.ops:
            yield find_op(op.target)
            for leaf in leaves((op.args, op.kwargs)):
                if isinstance(leaf, Structure):
                    yield from _targets(leaf)
