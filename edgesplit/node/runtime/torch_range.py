"""A range of layers that torch runs in another way than eagerly, and what such ways have in common.

Whatever happens inside, what comes out lies in memory as eager torch would have left it.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from edgesplit.errors import RequestError, RuntimeUnavailableError
from edgesplit.node.program.segment import Value
from edgesplit.node.program.shaped_program import ShapedProgram
from edgesplit.node.program.structure import Layer, Structure, map_leaves
from edgesplit.node.runtime.layout import fits
from edgesplit.node.runtime.trial import dummy_payload
from edgesplit.node.transport.tensor_form import Form, TensorForm
from edgesplit.node.transport.tensors import laid

Module = Callable[..., Sequence[Value]]

# A view is for the layout that it was traced with; these copy where the layout is another one.
_VIEWS = {
    "aten.view.default": "aten.reshape.default",
    "aten._unsafe_view.default": "aten.reshape.default",
}
# It reads memory by place: in another layout it would silently read other elements.
_PLACED = "aten.as_strided.default"


class TorchRange:
    """Layers [start, stop): `run` takes the payload and returns the values that are new.

    n_bytes: memory beside the program's weights.
    """

    def __init__(
        self, workload: ShapedProgram, bounds: tuple[int, int], run: Module, n_bytes: int
    ) -> None:
        self.start, self.stop = bounds
        self.n_bytes = n_bytes
        self._run = run
        self._given = tuple(workload.program.live_values(self.start))
        self._wanted = tuple(workload.program.live_values(self.stop))
        self._made = workload.made(*bounds)
        self._inputs = workload.forms[self.start]
        self._outputs = dict(zip(self._wanted, workload.forms[self.stop], strict=True))

    def __call__(self, values: Sequence[Value]) -> list[Value]:
        """The payload at `stop`. Raises as Prepared."""
        self._check(values)
        known = dict(zip(self._given, values, strict=True))
        with torch.inference_mode():
            for number, value in zip(self._made, self._run(*values), strict=True):
                known[number] = self._as_expected(number, value)
        return [known[number] for number in self._wanted]

    def _as_expected(self, number: int, value: Value) -> Value:
        return laid_out(value, self._outputs[number])

    def _check(self, values: Sequence[Value]) -> None:
        self._count(values)
        for form, value in zip(self._inputs, values, strict=True):
            if not fits(form, value):
                raise RuntimeUnavailableError(
                    f"range {self.start}-{self.stop} was prepared for {form}, given another "
                    f"shape, dtype or number; prepare it for this input or run it in torch"
                )

    def _count(self, values: Sequence[Value]) -> None:
        if len(values) != len(self._inputs):
            raise RequestError(
                f"range {self.start}-{self.stop} takes {len(self._inputs)} values, "
                f"given {len(values)}; the payload belongs to another cut or program"
            )


class BatchedTorchRange(TorchRange):
    """The same for payloads of several requests side by side; see Runtime.prepare_batched."""

    def _as_expected(self, number: int, value: Value) -> Value:
        return value

    def _check(self, values: Sequence[Value]) -> None:
        self._count(values)


def tried(workload: ShapedProgram, prepared: TorchRange, name: str) -> TorchRange:
    """The range, once it has run on made-up values, which also warms it up.

    Raises RuntimeUnavailableError where it fails.
    """
    try:
        prepared(dummy_payload(workload.forms[prepared.start]))
    except RuntimeError as error:
        raise RuntimeUnavailableError(
            f"layers {prepared.start}-{prepared.stop} fail in {name}: {str(error)[:300]}; run "
            "them in torch"
        ) from error
    return prepared


def laid_out(value: Value, form: Form) -> Value:
    """The value with the strides of `form`, copied if need be.

    Raises RuntimeUnavailableError for another shape, RuntimeError where it cannot be laid out so.
    """
    if not isinstance(value, torch.Tensor) or not isinstance(form, TensorForm):
        return value
    if tuple(value.shape) != form.shape:
        raise RuntimeUnavailableError(
            f"a result has the shape {tuple(value.shape)}, this range was prepared for {form}; "
            "run it in torch"
        )
    if value.stride() == form.strides or not value.numel():
        return value
    return laid(value, form.shape, form.strides)


def in_any_layout(workload: ShapedProgram, start: int, stop: int) -> tuple[Layer, ...]:
    """Layers [start, stop) such that what they make may lie in memory otherwise than when traced.

    Other kernels lay their results out in their own way. Raises RuntimeUnavailableError where the
    layers read memory by place; PlanError.
    """
    layers = workload.layers(start, stop)
    if _PLACED in targets(layers):
        raise RuntimeUnavailableError(
            f"layers {start}-{stop} read memory by place ({_PLACED}), which holds for one layout "
            "only; run them in torch"
        )
    return with_targets(layers, _VIEWS)


def with_targets(layers: Sequence[Layer], replaced: dict[str, str]) -> tuple[Layer, ...]:
    """The layers with operators of those names replaced, also inside of branches."""

    def branch(leaf: Any) -> Any:
        if not isinstance(leaf, Structure):
            return leaf
        return replace(leaf, layers=with_targets(leaf.layers, replaced))

    def op(op: Any) -> Any:
        target = replaced.get(op.target, op.target)
        args, kwargs = map_leaves(branch, op.args), map_leaves(branch, op.kwargs)
        return replace(op, target=target, args=args, kwargs=kwargs)

    return tuple(replace(layer, ops=tuple(map(op, layer.ops))) for layer in layers)


def targets(layers: Sequence[Layer]) -> frozenset[str]:
    """Names of the operators in the layers, outside of branches."""
    return frozenset(op.target for layer in layers for op in layer.ops)
