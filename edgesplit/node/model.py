"""From a PyTorch model to a program that can be cut: the caller's side.

Here the arguments become the payload at cut 0 and the payload at cut n becomes the result.
"""

import contextlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from edgesplit.errors import ExportError
from edgesplit.node.capture import (
    FlatModel,
    agrees,
    capture,
    check_inputs,
    copy_on_cpu,
    first_lines,
)
from edgesplit.node.lower import lower
from edgesplit.node.program import Program, is_random
from edgesplit.node.segment import Value
from edgesplit.node.signature import (
    Form,
    Signature,
    dim_order,
    flatten_args,
    forms_of,
    guards_of,
    laid_out,
)
from edgesplit.node.structure import Ref, Weight

# torch.export keeps what it traces in variables of the process: two at once break each other.
_EXPORTING = threading.Lock()
_EXPORT_TIMEOUT_S = 600.0


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

    def payload(self, leaves: Sequence[torch.Tensor | None]) -> list[Value]:
        """The same for the leaves of arguments that `accepts` has said yes to; not checked."""
        tensors = self.signature.lay_out(leaves)
        return [tensors[number] for number in self.program.alive(0)]

    def unflatten(self, values: Sequence[Value]) -> Any:
        """What the model returns, from the payload at the last cut."""
        return pytree.tree_unflatten(_results(self.program, values), self.out_tree)


def export(
    model: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any] | None = None
) -> ExportedModel:
    """The model, in eval mode, as a program; the model itself stays as it is.

    The batch (dimension 0 of every input) may vary later, as far as the model allows it; `accepts`
    tells. Raises InputError for arguments that the model rejects, ExportError for a model that
    torch.export cannot capture, that changes its own buffers, or that computes nothing. What is
    returned has given the model's result on these arguments.
    """
    leaves, tree = flatten_args(args, kwargs or {})
    tensors = [laid_out(leaf, dim_order(leaf)) for leaf in leaves if leaf is not None]
    exporter = _Exporter(model, leaves, tree, tensors)
    check_inputs(exporter.flat_model(), tensors)
    with exporting():
        return exporter.export(args, kwargs or {})


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Nobody else exports meanwhile. Raises ExportError where that takes too long."""
    if not _EXPORTING.acquire(timeout=_EXPORT_TIMEOUT_S):
        raise ExportError(f"another thread has been exporting for {_EXPORT_TIMEOUT_S:g} s")
    try:
        yield
    finally:
        _EXPORTING.release()


def warm_up() -> None:
    """Have torch import what an export needs, seconds before the first one needs it."""
    with contextlib.suppress(ExportError):  # the first real export says what is wrong
        export(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), (torch.zeros(1, 2),))


@dataclass(frozen=True)
class _Exporter:
    """One call of export: the model and the example, flat and in its tree."""

    model: nn.Module
    leaves: list[torch.Tensor | None]
    tree: pytree.TreeSpec
    tensors: list[torch.Tensor]

    def export(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> ExportedModel:
        """With any batch where that can be, else with this one. Raises ExportError."""
        for attempt in (self.with_any_batch, self.with_this_batch):
            exported = attempt()
            if exported and exported.accepts(args, kwargs) and self.confirms(exported):
                return exported
        raise ExportError(
            f"the exported {type(self.model).__name__} gives another result than the model on "
            "these inputs; its forward depends on more than its inputs and weights"
        )

    def flat_model(self) -> FlatModel:
        """A fresh copy: whatever runs forward may leave something in the copy's attributes."""
        return FlatModel(copy_on_cpu(self.model), self.leaves, self.tree)

    def with_any_batch(self) -> ExportedModel | None:
        """The export whose batch may vary, None where torch cannot do it."""
        flat = self.flat_model()
        try:
            captured = capture(flat, self.tensors, batch_varies=True)
        except Exception:  # torch.export raises anything; the export at a fixed batch decides
            return None
        return self._finish(captured, flat.out_tree)

    def with_this_batch(self) -> ExportedModel:
        """The export for exactly these shapes. Raises ExportError."""
        flat = self.flat_model()
        try:
            captured = capture(flat, self.tensors, batch_varies=False)
        except Exception as error:  # torch.export, and the model inside it, raise anything
            raise ExportError(
                f"torch.export cannot capture {type(self.model).__name__}: "
                f"{first_lines(error)}. Make forward a fixed sequence of tensor operations"
            ) from error
        return self._finish(captured, flat.out_tree)

    def _finish(self, captured: ExportedProgram, out_tree: pytree.TreeSpec) -> ExportedModel:
        name = type(self.model).__name__
        try:
            program = lower(captured, FlatModel.PREFIX)
        except RuntimeError as error:
            raise ExportError(f"cannot fold {name}'s constants: {first_lines(error)}") from error
        if not len(program):
            raise ExportError(f"{name} computes nothing from its inputs; there is nothing to split")
        forms = forms_of(captured, self.leaves)
        guards = guards_of(captured, self._allows_one(program, out_tree, forms))
        return ExportedModel(program, Signature(self.tree, forms, guards), out_tree)

    def _allows_one(
        self, program: Program, out_tree: pytree.TreeSpec, forms: Sequence[Form | None]
    ) -> bool:
        """Whether the program is right at batch 1, which torch.export left out."""
        dynamic = [form.is_dynamic for form in forms if form is not None]
        pairs = zip(self.tensors, dynamic, strict=True)
        tensors = [x[:1] if is_dynamic else x for x, is_dynamic in pairs]
        return any(dynamic) and self._agrees(program, out_tree, tensors)

    def confirms(self, exported: ExportedModel) -> bool:
        """Whether the program gives the model's result on the example; unknown if random."""
        program = exported.program
        return is_random(program) or self._agrees(program, exported.out_tree, self.tensors)

    def _agrees(
        self, program: Program, out_tree: pytree.TreeSpec, tensors: Sequence[torch.Tensor]
    ) -> bool:
        run, flat = program.segment(0, len(program)), self.flat_model()

        def results(given: Sequence[torch.Tensor]) -> list[Any]:
            return _results(program, run([given[number] for number in program.alive(0)]))

        return agrees(flat, results, tensors) and flat.out_tree == out_tree


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
