"""torch.export on a copy of the caller's model, and what its failures mean.

The copy shares every tensor with the model, which itself is never touched: not its mode, device,
hooks, parameters or attributes.
"""

import copy
import dataclasses
import logging
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.export import Dim, ExportedProgram
from torch.utils import _pytree as pytree

from edgesplit.errors import ExportError, InputError
from edgesplit.node.inplace import is_functional, make_private_functional
from edgesplit.node.signature import Leaf, describe

Tensors = Sequence[torch.Tensor]
REASON_LINES = 3


class FlatModel(nn.Module):
    """`model` as a function of flat tensors to flat results; it notes the tree of the results.

    leaves: of the arguments; only the tensors among them are passed to forward.
    """

    PREFIX = "model."

    def __init__(self, model: nn.Module, leaves: Sequence[Leaf], tree: pytree.TreeSpec) -> None:
        super().__init__()
        self.model = model
        self._given = [leaf is not None for leaf in leaves]
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
        leaves = [next(rest) if given else None for given in self._given]
        args, kwargs = pytree.tree_unflatten(leaves, self._tree)
        results, self._noted.out_tree = _flatten_results(self.model(*args, **kwargs))
        return tuple(results)


def _flatten_results(results: Any) -> tuple[list[Any], pytree.TreeSpec]:
    """Leaves and tree; dataclasses that pytree does not know yet are made known to it."""
    leaves, tree = pytree.tree_flatten(results)
    unknown = {type(leaf) for leaf in leaves if dataclasses.is_dataclass(leaf)}
    if not unknown:
        return leaves, tree
    for kind in unknown:
        torch.export.register_dataclass(kind, serialized_type_name=kind.__qualname__)
    return _flatten_results(results)


def copy_on_cpu(model: nn.Module) -> nn.Module:
    """A copy in eval mode that shares all tensors with `model`; those elsewhere are copied over.

    Raises ExportError for something that is no module or cannot be copied.
    """
    if not isinstance(model, nn.Module):
        raise ExportError(
            f"a torch.nn.Module is needed, given {type(model).__name__}; wrap it in a module"
        )
    memo = {id(tensor): _on_cpu(tensor) for tensor in _tensors_of(model)}
    try:
        return copy.deepcopy(model, memo).eval()
    except (TypeError, RuntimeError, AttributeError, RecursionError) as error:
        raise ExportError(
            f"{type(model).__name__} cannot be copied: {first_lines(error)}; remove what "
            "copy.deepcopy cannot copy, such as locks and open files, from its attributes"
        ) from error


def _tensors_of(model: nn.Module) -> Iterator[torch.Tensor]:
    """Parameters, buffers, and computed tensors kept as attributes, which deepcopy refuses."""
    yield from model.parameters()
    yield from model.buffers()
    for module in model.modules():
        attributes = vars(module).values()
        yield from (x for x in attributes if isinstance(x, torch.Tensor) and not x.is_leaf)


def _on_cpu(tensor: torch.Tensor) -> torch.Tensor:
    if tensor.device.type == "cpu":
        return tensor
    if tensor.is_meta:
        raise ExportError("the model has no weights: its tensors are on the meta device")
    moved = tensor.detach().cpu()
    is_parameter = isinstance(tensor, nn.Parameter)
    return nn.Parameter(moved, tensor.requires_grad) if is_parameter else moved


def capture(model: FlatModel, tensors: Tensors, batch_varies: bool) -> ExportedProgram:
    """The functional export of `model` at these tensors. Raises whatever torch.export raises.

    batch_varies: dimension 0 may take other sizes, where the model allows it; sizes of 1 in the
    example are doubled for that, since torch.export takes a size of 1 as fixed.
    """
    if batch_varies:
        tensors = [torch.cat([x, x]) if x.dim() and x.shape[0] == 1 else x for x in tensors]
    dims = tuple({0: Dim.AUTO} if batch_varies and x.dim() else None for x in tensors)
    # Copies: of one tensor given twice, torch.export would make one input.
    example = tuple(x.clone() for x in tensors)
    with _quiet(), torch.inference_mode(False), torch.enable_grad(), _plain_attention():
        exported = torch.export.export(model, example, dynamic_shapes=(dims,), strict=False)
        make_private_functional(exported.graph_module)
        if is_functional(exported.graph_module):
            return exported  # tracing it twice more would take as long again and change nothing
        functional: ExportedProgram = exported.run_decompositions({})
        return functional


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what torch says about itself. Its refusals arrive as exceptions all the same."""
    log = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    was_disabled, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            # copy.deepcopy inside torch.export meets a class that torch has deprecated.
            warnings.filterwarnings("ignore", ".*LeafSpec.*is deprecated", FutureWarning)
            # nn.LSTM and whoever keeps the last activation; the copy is thrown away anyway.
            warnings.filterwarnings("ignore", ".*assigned during export", UserWarning)
            yield
    finally:
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


def check_inputs(model: FlatModel, tensors: Tensors) -> None:
    """Run the model as it is. Raises InputError where it rejects these inputs itself."""
    try:
        run_eagerly(model, tensors)
    except Exception as error:  # the caller's code raises whatever it likes
        raise InputError(
            f"{type(model.model).__name__} itself rejects these inputs ({describe(tensors)}): "
            f"{first_lines(error)}. Pass what model(*args, **kwargs) accepts"
        ) from error


def agrees(model: FlatModel, run: Callable[[Tensors], Sequence[Any]], tensors: Tensors) -> bool:
    """Whether `run` gives the leaves that the model itself gives on these tensors.

    Up to rounding: 1e-4 of the largest element, 2e-2 in half precision.
    """
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            expected = run_eagerly(model, tensors)
            torch.manual_seed(0)
            given = run(tensors)
    except Exception:  # either side may refuse the size in any way; then they do not agree
        return False
    return len(expected) == len(given) and all(
        _is_close(a, b) for a, b in zip(expected, given, strict=True)
    )


def run_eagerly(model: FlatModel, tensors: Tensors) -> tuple[Any, ...]:
    """Leaves of what the model returns. Its buffers and the tensors stay as they are."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    inputs = tuple(x.clone() for x in tensors)
    with torch.no_grad():
        results: tuple[Any, ...] = torch.func.functional_call(model, buffers, inputs)
    return results


def _is_close(expected: Any, given: Any) -> bool:
    if not isinstance(expected, torch.Tensor) or not isinstance(given, torch.Tensor):
        return bool(expected == given)
    if expected.shape != given.shape or expected.dtype != given.dtype:
        return False
    if not expected.is_floating_point() or not expected.numel():
        return torch.equal(expected, given)
    tolerance = 1e-4 if expected.dtype in (torch.float32, torch.float64) else 2e-2
    scale = float(expected.abs().nan_to_num(0.0, 0.0, 0.0).max())
    return torch.allclose(given, expected, rtol=0.0, atol=tolerance * scale, equal_nan=True)


def first_lines(error: BaseException) -> str:
    """The first lines of the error's text that say something, on one line."""
    lines = [line.strip() for line in str(error).splitlines()]
    text = " ".join([line for line in lines if line][:REASON_LINES])
    return (text or type(error).__name__).rstrip(".")
