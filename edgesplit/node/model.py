"""From a PyTorch model to a program that can be cut: the caller's side.

Here the arguments become the payload at cut 0 and the payload at cut n becomes the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from edgesplit.core.graph import Graph
from edgesplit.errors import EdgeSplitError, ExportError
from edgesplit.node.capture import (
    FlatModel,
    agrees,
    capture,
    copy_on_cpu,
    first_lines,
    refusal,
)
from edgesplit.node.lower import lower
from edgesplit.node.program import Program, payload_bytes
from edgesplit.node.segment import Value
from edgesplit.node.signature import (
    Signature,
    dim_order,
    flatten_args,
    forms_of,
    guards_of,
    laid_out,
)
from edgesplit.node.structure import Ref, Weight


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """The program, which travels, and what stays with the caller: argument and result types."""

    program: Program
    signature: Signature
    out_tree: pytree.TreeSpec

    def accepts(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> bool:
        """Whether the program does on these arguments what the model does.

        False: export the model anew for them. Raises InputError for what is no tensor or None.
        """
        return self.signature.accepts(args, kwargs or {})

    def flatten(self, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None) -> list[Value]:
        """The payload at cut 0: every input tensor that the model uses, on the CPU.

        Raises InputError for arguments of another structure, shape or dtype than exported.
        """
        tensors = self.signature.flatten(args, kwargs or {})
        return [tensors[number] for number in self.program.alive(0)]

    def unflatten(self, values: Sequence[Value]) -> Any:
        """What the model returns, from the payload at the last cut."""
        return pytree.tree_unflatten(_results(self.program, values), self.out_tree)

    def graph(
        self, name: str, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
    ) -> Graph:
        """Layers, and the exact bytes at every cut for these arguments, from one run of them."""
        values = self.flatten(args, kwargs)
        sizes = [payload_bytes(values)]
        for step in self.program.steps():
            values = step(values)
            sizes.append(payload_bytes(values))
        return Graph(name, self.program.layers, tuple(sizes), self.program.weight_bytes)


def export(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> ExportedModel:
    """The model, in eval mode, as a program; the model itself stays as it is.

    The batch (dimension 0 of every input) may vary later, as far as the model allows it; `accepts`
    tells. Raises InputError for arguments that the model rejects, ExportError for a model that
    torch.export cannot capture, that changes its own buffers, or that computes nothing.
    """
    leaves, tree = flatten_args(args, kwargs or {})
    flat = FlatModel(copy_on_cpu(model), leaves, tree)
    tensors = [laid_out(leaf, dim_order(leaf)) for leaf in leaves if leaf is not None]
    exporter = _Exporter(flat, leaves, tree, tensors)
    exported = exporter.with_any_batch()
    if exported is None or not exported.accepts(args, kwargs):
        exported = exporter.with_this_batch()
    return exported


@dataclass(frozen=True)
class _Exporter:
    """One call of export: the flat copy of the model and the example, flat and in its tree."""

    flat: FlatModel
    leaves: list[torch.Tensor | None]
    tree: pytree.TreeSpec
    tensors: list[torch.Tensor]

    def with_any_batch(self) -> ExportedModel | None:
        """The export whose batch may vary, None where torch cannot do it."""
        try:
            captured = capture(self.flat, self.tensors, batch_varies=True)
        except Exception:  # torch.export raises anything; the export at a fixed batch decides
            return None
        return self._finish(captured)

    def with_this_batch(self) -> ExportedModel:
        """The export for exactly these shapes. Raises ExportError or InputError."""
        try:
            captured = capture(self.flat, self.tensors, batch_varies=False)
        except Exception as error:  # torch.export, and the model inside it, raise anything
            raise refusal(self.flat, self.tensors, error) from error
        return self._finish(captured)

    def _finish(self, captured: ExportedProgram) -> ExportedModel:
        name = type(self.flat.model).__name__
        try:
            program = lower(captured, FlatModel.PREFIX)
        except EdgeSplitError:
            raise
        except RuntimeError as error:
            raise ExportError(f"cannot fold {name}'s constants: {first_lines(error)}") from error
        if not len(program):
            raise ExportError(f"{name} computes nothing from its inputs; there is nothing to split")
        forms = forms_of(captured, self.leaves)
        guards = guards_of(captured, self._allows_one(captured, program))
        return ExportedModel(program, Signature(self.tree, forms, guards), self.flat.out_tree)

    def _allows_one(self, captured: ExportedProgram, program: Program) -> bool:
        """Whether the program is right at batch 1, which torch.export left out."""
        given = [leaf for leaf in self.leaves if leaf is not None]
        forms = [form for form in forms_of(captured, given) if form is not None]
        pairs = zip(self.tensors, forms, strict=True)
        tensors = [x[:1] if form.is_dynamic else x for x, form in pairs]
        if not any(form.is_dynamic for form in forms):
            return False
        run = program.segment(0, len(program))
        return agrees(
            self.flat,
            lambda given: _results(program, run([given[k] for k in program.alive(0)])),
            tensors,
        )


def _results(program: Program, values: Sequence[Value]) -> list[Any]:
    """Leaves of the result: values of the last payload, and constants the program knows."""
    numbers = program.alive(len(program))
    by_number = {n: _ordinary(value) for n, value in zip(numbers, values, strict=True)}

    def leaf(output: Any) -> Any:
        if isinstance(output, Ref):
            return by_number[output.number]
        # A copy, or the caller could change the program's constant through its result.
        return program.weights[output.index].clone() if isinstance(output, Weight) else output

    return [leaf(output) for output in program.structure.outputs]


def _ordinary(value: Value) -> Value:
    """Segments run in inference mode, whose tensors the caller could not change or train with."""
    if isinstance(value, torch.Tensor) and value.is_inference():
        return value.clone()
    return value
