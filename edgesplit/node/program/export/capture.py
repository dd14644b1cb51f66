"""torch.export on a copy of the model's snapshot."""

import logging
import warnings
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram, _trace
from torch.utils import _pytree as pytree

from edgesplit.node.program.export.inplace import is_functional, make_private_functional
from edgesplit.node.program.export.leaf import Leaf
from edgesplit.node.program.export.recurrent import any_length
from edgesplit.node.program.export.symbolic import quickly_or_not
from edgesplit.node.program.export.trees import flatten_tree
from edgesplit.node.transport.strides import memory_order_of
from edgesplit.node.transport.tensors import laid

Tensors = Sequence[torch.Tensor]


class FlatModel(nn.Module):
    """`model` as a function of flat tensors to flat results; it notes the tree of the results.

    leaves: of the arguments; the tensors among them are passed to forward, the others are kept.
    """

    PREFIX = "model."

    def __init__(self, model: nn.Module, leaves: Sequence[Leaf], tree: pytree.TreeSpec) -> None:
        super().__init__()
        self.model = model
        is_tensor = [isinstance(leaf, torch.Tensor) for leaf in leaves]
        self._leaves = [
            torch.Tensor if held else leaf for held, leaf in zip(is_tensor, leaves, strict=True)
        ]
        self._tree = tree
        # torch.export takes back what forward assigns to the module itself.
        self._noted = SimpleNamespace(out_tree=None)

    @property
    def out_tree(self) -> pytree.TreeSpec:
        """Tree of the results, known once forward has run."""
        tree: pytree.TreeSpec = self._noted.out_tree
        return tree

    def forward(self, *tensors: torch.Tensor) -> tuple[Any, ...]:
        """Leaves of what the model returns."""
        rest = iter(tensors)
        leaves = [next(rest) if leaf is torch.Tensor else leaf for leaf in self._leaves]
        args, kwargs = pytree.tree_unflatten(leaves, self._tree)
        results, self._noted.out_tree = flatten_tree(self.model(*args, **kwargs))
        return tuple(results)


def capture(
    model: FlatModel, tensors: Tensors, varying: Sequence[Collection[int]]
) -> ExportedProgram:
    """The functional export of `model` at these tensors. Raises whatever torch.export raises.

    varying: per tensor, dimensions that may take other sizes, where the model allows it; sizes of 1
    in the example are doubled for that, since torch.export takes a size of 1 as fixed.
    """
    pairs = list(zip(tensors, varying, strict=True))
    dims = tuple(dict.fromkeys(found, Dim.AUTO) or None for _, found in pairs)
    # Copies: of one tensor given twice, torch.export would make one input.
    example = tuple(_widened(x, found) for x, found in pairs)
    # forward may look whether there is autograd.
    has_grad = torch.set_grad_enabled(torch.is_grad_enabled())
    ways = any_length(), quickly_or_not()
    with _quiet(), torch.inference_mode(False), has_grad, _plain_attention(), ways[0], ways[1]:
        exported = torch.export.export(model, example, dynamic_shapes=(dims,), strict=False)
        make_private_functional(exported.graph_module)
        # The caller's autocast is written into the graph by the second tracing only.
        if is_functional(exported.graph_module) and not torch.is_autocast_enabled("cpu"):
            return exported  # tracing it twice more would take as long again and change nothing
        functional: ExportedProgram = exported.run_decompositions({})
        return functional


def _widened(tensor: torch.Tensor, dims: Collection[int]) -> torch.Tensor:
    """A copy that lies as the tensor does, of size 2 in those dimensions that have size 1."""
    sizes = enumerate(tensor.shape)
    shape = [2 if size == 1 and dim in dims else size for dim, size in sizes]
    return laid(tensor, shape, memory_order_of(tensor.shape, tensor.stride()).strides(shape))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says about itself. Its refusals arrive as exceptions all the same.

    Beside one, torch prints the graph that it had got to: there is no setting, and another standard
    error would be one for all threads.
    """
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    was_disabled, log.disabled = log.disabled, True
    vars(_trace)["print"] = lambda *_, **__: None
    try:
        with warnings.catch_warnings():
            # copy.deepcopy inside torch.export meets a class that torch has deprecated.
            warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
            # nn.LSTM, and models that keep the last activation; the copy is thrown away anyway.
            warnings.filterwarnings("ignore", ".*assigned during export", UserWarning)
            yield
    finally:
        del vars(_trace)["print"]
        log.disabled = was_disabled


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention as single operators: torch's fused inference path could not be cut."""
    was_enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(was_enabled)
