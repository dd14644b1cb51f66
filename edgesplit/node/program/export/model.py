"""From a PyTorch model to a program that can be cut: the caller's side.

Here the arguments become the payload at cut 0 and the payload at cut n becomes the result.
"""

import contextlib
import functools
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from edgesplit.errors import EdgeSplitError, ExportError, InputError
from edgesplit.node.process.messages import first_lines
from edgesplit.node.program.export.aliases import overlaps, require_apart
from edgesplit.node.program.export.capture import FlatModel, capture
from edgesplit.node.program.export.kept_state import refuse_kept_state
from edgesplit.node.program.export.leaf import Leaf, Plain, SentLeaf
from edgesplit.node.program.export.lower import inputs_written, lower
from edgesplit.node.program.export.original import Original, agrees
from edgesplit.node.program.export.padding import put_zeros, zeroing_encoders
from edgesplit.node.program.export.signature import (
    ArgumentForm,
    Ones,
    Signature,
    argument_forms,
    guards_of,
    ones_of,
)
from edgesplit.node.program.export.snapshot import Mode, room_for, take_snapshot
from edgesplit.node.program.export.symbolic import TangledSizesError
from edgesplit.node.program.export.trees import flatten_args, tensors_of
from edgesplit.node.program.export.value_sizes import advice
from edgesplit.node.program.program import Program, is_random
from edgesplit.node.program.segment import Value
from edgesplit.node.program.structure import Ref, Weight
from edgesplit.node.program.structure_codec import encode
from edgesplit.node.program.switches import now
from edgesplit.node.transport.coded_tensor import CodedTensor

# torch.export keeps what it traces in variables of the process: two at once break each other.
_EXPORTING = threading.Lock()
_EXPORT_TIMEOUT_S = 600.0


@dataclass(frozen=True, eq=False)
class ExportedModel:
    """The program, which travels, and what stays with the caller: argument and result types.

    written: positions, among the tensors given, of those that forward writes into; the caller's own
    stay as they are. zeroing: see padding.py.
    """

    program: Program
    signature: Signature
    out_tree: pytree.TreeSpec
    written: frozenset[int] = frozenset()
    zeroing: frozenset[str] = frozenset()

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
        return [tensors[number] for number in self.program.live_values(0)]

    def payload(self, leaves: Sequence[Leaf]) -> list[Value]:
        """The same for the leaves of arguments that `accepts` has said yes to; not checked."""
        tensors = tensors_of(leaves)
        return [tensors[number] for number in self._taken]

    def sent_payload(self, leaves: Sequence[SentLeaf]) -> list[Value | CodedTensor]:
        """The same where some tensors are in a codec already."""
        tensors = [
            leaf if isinstance(leaf, CodedTensor) else leaf.detach().cpu()
            for leaf in leaves
            if isinstance(leaf, torch.Tensor | CodedTensor)
        ]
        return [tensors[number] for number in self._taken]

    @cached_property
    def _taken(self) -> tuple[int, ...]:
        """Numbers of the payload's values at cut 0."""
        return self.program.live_values(0)

    @cached_property
    def _made(self) -> tuple[int, ...]:
        """Numbers of the payload's values at the last cut."""
        return self.program.live_values(len(self.program))

    def unflatten(self, values: Sequence[Value]) -> Any:
        """What the model returns, from the payload at the last cut."""
        return pytree.tree_unflatten(_results(self.program, self._made, values), self.out_tree)


def export(
    model: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    varying: Sequence[Collection[int]] = (),
    mode: Mode = "eval",
) -> ExportedModel:
    """The model as a program, in eval mode or as it is; the model itself stays as it is.

    Raises as export_snapshot, and ExportError for a model of a kind that cannot be split.
    """
    return export_snapshot(take_snapshot(model, mode), args, kwargs, varying)


def export_snapshot(
    snapshot: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
    varying: Sequence[Collection[int]] = (),
) -> ExportedModel:
    """The snapshot as a program for these arguments, whose weights are the snapshot's own.

    All sizes but 1 may vary later, as far as the model allows it, the batch (dimension 0 of every
    input) even if it is 1, and so may the dimensions `varying`, given per tensor, if any; `accepts`
    tells. Raises InputError for
    arguments that the model rejects, ExportError for a model that torch.export cannot capture, that
    keeps state between calls, or that computes nothing. What is returned has given the model's
    result on these arguments.
    """
    original = _original(snapshot, args, kwargs or {})
    with exporting(), room_for(snapshot):
        flat = original.to_run()
        first = original.first_answer(flat)
        _require_tensors(original)
        refuse_kept_state(original, flat, first)
        exporter = _Exporter(original, zeroing_encoders(original))
        exported = exporter.export(args, kwargs or {}, varying)
    require_apart(overlaps(original.given), exported.written)
    return exported


def confirms(
    exported: ExportedModel,
    snapshot: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> bool:
    """Whether an export gives the model's result on other arguments, or in other surroundings.

    Raises InputError for inputs that share memory in a way that the model's result depends on.
    """
    original = _original(snapshot, args, kwargs or {})
    require_apart(overlaps(original.given), exported.written)
    with exporting(), room_for(snapshot):
        if exported.program.switches != now():
            return False
        exporter = _Exporter(original, exported.zeroing)
        return exporter.confirms(exported) and zeroing_encoders(original) == exported.zeroing


def revived(
    known: ExportedModel,
    snapshot: nn.Module,
    args: Sequence[Any],
    kwargs: Mapping[str, Any] | None = None,
) -> ExportedModel | None:
    """An export of before, if it takes these arguments and gives the model's result on them.

    Of `known` the result's tree is not looked at: it is what the model returns now.
    """
    original = _original(snapshot, args, kwargs or {})
    with exporting(), room_for(snapshot):
        flat, exporter = original.to_run(), _Exporter(original, known.zeroing)
        if not original.tensors or not known.accepts(args, kwargs):
            return None
        if known.program.switches != now() or zeroing_encoders(original) != known.zeroing:
            return None
        if not exporter.agrees(flat, known.program, original.tensors):
            return None
    require_apart(overlaps(original.given), known.written)
    return replace(known, out_tree=flat.out_tree)


def _original(snapshot: nn.Module, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Original:
    leaves, tree = flatten_args(args, kwargs)
    return Original(snapshot, leaves, tree, tensors_of(leaves))


def _require_tensors(original: Original) -> None:
    if not original.tensors:
        raise InputError(
            f"{original.name} was given no tensor; without an input there is nothing to send and "
            "nothing to split, so call the model itself"
        )


@contextlib.contextmanager
def exporting() -> Iterator[None]:
    """Nobody else exports meanwhile. Raises ExportError where that takes too long."""
    if not _EXPORTING.acquire(timeout=_EXPORT_TIMEOUT_S):
        raise ExportError(f"another thread has been exporting for {_EXPORT_TIMEOUT_S:g} s")
    try:
        yield
    finally:
        _EXPORTING.release()


@functools.cache
def warm_up() -> None:
    """Have torch import what an export needs, seconds before the first one needs it.

    Once in a process: an export on another thread changes the filters of warnings for all.
    """
    # Not initialised: the random numbers of this process are others'.
    linear = nn.Linear(2, 2, device="meta").to_empty(device="cpu")
    with contextlib.suppress(ExportError):  # the first real export says what is wrong
        export(nn.Sequential(linear, nn.ReLU()), (torch.zeros(1, 2),))


@dataclass(frozen=True)
class _Exporter:
    """One call of export: the model with the example; zeroing: see padding.py."""

    original: Original
    zeroing: frozenset[str]

    def export(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], varying: Sequence[Collection[int]]
    ) -> ExportedModel:
        """With as many sizes that may vary as can be. Raises ExportError."""
        batch, seen, wide = _sizes_to_vary(self.original.tensors, varying)
        # Not all inputs need have the batch first.
        tried: list[list[frozenset[int]]] = []
        is_tangled = False
        for dims in (_both(batch, wide), wide, _both(batch, seen), seen, batch):
            if dims in tried or (is_tangled and dims == wide):
                continue
            tried.append(dims)
            try:
                exported = self.with_sizes_varying(dims)
            except TangledSizesError:
                is_tangled = True
                continue
            if exported and exported.accepts(args, kwargs) and self.confirms(exported):
                return exported
        exported = self.with_these_sizes()
        if exported.accepts(args, kwargs) and self.confirms(exported):
            return exported
        raise ExportError(
            f"the exported {self.original.name} gives another result than the model on these "
            "inputs; its forward depends on more than its inputs and weights"
        )

    def _capture(self, dims: Sequence[Collection[int]]) -> ExportedModel:
        """Raises whatever torch.export, and the model inside it, raise."""
        flat = self.original.to_trace()
        put_zeros(flat, self.zeroing)
        captured = capture(flat, self.original.tensors, dims)
        return self._finish(captured, flat.out_tree)

    def with_sizes_varying(self, dims: Sequence[Collection[int]]) -> ExportedModel | None:
        """The export where those may vary that the model lets, None where torch cannot do it.

        Raises TangledSizesError.
        """
        try:
            return self._capture(dims)
        except TangledSizesError:
            raise
        except Exception:  # torch.export raises anything; the export at fixed sizes decides
            return None

    def with_these_sizes(self) -> ExportedModel:
        """The export for exactly these shapes. Raises ExportError."""
        try:
            return self._capture([()] * len(self.original.tensors))
        except EdgeSplitError:
            raise
        except Exception as error:  # torch.export, and the model inside it, raise anything
            raise ExportError(
                f"torch.export cannot capture {self.original.name}: {first_lines(error)}. "
                f"{advice(error)}"
            ) from error

    def _finish(self, captured: ExportedProgram, out_tree: pytree.TreeSpec) -> ExportedModel:
        program = lower(captured, FlatModel.PREFIX)
        if not len(program):
            raise ExportError(
                f"{self.original.name} computes nothing from its inputs; there is nothing to split"
            )
        encode(program.structure, program.switches)  # it will have to travel
        forms = argument_forms(captured, self.original.leaves)
        guards = guards_of(captured, self._ones(program, out_tree, forms))
        signature = Signature(self.original.tree, forms, guards)
        return ExportedModel(program, signature, out_tree, inputs_written(captured), self.zeroing)

    def _ones(
        self, program: Program, out_tree: pytree.TreeSpec, forms: Sequence[ArgumentForm | Plain]
    ) -> list[Ones]:
        """Which sizes of 1 may be, as torch.export left them out: the example's, and batch 1.

        The example is tried in any case.
        """
        tensors = self.original.tensors
        varying = [form.varying for form in forms if isinstance(form, ArgumentForm)]
        alone = [x[:1] if 0 in v else x for x, v in zip(tensors, varying, strict=True)]
        found = [ones_of(tensors, varying)]
        batch_of_one = ones_of(alone, varying)
        if batch_of_one not in found and self._agrees(program, out_tree, alone):
            found.append(batch_of_one)
        return found

    def confirms(self, exported: ExportedModel) -> bool:
        """Whether the program gives the model's result on the example."""
        return self._agrees(exported.program, exported.out_tree, self.original.tensors)

    def _agrees(
        self, program: Program, out_tree: pytree.TreeSpec, tensors: Sequence[torch.Tensor]
    ) -> bool:
        flat = self.original.to_run()
        return self.agrees(flat, program, tensors) and flat.out_tree == out_tree

    def agrees(self, flat: FlatModel, program: Program, tensors: Sequence[torch.Tensor]) -> bool:
        """Whether the program gives the leaves of the model's result; flat notes their tree."""
        segment = program.segment(0, len(program))
        numbers = program.live_values(len(program))

        def results(given: Sequence[torch.Tensor]) -> list[Any]:
            values = segment([given[number] for number in program.live_values(0)])
            return _results(program, numbers, values)

        return agrees(flat, results, tensors, is_random(program))


_Dims = list[frozenset[int]]


def _sizes_to_vary(
    tensors: Sequence[torch.Tensor], varying: Sequence[Collection[int]]
) -> tuple[_Dims, _Dims, _Dims]:
    """Per tensor: the batch; dimensions seen to vary; these and all whose size is not 1.

    A size of 1 mostly has a meaning: one channel, one layer.
    """
    batch = [frozenset({0} if x.dim() else ()) for x in tensors]
    seen = [frozenset(dims) for dims in varying] or [frozenset()] * len(batch)
    sizes = [frozenset(d for d, size in enumerate(x.shape) if size > 1) for x in tensors]
    return batch, seen, _both(seen, sizes)


def _both(some: _Dims, others: _Dims) -> _Dims:
    return [a | b for a, b in zip(some, others, strict=True)]


def _results(program: Program, numbers: Sequence[int], values: Sequence[Value]) -> list[Any]:
    """Leaves of the result: the last payload's values by number, constants the program knows."""
    by_number = {n: _ordinary(value) for n, value in zip(numbers, values, strict=True)}

    def leaf(output: Any) -> Any:
        if isinstance(output, Ref):
            return by_number[output.number]
        # A copy, or the caller could change the program's constant through its result.
        return (
            program.weights[output.index].detach().clone() if isinstance(output, Weight) else output
        )

    return [leaf(output) for output in program.structure.outputs]


def _ordinary(value: Value) -> Value:
    """Segments run in inference mode, whose tensors the caller could not change or train with."""
    if isinstance(value, torch.Tensor) and value.is_inference():
        return value.clone()
    return value
