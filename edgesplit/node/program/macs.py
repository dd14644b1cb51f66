"""Multiply-adds of each layer of a program, from the shapes of its values; nothing is computed.

The layers run on torch's meta device, where tensors have a shape and no content. What counts is
what torch's own table of formulas counts: products of matrices, convolutions, attention.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from edgesplit.node.program.program import Program
from edgesplit.node.program.segment import LayerRun
from edgesplit.node.transport.tensor_form import Form, Forms, TensorForm

_META = torch.device("meta")
_FLOPS_PER_MAC = 2


def macs_of(program: Program, forms: Forms) -> tuple[int, ...]:
    """Multiply-adds per layer for inputs that look like `forms`, the payload at cut 0.

    Empty where they are not known: of a model with operators whose shapes depend on values, or
    which run on no meta device.
    """
    counter, counts = _Counter(), list[int]()
    weights = [torch.empty_like(weight, device=_META) for weight in program.weights]
    run = LayerRun(weights, program.switches)
    try:
        run.begin(program.live_values(0), [_shape_only(form) for form in forms])
        for number, layer in enumerate(program.structure.layers, 1):
            before = counter.flops
            with counter:
                run.layer(layer, program.live_values(number))
            counts.append((counter.flops - before) // _FLOPS_PER_MAC)
    except Exception:  # operators raise anything there; the count is then not known
        return ()
    return tuple(counts)


def _shape_only(form: Form) -> Any:
    if not isinstance(form, TensorForm):
        return form
    dtype = getattr(torch, form.dtype)
    return torch.empty_strided(form.shape, form.strides, dtype=dtype, device=_META)


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Adds up what the operators called within it take. Others are taken apart first."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.flops = 0

    def __torch_dispatch__(
        self,
        func: Any,
        types: Sequence[Any],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """The call's result, on the meta device."""
        given = dict(kwargs or {})
        if "device" in given:
            given["device"] = _META
        formula = flop_registry.get(func._overloadpacket)
        if formula is None:
            with self:
                parts = func.decompose(*args, **given)
            return func(*args, **given) if parts is NotImplemented else parts
        result = func(*args, **given)
        self.flops += int(formula(*args, **given, out_val=result))
        return result
