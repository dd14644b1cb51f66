"""The model itself, run on copies of its snapshot as its owner would run it: what is right.

Runs happen in the caller's thread, with the caller's grad mode, autocast and settings of torch.
Neither the inputs, nor the caller's random generator, nor the snapshot are changed by them.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils import _pytree as pytree

from edgesplit.errors import ExportError, InputError
from edgesplit.node.process.messages import first_lines
from edgesplit.node.program.export.capture import FlatModel, Tensors
from edgesplit.node.program.export.leaf import Leaf
from edgesplit.node.program.export.refused import refuse_results
from edgesplit.node.program.export.signature import describe
from edgesplit.node.program.export.snapshot import sharing_copy, working_copy
from edgesplit.node.program.export.value_sizes import why_operators_lack
from edgesplit.node.transport.tensors import copied

Leaves = tuple[Any, ...]
_TOLERANCE, _COARSE = 1e-4, 2e-2  # of the largest element; the second in half precision
_SEED = 0


@dataclass(frozen=True, eq=False)
class Original:
    """A snapshot, and the arguments of one call: flat, and in their tree."""

    snapshot: nn.Module
    leaves: list[Leaf]
    tree: pytree.TreeSpec
    tensors: list[torch.Tensor]

    @property
    def name(self) -> str:
        """Of the model's class."""
        return type(self.snapshot).__name__

    @property
    def given(self) -> list[torch.Tensor]:
        """The tensors among the arguments, in the caller's memory."""
        return [leaf for leaf in self.leaves if isinstance(leaf, torch.Tensor)]

    def to_run(self) -> FlatModel:
        """A fresh copy that may change itself: what forward leaves in it stays there."""
        return FlatModel(working_copy(self.snapshot), self.leaves, self.tree)

    def to_trace(self) -> FlatModel:
        """A fresh copy that shares all tensors with the snapshot."""
        return FlatModel(sharing_copy(self.snapshot), self.leaves, self.tree)

    def first_answer(self, flat: FlatModel) -> Leaves:
        """What the model answers to its arguments.

        Raises InputError where it rejects them itself, ExportError for results of other kinds, and
        where operators of torchvision are missing.
        """
        try:
            answer = run(flat, self.tensors)
        except Exception as error:  # the caller's code raises whatever it likes
            if why := why_operators_lack(error):
                raise ExportError(f"{self.name} cannot run: {why}") from error
            self._refuse_gradients()
            raise InputError(
                f"{self.name} itself rejects these inputs ({describe(self.leaves)}): "
                f"{first_lines(error)}. Pass what model(*args, **kwargs) accepts"
            ) from error
        refuse_results(self.name, answer)
        return answer

    def _refuse_gradients(self) -> None:
        """Raise ExportError for a model that runs only while autograd keeps what it needs."""
        try:
            self.to_run()(*map(copied, self.tensors))
        except Exception:  # it rejects these inputs in any case
            return
        raise ExportError(
            f"{self.name} computes gradients in forward (torch.autograd), which torch.export "
            "cannot capture; write the derivative as tensor operations, or split the part of the "
            "model before it"
        )


def run(flat: FlatModel, tensors: Tensors, seed: int = _SEED) -> Leaves:
    """Leaves of what the copy answers, seeded. It keeps what forward leaves in it."""
    with _seeded(seed), _without_history():
        return tuple(map(_detached, flat(*map(copied, tensors))))


def agrees(
    flat: FlatModel, program: Callable[[Tensors], Sequence[Any]], tensors: Tensors, is_random: bool
) -> bool:
    """Whether the program gives the leaves that the model itself gives on these tensors.

    Up to rounding: 1e-4 of the largest element, 2e-2 in half precision. A random model may draw its
    numbers in another order; then what the draws do not change has to agree, and all forms.
    """
    try:
        expected = run(flat, tensors)
        with _seeded():
            given = program(tensors)
        if _all_close(expected, given) or not is_random:
            return _all_close(expected, given)
        other = run(flat, tensors, seed=_SEED + 1)
    except Exception:  # either side may refuse the size in any way; then they do not agree
        return False
    return len(expected) == len(given) and all(
        _same_form(a, b) if not is_close(a, o) else is_close(a, b)
        for a, b, o in zip(expected, given, other, strict=True)
    )


@contextmanager
def _seeded(seed: int = _SEED) -> Iterator[None]:
    """The same draws in each run, and none taken from the caller's generator."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        yield


def _without_history() -> AbstractContextManager[Any]:
    """Autograd keeps no activations for a backward pass that nobody asks for."""

    def nothing(_: Any) -> Any:
        return None

    return torch.autograd.graph.saved_tensors_hooks(nothing, nothing)


def _detached(leaf: Any) -> Any:
    return leaf.detach() if isinstance(leaf, torch.Tensor) else leaf


def _all_close(expected: Sequence[Any], given: Sequence[Any]) -> bool:
    return len(expected) == len(given) and all(map(is_close, expected, given))


def _same_form(a: Any, b: Any) -> bool:
    if not isinstance(a, torch.Tensor) or not isinstance(b, torch.Tensor):
        return type(a) is type(b)
    return a.shape == b.shape and a.dtype == b.dtype


def is_close(expected: Any, given: Any, tolerance: float | None = None) -> bool:
    """Whether a leaf is as expected. tolerance: of the largest element, None: the usual one."""
    if not isinstance(expected, torch.Tensor) or not isinstance(given, torch.Tensor):
        return bool(expected == given)
    if not _same_form(expected, given):
        return False
    if not (expected.is_floating_point() or expected.is_complex()) or not expected.numel():
        return torch.equal(expected, given)
    if tolerance is None:
        is_fine = expected.dtype.itemsize >= 4
        tolerance = _TOLERANCE if is_fine else _COARSE
    is_finite = expected.isfinite()
    scale = float(expected[is_finite].abs().max()) if is_finite.any() else 0.0
    return torch.allclose(given, expected, rtol=0.0, atol=tolerance * scale, equal_nan=True)
