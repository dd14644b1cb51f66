"""Has torch.export trace sizes that may vary quickly, or give them up quickly.

Without this an activation costs as much as a hundred other operators, and a model whose sizes
depend on each other in long chains, as shifted windows do, is traced for hours.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch._subclasses.fake_impls import get_fast_op_impls
from torch.fx.experimental.symbolic_shapes import ShapeEnv

_aten = torch.ops.aten
# Of one tensor, which their result is like; torch would go through a decomposition of each.
_ALIKE = (
    _aten.hardtanh.default, _aten.hardswish.default, _aten.hardsigmoid.default,
    _aten.silu.default, _aten.gelu.default, _aten.relu.default,
)  # fmt: skip
_IN_PLACE = (
    _aten.hardtanh_.default, _aten.hardswish_.default, _aten.hardsigmoid_.default,
    _aten.silu_.default, _aten.gelu_.default, _aten.relu_.default,
)  # fmt: skip
# Of a condition on sizes, as text. Five convolutional nets that were tried need 620 at most.
_LONGEST_CONDITION = 1500


class TangledSizesError(Exception):
    """The conditions on sizes become so long that the sizes had better stay fixed."""


@contextmanager
def quickly_or_not() -> Iterator[None]:
    """Exports within it are quick, or raise TangledSizesError."""
    table = get_fast_op_impls()
    new = {op: _like_first for op in _ALIKE if op not in table}
    new |= {op: _first for op in _IN_PLACE if op not in table}
    before = ShapeEnv.evaluate_expr
    table.update(new)
    setattr(ShapeEnv, "evaluate_expr", _watched(before))  # noqa: B010
    try:
        yield
    finally:
        setattr(ShapeEnv, "evaluate_expr", before)  # noqa: B010
        for op in new:
            del table[op]


def _like_first(mode: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    with mode:
        return torch.empty_like(x)


def _first(mode: Any, x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
    return x


def _watched(evaluate: Callable[..., Any]) -> Callable[..., Any]:
    seen: set[Any] = set()

    def checked(self: ShapeEnv, condition: Any, *args: Any, **kwargs: Any) -> Any:
        if condition not in seen:
            seen.add(condition)
            if len(str(condition)) > _LONGEST_CONDITION:
                raise TangledSizesError(f"a condition of over {_LONGEST_CONDITION} characters")
        return evaluate(self, condition, *args, **kwargs)

    return checked
