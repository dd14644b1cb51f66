"""Has torch.export see a recurrent operator's result without unrolling it over the sequence.

Its own way fixes the length, although the operator that is captured takes any.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

_aten = torch.ops.aten
_OPERATORS = (_aten.lstm.input, _aten.gru.input, _aten.rnn_tanh.input, _aten.rnn_relu.input)
_KEY = torch._C.DispatchKey.CompositeImplicitAutograd
_SHORT = 2  # steps that are traced in place of the sequence


@contextmanager
def any_length() -> Iterator[None]:
    """Exports within it may vary the length of what recurrent operators read."""
    before = {op: op.py_kernels.get(_KEY) for op in _OPERATORS}
    for op, kernel in before.items():
        if kernel is not None:
            op.py_kernels[_KEY] = _any_length(kernel)
    try:
        yield
    finally:
        for op, kernel in before.items():
            if kernel is not None:
                op.py_kernels[_KEY] = kernel


def _any_length(kernel: Callable[..., Any]) -> Callable[..., Any]:
    def shapes(x: torch.Tensor, *args: Any) -> Any:
        batch_first = args[-1]
        time = 1 if batch_first else 0
        short, *states = kernel(x.narrow(time, 0, _SHORT), *args)
        steps = x.shape[time]
        sizes = (short.shape[0], short.shape[2]) if batch_first else tuple(short.shape[1:])
        whole = short.new_empty((steps, *sizes))
        return (whole.transpose(0, 1) if batch_first else whole, *states)

    def short_if_longer(x: torch.Tensor, *args: Any) -> Any:
        is_traced = isinstance(x.shape[1 if args[-1] else 0], torch.SymInt)
        return shapes(x, *args) if is_traced else kernel(x, *args)

    return short_if_longer
